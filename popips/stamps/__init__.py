"""Stamps: a file for each address that logged in, its mtime the time of the last login.

A stamp's mode says how far its grant has come: 0700 is settled, its record was put, or seen in the map; any other is
not. Whatever its mode, owner or link count: a file that has an address for its name keeps that address ours. Its one
line says who logged in last (see popips.login), and nothing that safety hangs on.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from stat import S_ISREG, S_IXUSR

UNSETTLED, SETTLED = 0o600, 0o700  # a bit that sh can test, too
RUN_FILE = ".expire"  # the expirer's own: locked while it runs, its mtime the begin of the last whole run
ALIVE = ".alive"  # its mtime is when the expirer counts as dead
LANE = ".lane"  # the fast lane's: see popips.lane
RAN = ".ran"  # how that went: see popips.last_run
SEEN = ".seen"  # what the last whole run saw: see popips.seen
MADE_BY = ".made-by"  # the settings that the records were made by: see popips.form
REQUESTS = ".requests"  # the folder of logins that nobody has looked at: see popips.requests
LOCK = ".lock"  # the writers' lock where there is no map that could have it
GRANTER = ".granter"  # the pid of the process that deals with them
DENIED = ".denied"  # whom the admin keeps out: see popips.denials
DENIED_ELSEWHERE = ".denied-elsewhere"  # whom other hosts do, as the last run knew: see expirer.fleet
HEARD = ".heard"  # up to when a run has taken up what other hosts told: see expirer.fleet
REGISTER = ".register"  # what popips-db ins has put: see popips.register
# files whose times, or lines, say what the admin was told
TOLD = {
    what: f".told-{what}"
    for what in ("expirer", "edit", "phase", "orphans", "future", "readable", "noexec", "settings", "metrics", "fleet")
}
JOURNALS = ".journals"  # those of maps that popips.conf has named before, for a purge: see popips.move
NEVER = ".never-"  # before an address in a network of `never`: when the log was told of its login
NEW = ".new"  # behind the name of a file that is being written, to be renamed over it
OWN_FILES = frozenset(
    name + end
    for name in (
        *(RUN_FILE, RAN, ALIVE, LANE, SEEN, MADE_BY, REQUESTS, LOCK, GRANTER, REGISTER, JOURNALS),
        *(DENIED, DENIED_ELSEWHERE, HEARD, *TOLD.values()),
    )
    for end in ("", NEW)
)


class StampError(Exception):
    """The stamp folder cannot be used; str() names it and the cure."""


class StampFailed(StampError):
    """Reading or writing in the stamp folder failed: a full disk, an I/O error."""


class StampStuck(StampFailed):
    """A stamp may not be changed, not by root either: chattr(1) can forbid it."""


@dataclass(frozen=True)
class Stamp:
    """A stamp as it was found: time of the last login in seconds since the epoch, and whether it is settled."""

    time: float
    settled: bool


def stamp_of(state: os.stat_result) -> Stamp:
    """Return the stamp that a file with an address for its name is: what is no plain file has never been renewed."""
    if not S_ISREG(state.st_mode):
        return Stamp(0.0, False)
    return Stamp(state.st_mtime, bool(state.st_mode & S_IXUSR))
