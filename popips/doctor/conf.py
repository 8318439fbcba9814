"""popips.conf: whether it can be used, and whether a run would refuse what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator

from expirer import notice
from popips import settings
from popips.doctor.check import FAIL, Check, Finding, Patient, judged
from popips.maps import BY_POSTMAP
from popips.probe.machine import Machine
from popips.settings import Settings, SettingsError

ID, WANTED = "conf", "settings that can be used"


def load(machine: Machine, path: str) -> Settings | Check:
    """Return what popips.conf says, or the check that fails where it cannot be used."""
    try:
        if machine.root and not machine.read(path):
            return Settings(path=path)
        return settings.load(machine.path(path))
    except SettingsError as error:
        return judged(ID, WANTED, "", [Finding(FAIL, str(error), fix=_fix(machine, path, str(error)))])


def look(patient: Patient) -> Iterator[Check]:
    """Look at what popips.conf says."""
    wrong = [Finding(FAIL, text, fix=_of_wrong(patient, text)) for text in notice.wrong(patient.settings)]
    well = patient.conf if patient.settings.identity != "-" else f"{patient.conf} is not there: the defaults hold"
    yield judged(ID, WANTED, well, wrong if patient.machine.runs else [])


def _fix(machine: Machine, path: str, error: str) -> str:
    """Return what mends a file that cannot be read."""
    if "others may write it" in error:
        return error.partition("runs what it says: ")[2]
    if line := re.match(rf"{re.escape(machine.path(path))}:(\d+): ", error):
        return f"sed -i '{line[1]}s/^/#/' {path}"
    kinds = "|".join(BY_POSTMAP)
    if "sendmail asks no" in error:
        return f"sed -i -E 's,^([ \\t]*map[ \\t]*=[ \\t]*)({kinds}):,\\1hash:,' {path}; popips-expire"
    if "own_map = yes, and name" in error:
        return f"echo 'own_map = yes' >> {path}; popips-expire"
    if "set map, " in error:
        own = "own_map = yes\\n" if not re.search(r"^\s*own_map\s*=", machine.read(path), re.M) else ""
        return f"printf 'map = hash:/var/lib/popips/popips\\n{own}' >> {path}; popips-expire"
    if found := re.search(r": (key|compressed_ipv6) is for sendmail", error):
        return f"sed -i '/^[ \\t]*{found[1]}[ \\t]*=/d' {path}"
    return ""


def _of_wrong(patient: Patient, text: str) -> str:
    """Return what mends what a run complains of."""
    if found := re.search(r"(install -d .*)$", text):
        return found[1]
    if ": value: " in text:
        return patient.set_line("value", "RELAY")
    if "there is no group" in text:
        return f"groupadd {patient.settings.only_group}"
    return ""
