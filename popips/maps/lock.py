"""Locks that sendmail, makemap and popips respect, whichever way the MTA was built, on the file that a path names."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from popips.maps.errors import Busy, NotNeeded
from popips.paste import quoted

PAUSE = 0.002  # seconds between two tries: without blocking, for readers that come without a pause can starve LOCK_EX


@dataclass(frozen=True)
class Wait:
    """How long to wait for a lock: until then, by time.monotonic(), or until gone() says that it is not needed."""

    until: float
    gone: Callable[[], bool] | None = None


class Locked:
    """The file that a path names, open and locked until close(), or in a `with`.

    Who waits for a lock may get that of an inode which has lost its name, for makemap's wrapper renames a new file over
    the map: such a one is let go, and the path opened again.
    """

    def __init__(self, path: str, opener: Callable[[], int], exclusive: bool, wait: Wait) -> None:
        """Open and lock it; raise what opener raises, Busy or NotNeeded at the end of the wait, OSError."""
        while True:
            self.fd = opener()
            try:
                _take(self.fd, exclusive, wait, path)
                if _has_name(self.fd, path):
                    return
            except BaseException:
                self.close()
                raise
            self.close()

    def exclude(self, wait: Wait, path: str) -> None:
        """Make a shared lock an exclusive one; raise Busy. In between others may have had the file: flock(2)."""
        _take(self.fd, True, wait, path)

    def release(self) -> None:
        """Take the locks off, and keep the file open."""
        fcntl.fcntl(self.fd, fcntl.F_OFD_SETLK, _range(fcntl.F_UNLCK))
        fcntl.flock(self.fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Take the locks off, for a duplicate of the descriptor would keep them, and close the file."""
        if self.fd >= 0:
            self.release()
            os.close(self.fd)
        self.fd = -1

    def __enter__(self) -> int:
        return self.fd

    def __exit__(self, *_: object) -> None:
        self.close()


def _take(fd: int, exclusive: bool, wait: Wait, path: str) -> None:
    while not _try(fd, exclusive):
        if wait.gone and wait.gone():
            raise NotNeeded
        if time.monotonic() >= wait.until:
            any_user = os.fstat(fd).st_mode & 0o004
            cure = f"; any user may read it, and so lock it: chmod o-r {quoted(path)}" if any_user else ""
            raise Busy(f"{path}: somebody else keeps it locked{cure}")
        time.sleep(PAUSE)


def _try(fd: int, exclusive: bool) -> bool:
    """Whether the file is now locked.

    Debian's sendmail locks with flock(2), Red Hat's with fcntl(2). Of the latter an open file description's lock
    is taken: a process's own would be lost as soon as libdb opened and closed the same file (fcntl(2), NOTES).
    """
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _range(fcntl.F_WRLCK if exclusive else fcntl.F_RDLCK))
    except BlockingIOError:
        fcntl.flock(fd, fcntl.LOCK_UN)
        return False
    return True


def _has_name(fd: int, path: str) -> bool:
    try:
        named = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    ours = os.fstat(fd)
    return (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino)  # os.path is not on the way of a login


def _range(kind: int) -> bytes:
    """Return the struct flock for the whole file: type, whence, start, length, pid (0, as OFD locks want it)."""
    return kind.to_bytes(2, sys.byteorder) + bytes(30)
