"""The map that the MTA asks: how it is read and changed, whatever its kind, and what can go wrong with it.

popips.maps.kinds has the table of kinds, each of which is a module beside this one that keeps to the protocols below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from popips.maps.errors import Busy, Failed, Full, MapError, Missing, NotNeeded, Unsound
from popips.maps.kinds import WHOLE, Place, exists

__all__ = [
    "WHOLE",
    "Busy",
    "Failed",
    "Full",
    "Lookup",
    "MapError",
    "Missing",
    "NotNeeded",
    "Place",
    "Reader",
    "Records",
    "Unsound",
    "Writer",
    "exists",
]


class Lookup(Protocol):
    """What can be asked for records, keys and values without the NUL that postmap puts behind them."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of the key, None if there is none."""


class Records(Lookup, Protocol):
    """The records of a map."""

    def put(self, key: bytes, value: bytes) -> None:
        """Put the record, in place of those that had the key."""

    def delete(self, key: bytes) -> None:
        """Take out all records of the key, if there are any."""

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Return all records, in the file's order."""


class Reader(Protocol):
    """The records of a map as they are when it is opened, in a `with`."""

    def __enter__(self) -> Records:
        """Return them; raise Busy, MapError."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        """Let them go."""


class Writer(Protocol):
    """The one writer of a map: holds the writers' lock, and has finished what another left when it died.

    Its methods raise Busy, Failed and other MapErrors; the map is then as it was, or the next writer mends it.
    """

    held: float  # seconds for which the last change had the MTA's lock

    def __enter__(self) -> Writer:
        """Return itself."""

    def __exit__(self, *_: object) -> None:
        """Let others write."""

    def sealed(self) -> bool:
        """Whether nobody but popips has changed the map since it was last looked at, in this boot."""

    def agrees(self) -> bool:
        """Whether it is known that the map says all that the admin's text says: then no edit is pending.

        Told by what the text was when the map was last looked at, not by the order of mtimes.
        """

    def change(self, step: Callable[[Records], None], secure: Callable[[], None]) -> None:
        """Let step change the records; a map that was sealed is sealed again.

        step may be called again, with fresh records, if others have changed the map meanwhile. secure is called before
        the map changes, to bring to the disk what must be there by then. Raise Full if there is no room, and, for a
        map of its own that is not sealed, Unsound.
        """

    def look(self, step: Callable[[Records], None]) -> None:
        """Let step read the records as they are, and seal that state. Raise Unsound as change() does."""

    def rebuild(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Make a map of its own anew with these records, and seal it; raise MapError for any other."""

    def show(self) -> None:
        """Let connections that have the map open see what has changed: move its mtime on to another second.

        It may wait for a second, and lets other writers have their turn meanwhile.
        """

    def give_way(self, until: float) -> None:
        """Let other writers have their turn; raise Busy at `until` (time.monotonic())."""
