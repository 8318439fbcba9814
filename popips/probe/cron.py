"""cron: the lines of its tables, as crontab(5) has them, that run popips-expire each minute and do nothing else.

A line that is taken for one and is none leaves grants open for ever; a second expirer does no harm. So a line that does
more, or in another way, does not count.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from popips.probe.machine import Machine
from popips.probe.units import has_systemd

PROGRAM = "popips-expire"
CRONTAB = "/var/spool/cron/crontabs/root"  # of root's own, which names no user
TABLES = ("/etc/crontab", "/etc/cron.d/*", CRONTAB)
PATH = "/usr/bin:/bin"  # where cron finds programs, unless the table says another
ASSIGNMENT = re.compile(r"""(\w+)\s*=\s*(['"]?)(.*)\2""")
EACH = r"(?:\*(?:/1)?\s+){5}"  # minute
BUT_SYSTEMD = re.compile(r"\[ -d /run/systemd/system \] \|\| ")  # leaves the work to the timer where systemd runs
IF_THERE = re.compile(rf"(?:\[ ! -x (\S*{PROGRAM}) \] \|\| |(?:\[|test) -x (\S*{PROGRAM})(?: \])? && )")
QUIET = re.compile(r"\s*(?:[12&]?>>?\s*[\w./-]+|2>&1)")  # where its output goes
LINE = re.compile(r"@\w+\s+\S.*|(?:[\w*/,~-]+\s+){5}\S.*")


@dataclass(frozen=True)
class Job:
    """A line of a table, by its number from 1 on. is_run: it runs popips-expire; else it only names it."""

    path: str
    number: int
    line: str
    is_run: bool

    @property
    def where(self) -> str:
        """Its place, PATH:NUMBER."""
        return f"{self.path}:{self.number}"


def jobs(machine: Machine, conf: str) -> list[Job]:
    """Return the lines that name popips-expire, but those that leave it to systemd; conf: the popips.conf meant."""
    return [job for pattern in TABLES for path in machine.glob(pattern) for job in _of_table(machine, path, conf)]


def _of_table(machine: Machine, path: str, conf: str) -> Iterator[Job]:
    if path.startswith("/etc/cron.d/") and not re.fullmatch(r"[\w-]+", path.rpartition("/")[2]):
        return  # cron reads no file of another name
    text, search = machine.read(path), PATH
    is_read = _is_read(machine, path, text)
    head = re.compile(EACH if path == CRONTAB else rf"{EACH}root\s+")
    for number, line in enumerate(map(str.strip, text.split("\n")), 1):
        assigned = ASSIGNMENT.fullmatch(line)
        if assigned and assigned[1] == "PATH":
            search = assigned[3]
        if line.startswith("#") or assigned or PROGRAM not in line:
            continue
        timed = head.match(line)
        command = line[timed.end() :] if timed else ""
        alone = BUT_SYSTEMD.sub("", command, count=1)
        if alone != command and has_systemd(machine):
            continue
        yield Job(path, number, line, is_read and _runs(machine, alone, search, conf))


def _runs(machine: Machine, command: str, search: str, conf: str) -> bool:
    """Whether a command is popips-expire, with no option that makes less of it than a run by this popips.conf."""
    guard = IF_THERE.match(command)
    words = QUIET.sub("", command[guard.end() :] if guard else command).split()
    program, options = "".join(words[:1]), words[1:]
    if program.rpartition("/")[2] != PROGRAM or (guard and program not in guard.groups()):
        return False
    places = [program] if "/" in program else [f"{folder}/{program}" for folder in search.split(":")]
    if not any(os.path.exists(machine.path(place)) for place in places):
        return False
    while options:
        option = options.pop(0)
        if option == "--metrics" or (option == "-c" and options[:1] == [conf]):
            options = options[1:]
        elif option not in ("-v", "--verbose", f"-c{conf}") and not option.startswith("--metrics="):
            return False
    return True


def _is_read(machine: Machine, path: str, text: str) -> bool:
    """Whether cron reads a table: Debian's takes none that another may write, or with a mistake or no end of line."""
    lines = [line for line in map(str.strip, text.split("\n")) if line and not line.startswith("#")]
    if not text.endswith("\n") or not all(LINE.fullmatch(line) or ASSIGNMENT.fullmatch(line) for line in lines):
        return False
    state = os.stat(machine.path(path))
    return state.st_uid == 0 and not state.st_mode & 0o022
