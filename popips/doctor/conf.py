"""popips.conf: whether it can be used, and whether a run would refuse what it says."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator

from popips import address, configuration, policy
from popips.configuration import SettingsError
from popips.doctor.check import FAIL, WARN, Check, Finding, Patient, added, judged
from popips.maps import WHOLE, MapError, makemap
from popips.paste import echoed, quoted
from popips.probe.machine import ENVIRONMENT, Machine
from popips.settings import Settings

ID, WANTED = "conf", "settings that can be used"
LOOPBACK = {"127.0.0.0/8": "127.0.0.1", "::1": "::1"}  # each with an address in it


def load(machine: Machine, path: str) -> Settings | Check:
    """Return what popips.conf says, or the check that fails where it cannot be used."""
    try:
        if machine.root and not os.path.lexists(machine.path(path)):
            return Settings(path=path)
        return configuration.load(machine.path(path))
    except SettingsError as error:
        return judged(ID, WANTED, "", [Finding(FAIL, str(error), fix=_fix(machine, path, str(error)))])


def look(patient: Patient) -> Iterator[Check]:
    """Look at what popips.conf says."""
    well = patient.conf if patient.settings.identity != "-" else f"{patient.conf} is not there: the defaults hold"
    wrong = [*_loopback(patient), *(_wrong(patient) if patient.machine.runs else [])]
    yield judged(ID, WANTED, well, wrong)


def _loopback(patient: Patient) -> Iterator[Finding]:
    """Return that `never` has lost this host's own addresses, which its default has."""
    never = patient.settings.never
    missing = [network for network, name in LOOPBACK.items() if not address.is_in(name, never)]
    if missing:
        found = (
            f"{patient.conf}: never has no {' and no '.join(missing)}: who logs in by a webmail here is granted that"
        )
        fix = f"{patient.set_line('never', ' '.join([*map(str, never), *missing]))} && popips-expire"
        yield Finding(WARN, found, fix=fix)


def _wrong(patient: Patient) -> Iterator[Finding]:
    """Return what popips.conf says and the host has not."""
    of, conf = patient.settings, patient.conf
    if of.mta == "sendmail" and of.map.kind in WHOLE:
        try:
            makemap.check_type(of.map)
        except MapError as error:
            fix = f"{patient.set_line('map', f'hash:{of.map.source}')} && popips-expire"
            yield Finding(FAIL, f"{conf}: {error}", fix=fix)
    if of.only_group:
        try:
            if not policy.is_group(of.only_group):
                fix = f"groupadd {quoted(of.only_group)}"
                yield Finding(FAIL, f"{conf}: only_group: there is no group {of.only_group}", fix=fix)
        except policy.NoAnswer as error:
            yield Finding(WARN, f"{conf}: {error}")
    if of.drop and not os.path.isdir(of.drop):
        yield Finding(FAIL, f"{conf}: drop: there is no folder {of.drop}", fix=f"install -d -m 0711 {quoted(of.drop)}")
    if of.renew == "sessions" and not shutil.which(of.doveadm.split()[0], path=ENVIRONMENT["PATH"]):
        fix = f"sed -i '/^[ \\t]*doveadm[ \\t]*=/d' {quoted(conf)}"
        yield Finding(FAIL, f"{conf}: renew = sessions: there is no program {of.doveadm}", fix=fix)
    if of.follow_pattern:
        try:
            re.compile(of.follow_pattern)
        except re.error as error:
            fix = f"sed -i 's/^[ \\t]*follow_pattern[ \\t]*=/#&/' {quoted(conf)}"
            yield Finding(FAIL, f"{conf}: follow_pattern: {error}", fix=fix)


def _fix(machine: Machine, path: str, error: str) -> str:
    """Return what mends a file that cannot be read."""
    if "others may write it" in error:
        return error.partition("runs what it says: ")[2]
    its, kinds = quoted(path), "|".join(WHOLE)
    if line := re.match(rf"{re.escape(machine.path(path))}:(\d+): ", error):
        return f"sed -i '{line[1]}s/^/#/' {its}"
    if "sendmail asks no" in error or "sendmail's" in error:
        return f"sed -i -E 's,^([ \\t]*map[ \\t]*=[ \\t]*)({kinds}):,\\1hash:,' {its} && popips-expire"
    if "own_map = yes, and name" in error:
        return f"{added(machine, path, echoed('own_map = yes'))} && popips-expire"
    if "set map, " in error:
        own = ["own_map = yes"] if not re.search(r"^\s*own_map\s*=", machine.read(path), re.M) else []
        return f"{added(machine, path, echoed('map = hash:/var/lib/popips/popips', *own))} && popips-expire"
    if found := re.search(r": (key|compressed_ipv6) is for sendmail", error):
        return f"sed -i '/^[ \\t]*{found[1]}[ \\t]*=/d' {its}"
    return ""
