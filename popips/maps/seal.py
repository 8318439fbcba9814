"""The seal: what a map was when popips last changed it or looked at it, and by which mtime a change of it is seen.

An mtime alone tells nothing: it can be set back, and some file systems count whole seconds. The first page of a file of
Berkeley DB has a uid that each makemap makes anew; that of a hash file counts its records, too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from popips.files import identity

SECOND = 10**9  # ns
AHEAD = 60 * SECOND  # by which an mtime may be ahead of the clock where no text is compared with it
PAGE = 4096  # bytes of the map's first page
PRIME = 2**61 - 1
UNKNOWN = "-"  # no text, or none of which that is known
BOOT_ID = "/proc/sys/kernel/random/boot_id"


@dataclass(frozen=True)
class Seal:
    """What the journal notes of a map.

    map: the word of state_of(). text: the identity of the admin's text that the map says all of; "-" if none is known.
    shown: whether connections that have the map open see all that was changed, for its mtime has moved on.
    """

    map: str
    text: str = UNKNOWN
    shown: bool = True

    def pack(self) -> bytes:
        """Return it as a line; in another boot it does not hold, for a power failure may have undone what it saw."""
        return f"{self.map} {self.text} {self.shown:d} {_boot()}\n".encode()

    @classmethod
    def unpack(cls, data: bytes) -> Seal | None:
        """Return what pack() wrote; None if it did not, or in another boot."""
        words = data.partition(b"\n")[0].decode(errors="replace").split(" ")
        if len(words) != 4 or words[3] != _boot() or not words[3]:
            return None
        return cls(words[0], words[1], words[2] == "1")


def state_of(fd: int) -> str:
    """Return a word for what an open map is now: its identity, and a digest of its first page."""
    return f"{identity(os.fstat(fd))}:{digest(os.pread(fd, PAGE, 0)):x}"


def digest(data: bytes) -> int:
    """Return the bytes, read as one number, modulo a prime: it needs no import, and a torn write changes it."""
    return int.from_bytes(data + b"\1", "little") % PRIME


def moved(old: int, now: int, text: int, ahead: int) -> int:
    """Return the mtime that a change gives the map: one in a later second than its old one, if that can be. All in ns.

    sendmail compares whole seconds, by > (db_map_lookup in map.c): the same second, or one before, is no change.
    text: the mtime of the admin's text, 0 if there is none. If that is newer than the map, an edit waits to be made:
    the map must not become newer than it, or make(1) would believe that there is nothing to do. It never runs more
    than `ahead` ahead of the clock, for an edit of the next seconds must look newer; one that is far ahead comes back.
    """
    if old > now + AHEAD:
        return now
    new = next_second(old) if old < text or next_second(old) > now else now
    return old if new > now + ahead or old < text <= new else new


def next_second(time: int) -> int:
    """Return the first whole second after a time, in ns."""
    return (time // SECOND + 1) * SECOND


def _boot() -> str:
    try:
        with open(BOOT_ID) as file:
            return file.read().strip()
    except OSError:
        return ""
