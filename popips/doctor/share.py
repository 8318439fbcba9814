"""popips-share: whether it runs and has its server, whom it hears, and whether what it writes down can be believed.

Without it the logins on this host go on to open the relay: so only a folder that others may write to is a failure, and
another host that bears this one's name and so undoes what is denied here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from popips.doctor.check import FAIL, WARN, Check, Finding, Patient, judged, skipped
from popips.doctor.there import sbin
from popips.elsewhere import ANOTHER, Elsewhere
from popips.parsers import LONGEST_NAME
from popips.paste import quoted
from popips.probe import fleet, units
from popips.probe.fleet import SERVICE, Fleet
from popips.settings import Settings
from popips.stamps import DENIED, StampError

IDS = ("engine", "hosts", "folder")
LATE = 30.0  # seconds that an entry may be on its way
NAMESAKE = 3600.0  # seconds since it was heard that another host of that name counts
LOG = "journalctl -t popips-share -n 20 tells more"
CUT_OFF = "no login is told to others, and none comes"
NONE_COUNTS = "no login on another host counts here"
LIBRARY = "python3-redis"
IN_MEMORY = ("tmpfs", "ramfs")


def look(patient: Patient) -> Iterator[Check]:
    """Look at what logins on other hosts come by."""
    of = patient.settings
    if not of.share or not patient.machine.runs:
        why = "only files are here" if of.share else "share is not set: this host keeps its logins to itself"
        yield from (skipped(f"share.{id}", why) for id in IDS)
        return
    seen = fleet.seen(of)
    is_there = f"{seen.engine}, connected as {seen.name}"
    engine = list(_wrong_engine(patient, seen))
    yield judged("share.engine", "popips-share runs, and has its server", is_there, engine)
    heard = ", ".join(f"{host.name} {patient.now - host.heard:.0f} s ago" for host in seen.hosts)
    wanted = "other hosts are heard, and soon"
    yield judged("share.hosts", wanted, heard or "none is heard, see share.engine", list(_wrong_hosts(patient, seen)))
    wanted = f"{of.share_from}: a folder in memory that only popips-share may write to"
    wrong = list(_wrong_folder(patient))
    if any(CUT_OFF in one.found for one in engine) and all(one.status == WARN for one in wrong):
        yield skipped("share.folder", "see share.engine")  # what popips-share writes there comes with the server
    else:
        yield judged("share.folder", wanted, of.share_from, wrong)


def is_cut_off(check: Check) -> bool:
    """Whether that keeps logins on other hosts from opening the relay here, and those here from doing so there."""
    return check.id.startswith("share.") and (
        check.status == FAIL or CUT_OFF in check.found or NONE_COUNTS in check.found
    )


def _wrong_engine(patient: Patient, seen: Fleet) -> Iterator[Finding]:
    if seen.is_silent(patient.now):
        last = "has never said anything" if seen.written is None else f"says nothing for {_ago(patient, seen.written)}"
        found = f"popips-share {last}: {CUT_OFF}"
        if _lacks_library(patient):
            fix = f"apt-get install -y {LIBRARY} && {_start(patient)}"
            yield Finding(WARN, f"{LIBRARY} is missing: {found}", seen.error, fix)
        else:
            yield Finding(WARN, found, seen.error, _start(patient))
    elif not seen.connected:
        since = f" for {_ago(patient, seen.since)}" if seen.since is not None else ""
        found = f"popips-share has no connection to {seen.engine}{since}: {CUT_OFF}"
        yield Finding(WARN, found, f"{seen.error}; {_lines(patient)}; {LOG}")
    elif seen.error:
        found = f"popips-share has trouble with {seen.engine}"
        yield Finding(WARN, found, f"{seen.error}; {LOG}")
    if seen.connected and not patient.settings.share_password_file and not _is_here(patient.settings.share):
        found = f"{seen.engine} asks this host for no password: whoever reaches it opens the relay of all hosts"
        yield Finding(WARN, found, f"{patient.conf}: share_password_file is not set; popips-share(8) has how to")


def _lines(patient: Patient) -> str:
    """Return the command that shows what popips.conf says of the fleet."""
    return f"grep -n '^[[:blank:]]*share' {quoted(patient.conf)}"


def _is_here(share: str) -> bool:
    """Whether the server is this host's own, by its name."""
    host = share.partition("://")[2].partition("/")[0].rpartition("@")[2].rpartition(":")[0]
    return host in ("localhost", "[::1]") or host.startswith("127.")


def _lacks_library(patient: Patient) -> bool:
    """Whether popips-share has not what it speaks to the server by; this process need not be able to load it."""
    return "ModuleNotFoundError" in patient.machine.ask(sys.executable, "-I", "-c", "import redis").err


def _start(patient: Patient) -> str:
    if units.has_systemd(patient.machine):
        return f"systemctl enable {SERVICE} && systemctl restart {SERVICE}"
    return f"{{ {sbin('popips-share')} -c {quoted(patient.conf)} & }}"


def _wrong_hosts(patient: Patient, seen: Fleet) -> Iterator[Finding]:
    of = patient.settings
    if not (seen.hosts or seen.known) and not seen.is_silent(patient.now):
        found = f"no other host has been heard in {of.share_stream}: has each the same share and share_stream?"
        yield Finding(WARN, found, _lines(patient))
    for host in seen.hosts:
        if host.name == seen.name and patient.now - host.heard < NAMESAKE:
            found = f"another host calls itself {host.name}, too: each of the two undoes what the other denies"
            other = f"-{seen.id or 2}"  # the same cure on both would give them one name again
            fix = (
                f"{patient.set_line('share_name', host.name[: LONGEST_NAME - len(other)] + other)} && {_start(patient)}"
            )
            yield Finding(FAIL, found, f"heard {_ago(patient, host.heard)} ago; the cure is for one of the two", fix)
        if host.lag > LATE:
            found = f"{host.name}: its last login took {host.lag:.0f} s to come here"
            yield Finding(WARN, found, f"ssh {quoted(host.name)} popips-db doctor --only share,clock tells more")


def _wrong_folder(patient: Patient) -> Iterator[Finding]:
    path = patient.settings.share_from
    try:
        with Elsewhere(path) as there:
            there.denied()
    except StampError as error:
        fix = str(error).partition("others may write to it: ")[2] or str(error).partition("in its place: ")[2]
        fix = _in_memory(patient) if fix == ANOTHER else fix
        list_ = f"{path}/{DENIED}"  # written anew when the server has been asked; until then what was known holds
        mends = f"rm {quoted(list_)} && {_start(patient)}" if os.path.lexists(list_) else _start(patient)
        yield Finding(FAIL if fix else WARN, NONE_COUNTS, str(error), fix or mends)
        return
    kind = _file_system(patient, path)
    if kind and kind not in IN_MEMORY:
        found = f"{path}: on {kind}, not in memory: each login on another host is written to the disk"
        yield Finding(WARN, found, fix=_in_memory(patient))


def _in_memory(patient: Patient) -> str:
    """Return the command that takes the folder to where it belongs."""
    return f"{patient.set_line('share_from', Settings.share_from)} && {_start(patient)}"


def _file_system(patient: Patient, path: str) -> str:
    """Return the kind of the file system that a path is on, "" if that is not known."""
    lines = (line.split() for line in patient.machine.read("/proc/self/mounts").splitlines())
    mounts = {words[1]: words[2] for words in lines if len(words) > 2}
    path = os.path.realpath(path)
    while path not in mounts and path != "/":
        path = os.path.dirname(path)
    return mounts.get(path, "")


def _ago(patient: Patient, seconds: float) -> str:
    ago = max(0.0, patient.now - seconds)
    return f"{ago / 60:.0f} minutes" if ago >= 120 else f"{ago:.0f} seconds"
