"""Whether this follower is of any use: it says so where no line is a login, for nobody misses what is never granted."""

from __future__ import annotations

import time
from collections.abc import Iterator

from follower import formats, rules
from follower.formats import Format
from follower.rules import Login

LINES = 10_000  # of which one ought to be a login
HOUR = 3600.0  # seconds in which there ought to be one in a log of
BUSY = 100  # lines
KEPT = 2000  # lines, at most, that other formats are tried on: the next ones wait for that, once
SHORT = 1000  # characters of such a line, at most: a login's is not as long
LOOK_EVERY = 60.0  # seconds until a log in which nothing happens is thought of
TELL_EVERY = 3600.0  # seconds
WAITING = 10_000  # logins, at most, that wait until popips.conf and the stamp folder can be used
STEP = 1800.0  # seconds from one time zone to the next
ZONES = 14 * HOUR  # seconds that a time zone is from UTC, at most
NEARLY = 300.0  # seconds by which such a step may be missed, for a line that was not read at once


class Use:
    """The lines of a log so far, as a format sees them. Times are of the monotonic clock, but where it says so."""

    def __init__(self, form: Format, option: str, began: float) -> None:
        """Begin; option: how this program was told of the format."""
        self.form, self._option, self._began = form, option, began
        self.lines = self.matched = 0
        self._kept: list[str] = []  # as long as none was a login, and nothing was said
        self._said = False
        self._told_late = -TELL_EVERY
        self.waiting: list[Login] = []  # the latest of each user at each address
        self._error, self._told_error = "", 0.0

    def logins(self, lines: list[str], now: float) -> list[Login]:
        """Return the logins in lines, whatever may keep them from a grant; now: in seconds since the epoch."""
        found = self.form.matches(lines, now)
        self.lines += len(lines)
        self.matched += len(found)
        if self.matched or self._said:
            self._kept = []
        elif len(self._kept) < KEPT:
            self._kept += [line for line in lines[: KEPT - len(self._kept)] if len(line) <= SHORT]
        return found

    def useless(self, now: float, is_end: bool = False) -> str:
        """Return what to say where no line was a login, once; "" for nothing. is_end: whether no more come."""
        is_enough = self.lines >= LINES or (self.lines >= BUSY and now - self._began >= HOUR)
        if self.matched or self._said or not (is_enough or (is_end and self.lines)):
            return ""
        self._said = True
        others = " or ".join(self._others())
        self._kept = []
        cure = f"try {others}" if others else "does the server log its logins, and to here?"
        if "--unit" in self._option:
            cure = f"compare _SYSTEMD_UNIT in the lines with --unit, or {cure}"
        return f"none of the first {self.lines} lines is a login by the format {self._option}: {cure}"

    def _others(self) -> Iterator[str]:
        """Return how this program is told of the formats by which a line is a login."""
        now = time.time()
        for name in formats.names():
            for by_journal in (False, True):
                try:
                    form = formats.load(name, by_journal)
                except formats.FormatError:
                    continue  # none of the journal
                if form.matches(self._kept, now):
                    yield f"--format {name}{' --journal' if by_journal else ''}"

    def late(self, found: list[Login], now: float, window: float) -> str:
        """Return what to say of logins that are not of now, once an hour; now: in seconds since the epoch."""
        late = [one for one in found if rules.when(one, now, window) is None]
        if not late or time.monotonic() - self._told_late < TELL_EVERY:
            return ""
        self._told_late = time.monotonic()
        last = late[-1].time
        if last is None:
            which = "at a time that cannot be read: let the months have English names, by LC_TIME=C"
        else:
            which = f"{abs(now - last):.0f} s {'ago' if last <= now else 'ahead'}{_zone(now - last)}"
        return f"{len(late)} logins that are not of now grant nothing, the last one {which}"

    def done(self) -> None:
        """Note that no login waits any more."""
        self.waiting, self._error = [], ""

    def is_kept_by(self, found: list[Login], error: str) -> bool:
        """Have logins wait, whom an error keeps from a grant; return whether it is news: another, or an hour old."""
        self.waiting = list({(one.address, one.user, one.service): one for one in found}.values())[-WAITING:]
        if error == self._error and time.monotonic() - self._told_error < TELL_EVERY:
            return False
        self._error, self._told_error = error, time.monotonic()
        return True

    def end(self) -> str:
        """Return what to say when no more lines come."""
        return f"standard input has ended after {self.lines} lines, {self.matched} logins: nothing is granted any more"


def _zone(age: float) -> str:
    """Return what to look at where a time is not of now, by as much as zones differ, or by more. age: in seconds."""
    steps = round(age / STEP)
    if not 0 < abs(steps) * STEP <= ZONES or abs(age - steps * STEP) > NEARLY:
        return ": an old log, or a wrong clock"
    return ": is the log in another time zone? Have it written in this host's, or by RFC 3339, which names the zone"
