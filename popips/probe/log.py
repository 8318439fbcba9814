"""The log: the lines of popips' own, from the journal or from a file of the syslog daemon."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from dataclasses import dataclass

from popips.probe.machine import Machine

PROGRAMS = ("popips-hook", "popips-postlogin", "popips-follow", "popips-expire", "popips-db")
DAEMONS = ("popips-mapd", "popips-share")  # each in a unit of that name, as a user of its own
IN_JOURNAL = " ".join(("journalctl", *(f"-t {program}" for program in (*PROGRAMS, *DAEMONS))))
FILES = ("/var/log/mail.log", "/var/log/maillog", "/var/log/syslog", "/var/log/messages")
MOST = 4 << 20  # bytes of the end of a file that are looked at
HEAD = re.compile(r"(?:(\w{3} [ \d]\d \d\d:\d\d:\d\d)|(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\S*) \S+ popips-\w+\[\d+\]: ")


@dataclass(frozen=True)
class Logged:
    """What popips logged. where: the journal, or a file's path; lines: each without its head, oldest first."""

    where: str
    lines: list[str]

    def events(self) -> Counter[str]:
        """Return how many lines there are of each kind: granted, refused ..."""
        return Counter(line.partition(":")[0] for line in self.lines if re.match(r"\w+: ", line))


def place(machine: Machine) -> str:
    """Return where the lines of popips are: the path of a file, "journal", or "" if nobody keeps them."""
    if machine.runs and os.path.isdir("/run/systemd/journal"):
        return "journal"
    return next((path for path in FILES if os.path.exists(machine.path(path))), "")


def show(machine: Machine, name: str) -> str:
    """Return the command that shows what the log says of an address, "" if nobody keeps it."""
    where = place(machine)
    if where != "journal":
        return f"grep -F 'address={name} ' {where}" if where else ""
    return f"{IN_JOURNAL} --grep 'address={re.escape(name)} '"


def read(machine: Machine, since: float, until: float) -> Logged | None:
    """Return what was logged from then on, before that, in seconds since the epoch; None if it cannot be read."""
    where = place(machine)
    if where == "journal":
        span = (f"--since=@{since:.6f}", f"--until=@{until - 1e-6:.6f}")  # which takes what is of that very time, too
        said = machine.ask("journalctl", *_ours(), "-q", "-o", "cat", "--no-pager", *span)
        return None if said.status else Logged(where, said.out.splitlines())
    if not where:
        return None
    try:
        with open(machine.path(where), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - MOST))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return None
    heads = ((line, HEAD.match(line)) for line in lines)
    found = [line[head.end() :] for line, head in heads if head and since <= _time(head[1], head[2], until) < until]
    return Logged(where, found)


def _ours() -> list[str]:
    """Return what journalctl is to look for: any user can send lines in the name of any program, but not as root.

    Nor as a process of a unit: systemd.journal-fields(7).
    """
    found = ["_UID=0", *(f"SYSLOG_IDENTIFIER={program}" for program in PROGRAMS)]
    for program in DAEMONS:
        found += ["+", f"_SYSTEMD_UNIT={program}.service", f"SYSLOG_IDENTIFIER={program}"]
    return found


def _time(plain: str | None, iso: str | None, now: float) -> float:
    """Return a line's time in seconds since the epoch, 0 if it is none; the plain form has no year."""
    try:
        if iso:
            return time.mktime(time.strptime(iso, "%Y-%m-%dT%H:%M:%S"))
        year = time.localtime(now).tm_year
        found = time.mktime(time.strptime(f"{year} {plain}", "%Y %b %d %H:%M:%S"))
        return found if found <= now + 86400 else time.mktime(time.strptime(f"{year - 1} {plain}", "%Y %b %d %H:%M:%S"))
    except (ValueError, OverflowError):
        return 0.0
