"""The lock that sendmail, makemap and popips respect, whichever way the MTA was built."""

from __future__ import annotations

import fcntl
import sys
import time

from popips.maps import Busy

PAUSE = 0.002  # seconds between two tries: without blocking, for readers that come without a pause can starve LOCK_EX


def take(fd: int, exclusive: bool, until: float, path: str) -> None:
    """Lock the file, or raise Busy at `until` (time.monotonic()).

    Debian's sendmail locks with flock(2), Red Hat's with fcntl(2). Of the latter an open file description's lock
    is taken: a process's own would be lost as soon as libdb opened and closed the same file (fcntl(2), NOTES).
    """
    kind = fcntl.F_WRLCK if exclusive else fcntl.F_RDLCK
    while True:
        try:
            fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            try:
                fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _range(kind))
                return
            except BlockingIOError:
                fcntl.flock(fd, fcntl.LOCK_UN)
        except BlockingIOError:
            pass
        if time.monotonic() >= until:
            raise Busy(f"{path}: somebody else keeps it locked")
        time.sleep(PAUSE)


def release(fd: int) -> None:
    """Take both locks off."""
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _range(fcntl.F_UNLCK))
    fcntl.flock(fd, fcntl.LOCK_UN)


def _range(kind: int) -> bytes:
    """Give the struct flock for the whole file: type, whence, start, length, pid (0, as OFD locks want it)."""
    return kind.to_bytes(2, sys.byteorder) + bytes(30)
