"""The file of a map: opened, locked, and looked at whether it is one."""

from __future__ import annotations

import os
import pwd
from stat import S_ISREG

from popips.maps.errors import MapError, Missing, explained
from popips.maps.kinds import KINDS, Place
from popips.maps.lock import Locked, Wait

TRUSTED_USER = "smmta"  # to whom Debian's makemap gives the maps that it makes (confTRUSTED_USER)


def locked(place: Place, exclusive: bool, until: float) -> Locked:
    """Return the map's file, open for reading and writing, under the MTA's lock.

    Raise Busy at `until` (time.monotonic()), Missing, Failed, MapError if it is no such map.
    """
    with explained(place.path, "locked"):
        file = Locked(place.path, lambda: opened(place), exclusive, Wait(until))
    try:
        with explained(place.path, "read"):
            _check_magic(file.fd, place)
    except BaseException:
        file.close()
        raise
    return file


def opened(place: Place) -> int:
    """Open the map's file; raise Missing, Failed, or MapError if it is not a plain one of a user who may own it."""
    with explained(place.path, "opened"):
        try:
            fd = os.open(place.path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            raise missing(place) from None
    try:
        _check(os.fstat(fd), place)
    except BaseException:
        os.close(fd)
        raise
    return fd


def for_the_mta(fd: int, place: Place) -> None:
    """Make an open file popips' own, and its folder's group's; raise OSError.

    sendmail trusts root's files; where it runs as another user, the group of the folder is its own.
    """
    os.fchown(fd, os.geteuid(), os.stat(place.folder).st_gid)


def missing(place: Place) -> Missing:
    """Return the exception for a map that is not there."""
    return Missing(f"{place.path}: there is no such file; {place.cure()}")


def _check(state: os.stat_result, place: Place) -> None:
    if not S_ISREG(state.st_mode) or state.st_nlink > 1:  # 0: renamed over just now, as Locked will see
        raise MapError(f"{place.path}: not a plain file; {place.cure()}")
    owners = (0, os.geteuid(), os.stat(place.folder).st_uid)
    if state.st_uid not in owners and state.st_uid != _trusted_user():
        who = f"neither root nor {TRUSTED_USER} nor its folder's"
        raise MapError(f"{place.path}: its owner is {who}; {place.cure()}")


def _trusted_user() -> int:
    try:
        return pwd.getpwnam(TRUSTED_USER).pw_uid
    except KeyError:
        return 0


def _check_magic(fd: int, place: Place) -> None:
    head = os.pread(fd, 20, 0)
    magics = int.from_bytes(head[12:16], "little"), int.from_bytes(head[12:16], "big")
    if place.row.magic and place.row.magic not in magics:
        for kind, row in KINDS.items():
            if row.magic and row.magic in magics:
                raise MapError(f"{place.path}: a {kind} map; write {kind}:{place.source} in popips.conf")
        what = "empty" if not head else f"not a {place.kind} file of Berkeley DB"
        raise MapError(f"{place.path}: {what}; {place.cure()}")
