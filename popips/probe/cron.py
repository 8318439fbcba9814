"""cron: the lines of its tables, as crontab(5) has them, that surely run popips-expire each minute and do nothing else.

A line that is taken for one and is none leaves grants open for ever; a second expirer does no harm. So few forms of a
line count, and only in a table in which all else is plain: for one line that it cannot read, cron runs none of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from stat import S_IMODE, S_ISREG

from popips.configuration import PATH as USUAL
from popips.paste import quoted
from popips.probe.machine import Machine
from popips.probe.units import has_systemd

PROGRAM = "popips-expire"
CRONTAB = "/var/spool/cron/crontabs/root"  # of root's own, which names no user
TABLES = ("/etc/crontab", "/etc/cron.d/*", CRONTAB)
PATH = "/usr/bin:/bin"  # where cron finds programs, unless the table says another
SHELLS = ("/bin/sh", "/bin/bash")

# what may stand in a table: nothing, a comment, or one of these
ASSIGNED = re.compile(r"""(PATH|MAILTO|SHELL)[ \t]*=[ \t]*(['"]?)([\w@.,:/-]*)\2""", re.ASCII)
OFTEN = "@(?:reboot|yearly|annually|monthly|weekly|daily|midnight|hourly)"
TIMED = re.compile(rf"(?:{OFTEN}|((?:[\d*/,-]+[ \t]+){{4}}[\d*/,-]+))[ \t]+((\S+).*)", re.ASCII)
BY_USER = re.compile(r"([\w-]+)[ \t]+\S.*", re.ASCII)
TIME = re.compile(r"\*(?:/(\d\d?))?|(\d\d?)(?:-(\d\d?)(?:/(\d\d?))?)?", re.ASCII)
BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))  # of the times, in their order

# what runs popips-expire
EACH = r"(?:\*(?:/1)?[ \t]+){5}"  # minute
BUT_SYSTEMD = "[ -d /run/systemd/system ] || "  # leaves the work to the timer where systemd runs
PLACE = rf"(?:/[\w.-]+)+/{PROGRAM}"
IF_THERE = rf"(?:\[ ! -x ({PLACE}) \] \|\| |\[ -x ({PLACE}) \] && |test -x ({PLACE}) && )?"
QUIET = r"(?:[ \t]+[12]?>>?[ \t]*/dev/null|[ \t]+2>&1)*"  # where its output goes: another file may be one that is not
UNKNOWN = "none of the forms that popips knows for a run each minute; contrib/cron.d/popips has one"


@dataclass(frozen=True)
class Job:
    """A line of a table, by its number from 1 on. fault: why it is no run of popips-expire, which it only names."""

    path: str
    number: int
    line: str
    fault: str

    @property
    def where(self) -> str:
        """Its place, PATH:NUMBER."""
        return f"{self.path}:{self.number}"

    @property
    def is_run(self) -> bool:
        """Whether it surely runs popips-expire each minute."""
        return not self.fault


def jobs(machine: Machine, conf: str) -> list[Job]:
    """Return the lines that name popips-expire, but those that leave it to systemd; conf: the popips.conf meant."""
    return [job for pattern in TABLES for path in machine.glob(pattern) for job in _of_table(machine, path, conf)]


def _of_table(machine: Machine, path: str, conf: str) -> Iterator[Job]:
    if path.startswith("/etc/cron.d/") and not re.fullmatch(r"[\w-]+", path.rpartition("/")[2], re.ASCII):
        return  # cron reads no file of another name
    try:
        text, state = machine.read(path, newline="\n"), os.lstat(machine.path(path))
    except OSError:
        return  # nor what cannot be read
    if PROGRAM not in text:
        return
    lines, search = [line.strip(" \t") for line in text.split("\n")], PATH
    fault = _of_file(path, state) or _of_lines(machine, path, lines)
    head = re.compile(EACH if path == CRONTAB else rf"{EACH}root[ \t]+")
    for number, line in enumerate(lines, 1):
        assigned = ASSIGNED.fullmatch(line)
        if assigned and assigned[1] == "PATH":
            search = assigned[3]
        if line.startswith("#") or assigned or PROGRAM not in line:
            continue
        timed = head.match(line)
        command = line[timed.end() :] if timed else ""
        if command.startswith(BUT_SYSTEMD) and has_systemd(machine):
            continue
        yield Job(path, number, line, fault or _of_command(machine, command.removeprefix(BUT_SYSTEMD), search, conf))


def _of_file(path: str, state: os.stat_result) -> str:
    """Return why cron may not read a table, which it takes from nobody but root, and by one name only."""
    is_safe = S_IMODE(state.st_mode) == 0o600 if path == CRONTAB else not state.st_mode & 0o022
    if S_ISREG(state.st_mode) and state.st_nlink == 1 and state.st_uid == 0 and is_safe:
        return ""
    mode = "0600" if path == CRONTAB else "0644"
    return f"cron reads its table if that is root's, of mode {mode}, no symbolic link, and has no other name"


def _of_lines(machine: Machine, path: str, lines: list[str]) -> str:
    """Return why cron may run none of a table's lines."""
    if lines[-1]:
        return "cron reads no table whose last line has no end"
    users = {line.partition(":")[0] for line in machine.read("/etc/passwd").split("\n")} | {"root"}
    for number, line in enumerate(lines, 1):
        if not _is_plain(line, None if path == CRONTAB else users):
            return f"line {number} of the table may be one that cron cannot read, which then runs none of them"
    return ""


def _is_plain(line: str, users: set[str] | None) -> bool:
    """Whether cron surely takes a line; users: of whom one is to be named, None for none."""
    if not line or line.startswith("#"):
        return True
    if assigned := ASSIGNED.fullmatch(line):
        return assigned[1] != "SHELL" or assigned[3] in SHELLS
    timed = TIMED.fullmatch(line)
    if not timed or not all(map(_is_time, (timed[1] or "").split(), BOUNDS)):
        return False
    by = BY_USER.fullmatch(timed[2])
    return users is None or (by is not None and by[1] in users)


def _is_time(text: str, bounds: tuple[int, int]) -> bool:
    lowest, highest = bounds
    for part in text.split(","):
        found = TIME.fullmatch(part)
        if not found:
            return False
        times = [int(time) for time in found.group(2, 3) if time]
        steps = [int(step) for step in found.group(1, 4) if step]
        if times != sorted(times) or not all(lowest <= time <= highest for time in times):
            return False
        if not all(1 <= step <= highest for step in steps):
            return False
    return True


def _of_command(machine: Machine, command: str, search: str, conf: str) -> str:
    """Return why a command is not popips-expire alone, or makes less of it than a run by this popips.conf."""
    its = re.escape(quoted(conf).replace("%", "\\%"))  # of which cron makes the end of a line
    option = rf"[ \t]+(?:-v|--verbose|--metrics(?:=|[ \t]+)/[\w./-]+|(-c[ \t]*{its}))"
    found = re.fullmatch(rf"{IF_THERE}({PLACE}|{PROGRAM})(?:{option})*{QUIET}", command, re.ASCII)
    if not found or not (found[5] or conf == USUAL):
        return UNKNOWN
    program = found[4]
    if any(guard not in (None, program) for guard in found.group(1, 2, 3)):
        return UNKNOWN
    places = [program] if "/" in program else [f"{folder}/{program}" for folder in search.split(":")]
    return "" if any(_may_run(machine.path(place)) for place in places) else f"there is no program {program}"


def _may_run(path: str) -> bool:
    try:
        state = os.stat(path)
    except OSError:
        return False
    return S_ISREG(state.st_mode) and bool(state.st_mode & 0o111)
