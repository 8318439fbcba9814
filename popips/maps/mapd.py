"""No map at all: popips-mapd tells the MTA what the stamps say, so a login only writes its stamp, and a run removes it.

What is read here as records is what popips-mapd would be asked for, one for each stamp.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator

from popips import address
from popips.maps.errors import MapError, explained
from popips.maps.kinds import Place, Task
from popips.maps.lock import PAUSE, Locked, Wait
from popips.stamps import LOCK


class Records:
    """A record for each stamp; there is none to be put, and none to be taken out."""

    def __init__(self, place: Place) -> None:
        self._folder = place.path
        self._style, self._value = ("postfix", b"OK") if place.postfix else ("bare", b"RELAY")

    def get(self, key: bytes) -> bytes | None:
        """Return the value of the key, None if there is no stamp of its address."""
        name = address.of_key(key.decode(errors="replace"))
        if name is None or key not in [address.key(name, self._style, is_short) for is_short in (False, True)]:
            return None
        try:
            os.stat(f"{self._folder}/{name}", follow_symlinks=False)
        except OSError:
            return None
        return self._value

    def put(self, key: bytes, value: bytes) -> None:
        """Do nothing: the stamp is there."""

    def delete(self, key: bytes) -> None:
        """Do nothing: the stamp goes."""

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Return the records, in the folder's order."""
        with explained(self._folder, "read"), os.scandir(self._folder) as entries:
            for name in (entry.name for entry in entries):
                if address.is_canonical(name):
                    yield address.key(name, self._style, compressed_ipv6=False), self._value


class Reader:
    """In a `with`: the records as they are at each look."""

    def __init__(self, place: Place, until: float) -> None:
        """until: is not needed, for nobody locks a stamp."""
        self._place = place

    def __enter__(self) -> Records:
        return Records(_used(self._place))

    def __exit__(self, *_: object) -> None:
        pass


class Writer:
    """The one who changes the stamps; see popips.maps.Writer."""

    held = 0.0  # no MTA waits

    def __init__(self, task: Task) -> None:
        """Take the writers' lock; raise Busy, NotNeeded or MapError."""
        self._place = _used(task.place)
        self._take(Wait(task.until, task.gone))

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _take(self, wait: Wait) -> None:
        path, flags = f"{self._place.path}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        with explained(path, "locked"):
            self._file = Locked(path, lambda: os.open(path, flags, 0o600), True, wait)

    def sealed(self) -> bool:
        """Whether nobody has changed the map: there is none."""
        return True

    def agrees(self) -> bool:
        """Whether no edit of a text is pending: there is none."""
        return True

    def change(self, step: Callable[[Records], None], secure: Callable[[], None]) -> None:
        """Let step do what it does to the stamps."""
        step(Records(self._place))
        secure()

    def look(self, step: Callable[[Records], None]) -> None:
        """Let step read the records."""
        step(Records(self._place))

    def rebuild(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Only have the stamps looked at that the records are made of."""
        for _ in pairs:
            pass

    def show(self) -> None:
        """Do nothing: popips-mapd looks anew at each question."""

    def give_way(self, until: float) -> None:
        """Let other writers have their turn; raise Busy at `until` (time.monotonic())."""
        self._file.close()
        time.sleep(2 * PAUSE)  # who waits looks at it every PAUSE
        self._take(Wait(until))


def _used(place: Place) -> Place:
    """Return the place; raise MapError if it is not popips.conf that names it, with its stamp folder."""
    if not place.path:
        raise MapError(f"{place}: popips.conf names another map, so nobody asks what the stamps say")
    return place
