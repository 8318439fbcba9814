"""The log: how many lines of popips' own it has of each kind, from the journal or from a file of the syslog daemon."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from dataclasses import dataclass

from popips.probe.machine import Machine

PROGRAMS = ("popips-hook", "popips-postlogin", "popips-follow", "popips-expire", "popips-db")
FILES = ("/var/log/mail.log", "/var/log/maillog", "/var/log/syslog", "/var/log/messages")
MOST = 4 << 20  # bytes of the end of a file that are looked at
EVENT = re.compile(
    r"(?:(\w{3} [ \d]\d \d\d:\d\d:\d\d)|(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\S*) \S+ popips-\w+\[\d+\]: (\w+): "
)


@dataclass(frozen=True)
class Counted:
    """How many lines there were of each kind, granted, refused ...; where: the journal, or the file's path."""

    where: str
    events: dict[str, int]


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
    named = " ".join(f"-t {program}" for program in PROGRAMS)
    return f"journalctl {named} --grep 'address={re.escape(name)} '"


def count(machine: Machine, since: float, now: float) -> Counted | None:
    """Return what was logged from then on, times in seconds since the epoch; None if it cannot be read."""
    where = place(machine)
    if where == "journal":
        named = [word for program in PROGRAMS for word in ("-t", program)]
        said = machine.ask("journalctl", *named, "-q", "-o", "cat", "--no-pager", f"--since=@{since:.0f}")
        if said.status:
            return None
        return Counted(where, dict(Counter(re.findall(r"^(\w+): ", said.out, re.M))))
    if not where:
        return None
    try:
        with open(machine.path(where), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - MOST))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return None
    found = (EVENT.match(line) for line in lines)
    return Counted(where, dict(Counter(one[3] for one in found if one and since <= _time(one[1], one[2], now) <= now)))


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
