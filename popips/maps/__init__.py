"""The map that the MTA asks: where it is, and what can go wrong with it.

A kind of map is a module beside this one: popips.maps.berkeley, own and postmap; popips.maps.kinds chooses.
"""

from __future__ import annotations

import posix as os  # os itself costs a login two milliseconds

KINDS = {"hash": ".db", "btree": ".db", "lmdb": ".lmdb", "cdb": ".cdb"}  # and what their files' names end in
BY_POSTMAP = ("lmdb", "cdb")  # of Postfix alone, which makes them anew as a whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    class Records(Protocol):
        """The records of a map: what a change works on."""

        def get(self, key: bytes) -> bytes | None:
            """Give the value of the key, None if there is none."""

        def put(self, key: bytes, value: bytes) -> None:
            """Put the record, in place of those that had the key."""

        def delete(self, key: bytes) -> None:
            """Take out all records of the key, if there are any."""

        def items(self) -> Iterator[tuple[bytes, bytes]]:
            """Give all records, in the file's order."""


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
    """A map by kind and path, as in hash:/etc/mail/access.db.

    own: it holds nothing but grants. postfix: that is who asks it, and not sendmail.
    """

    __slots__ = ("kind", "own", "path", "postfix")

    def __init__(self, kind: str, path: str, own: bool = False, postfix: bool = False) -> None:
        self.kind, self.path, self.own, self.postfix = kind, path, own, postfix

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read TYPE:PATH, the .db at the end of the path left out or not; raise MapError with the cure."""
        kind, _, path = text.partition(":")
        if kind not in KINDS or not path.startswith("/"):
            raise MapError(f"{text}: write TYPE:/PATH with one of the types {', '.join(KINDS)}")
        return cls(kind, path if path.endswith(KINDS[kind]) else path + KINDS[kind], postfix=kind in BY_POSTMAP)

    @property
    def source(self) -> str:
        """The text file that makemap or postmap builds this map from, by custom."""
        return self.path[: -len(KINDS[self.kind])]

    def build(self, source: str) -> str:
        """Give the command that builds the map from a text file."""
        return f"postmap {self.kind}:{source}" if self.postfix else f"makemap {self.kind} {self.source} < {source}"

    @property
    def nul(self) -> bytes:
        """What stands behind keys and values where nothing is there yet to tell: postmap writes a NUL, makemap none."""
        return b"\0" if self.postfix else b""

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
