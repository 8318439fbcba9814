"""The head of a log line: when it was written, by which program and process. One parser for the heads of all formats.

A head is what syslogd, or journalctl, puts in front of a message, and nobody else: it begins where the line begins,
each part of it is bounded, and what stands behind it is the message, even if that looks like another head.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

# RFC 5424, section 6.2.1; syslog.conf(5), also for the names that are out of use
FACILITY = r"(?:auth|authpriv|console|cron|daemon|ftp|kern|lpr|mail|news|security|syslog|user|uucp|local[0-7])"
LEVEL = r"(?:debug|info|notice|warn|warning|err|error|crit|alert|emerg|panic)"
CLASSIC = r"[A-Z][a-z]{2} [ 0-3][0-9] [0-9:]{8}(?:\.[0-9]{1,9})?"  # RFC 3164; journalctl -o short, short-precise
ISO = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})"  # RFC 3339; -o short-iso
# no name of a host ends in a colon, or has a bracket: where there is none, a program does not pass for it
HOST = r"[^ \[\]]{0,254}[^ :\[\]]"
PROGRAM = r"(?P<program>[^ :\[\]]{1,64})"
HEAD = re.compile(
    rf"(?:<[0-9]{{1,3}}>)?(?P<stamp>{CLASSIC}|{ISO}) "  # <22> in front: as it came
    rf"(?:<(?:{FACILITY}|[0-9]{{1,2}})\.(?:{LEVEL}|[0-7])> )?{HOST} "  # FreeBSD's syslogd -v
    rf"(?:{FACILITY}[.:]{LEVEL} )?"  # busybox, and with a colon AIX
    rf"{PROGRAM}(?:\[(?P<pid>[0-9]{{1,10}})\])?: "
    rf"(?:\[ID [0-9]{{1,10}} {FACILITY}\.{LEVEL}\] )?",  # Solaris
    re.ASCII,
)
# RFC 5424: the name of the message, and data in brackets with quoted values; a byte order mark; rsyslog's own blank
DATA = r'(?:-|(?:\[[^ \]"]{1,32}(?: [^ \]"=]{1,32}="(?:[^"\\\]]|\\.){0,1000}")*\]){1,10})'
HEAD_5424 = re.compile(
    rf"(?:<[0-9]{{1,3}}>)?1 (?P<stamp>{ISO}) [^ ]{{1,255}} {PROGRAM} (?:-|(?P<pid>[0-9]{{1,10}})) [^ ]{{1,32}} {DATA} "
    "\ufeff? ?",
    re.ASCII,
)
FORMS = tuple(
    f"{form}{part}{zone}"
    for form, zone in (("%b %d %H:%M:%S", ""), ("%Y-%m-%dT%H:%M:%S", "%z"))
    for part in ("", ".%f")
)


class Line(NamedTuple):
    """A line in its parts, as they stand there; stamp: its time, which epoch() reads. "" for what it has not.

    No dataclass: there is one for each line of a log, and making those takes thrice as long.
    """

    stamp: str
    program: str
    pid: str
    message: str


Wanted = Callable[[str], object]  # whether lines of a program are asked for


def split(text: str, is_wanted: Wanted) -> Line | None:
    """Return a line, given without its newline, in its parts; None if it has no head, or another program's."""
    head = HEAD.match(text) or HEAD_5424.match(text)
    if not head or not is_wanted(head["program"]):
        return None
    stamp, program, pid = head.group("stamp", "program", "pid")
    return Line(stamp, program, pid or "", text[head.end() :])


def front(program: str) -> str:
    """Return a regular expression of what may stand in front of the messages of a program, given as one, too."""
    return HEAD.pattern.replace(PROGRAM, f"(?:{program})") + "|(?:<[0-9]{1,3}>)?1 .*?"


def epoch(stamp: str, forms: tuple[str, ...], now: float) -> float | None:
    """Return a time in seconds since the epoch, None if it has none of these forms of strptime(3).

    Where it leaves open in which year, or which of the two hours of a night in autumn, it is the one nearest to now.
    A time without an offset is local. `@` and seconds, as in date(1), is a time, too.
    """
    if stamp.startswith("@"):
        return float(stamp[1:])
    year = time.localtime(now).tm_year
    for form in forms:
        moments = _moments(stamp, form, year)
        if moments:
            return min(moments, key=lambda moment: abs(moment - now))
    return None


@lru_cache(1000)
def _moments(stamp: str, form: str, year: int) -> tuple[float, ...]:
    """Return the moments that a time in this form may be, in a year or the ones beside it."""
    stamp = re.sub(r"(\.[0-9]{6})[0-9]+", r"\1", stamp)  # Python knows no nanoseconds
    found: tuple[float, ...] = ()
    for prefix in ("",) if "%Y" in form else (f"{year - 1} ", f"{year} ", f"{year + 1} "):
        try:
            moment = datetime.strptime(prefix + stamp, f"%Y {form}" if prefix else form)
            found += tuple(moment.replace(fold=fold).timestamp() for fold in (0, 1))
        except (ValueError, OverflowError, OSError):
            pass  # Feb 29 is not in each year
    return found
