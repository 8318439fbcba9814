"""The map that the MTA asks: where it is, and what can go wrong with it.

A kind of map is a module beside this one; popips.maps.berkeley is that of hash and btree.
"""

from __future__ import annotations

import posix as os  # os itself costs a login two milliseconds

KINDS = ("hash", "btree")


class MapError(Exception):
    """The map cannot be used; str() names the file and the cure."""


class Missing(MapError):
    """There is no such file."""


class Busy(MapError):
    """Somebody else kept the lock until the deadline."""


class Failed(MapError):
    """Reading or writing failed: a full disk, an I/O error."""


class Undone(Failed):
    """Writing failed, and the map is as it was before."""


class Unsound(MapError):
    """A map of its own is not what popips left, and has to be made anew from the stamps."""


class Place:
    """A map by kind and path, as in hash:/etc/mail/access.db; own: it holds nothing but grants."""

    __slots__ = ("kind", "own", "path")

    def __init__(self, kind: str, path: str, own: bool = False) -> None:
        self.kind, self.path, self.own = kind, path, own

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read TYPE:PATH, the .db at the end of the path left out or not; raise MapError with the cure."""
        kind, _, path = text.partition(":")
        if kind not in KINDS or not path.startswith("/"):
            raise MapError(f"{text}: write TYPE:/PATH with one of the types {', '.join(KINDS)}")
        return cls(kind, path if path.endswith(".db") else path + ".db")

    @property
    def source(self) -> str:
        """The text file that makemap builds this map from, by custom."""
        return self.path[: -len(".db")]

    @property
    def folder(self) -> str:
        """The folder that the map is in."""
        return self.path.rpartition("/")[0] or "/"

    def __str__(self) -> str:
        return f"{self.kind}:{self.path}"

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def exists(path: str) -> bool:
    """Tell whether there is such a file."""
    try:
        os.stat(path)
    except OSError:
        return False
    return True
