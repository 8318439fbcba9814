"""What can go wrong with a map; str() of each names the file and the cure."""

from __future__ import annotations

import errno
import os

NO_BINDING = "this Python has neither bsddb3 nor berkeleydb, which hash and btree maps need"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class MapError(Exception):
    """The map cannot be used."""


class Missing(MapError):
    """There is no such file."""


class Busy(MapError):
    """Somebody else kept the lock until the deadline."""


class Failed(MapError):
    """Reading or writing failed: an I/O error, no memory."""


class Full(Failed):
    """The disk has no room for the change, and the map is as it was: fewer records at once may need none."""


class Unfinished(Failed):
    """Writing failed halfway; the journal has what the next writer needs to finish it."""


class Unsound(MapError):
    """A map of its own is not what popips left, and has to be made anew from the stamps."""


class NotNeeded(Exception):
    """Whoever waited for the writers' lock has nothing to do any more."""


class explained:  # noqa: N801 (used like a function)
    """In a `with`: what the system refuses to do to a file becomes a MapError."""

    def __init__(self, path: str, doing: str = "written") -> None:
        self._path, self._doing = path, doing

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if isinstance(error, OSError):
            raise failure(f"{self._path}: cannot be {self._doing}", error.errno or 0, str(error.strerror)) from None
        if isinstance(error, MemoryError):
            raise Failed(f"{self._path}: cannot be {self._doing}: not enough memory") from None


def failure(what: str, number: int, reason: str) -> Failed:
    """Return the exception for an error number of the system."""
    cure = ""
    if number == errno.EPERM:
        cure = "; popips needs the capability CAP_FOWNER (CapabilityBoundingSet= in a unit), or is the file immutable?"
    elif number == errno.ELOOP:
        path = what.partition(": ")[0]
        cure = f": it is a symbolic link; name the file that it leads to: {os.path.realpath(path)}"
    elif number == errno.EISDIR:
        cure = "; name another map"
    return (Full if number in NO_ROOM else Failed)(f"{what}: {reason}{cure}")
