"""One host at one moment: what all parts of popips work on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from popips import address, form
from popips.fate import ADMINS, DUE, LIVE, NONE, OURS, SETTLED, Case
from popips.form import Form
from popips.maps import Lookup, Reader, Writer, kinds
from popips.maps.text import Text
from popips.settings import Settings
from popips.stamps import Stamp
from popips.stamps.folder import Folder

Said = Mapping[bytes, bytes]  # the records that a text says
PATIENCE = 10.0  # seconds to wait for a lock where no login waits

if TYPE_CHECKING:
    from popips.progress import Progress

STEP = 500  # things that are done until it is told
Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Site:
    """Settings, open stamp folder and text of a host; use it in a `with`.

    now: seconds since the epoch. wait: seconds to wait for a lock. progress: what hears how far long work has come.
    """

    settings: Settings
    folder: Folder
    now: float
    wait: float
    text: Text
    form: Form
    progress: Progress | None = None

    def at(self, now: float) -> Site:
        """Return the same host at another moment."""
        return Site(self.settings, self.folder, now, self.wait, self.text, self.form, self.progress)

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        if self.progress:
            self.progress.end()
        self.folder.__exit__()

    def writer(self, gone: Callable[[], bool] | None = None) -> Writer:
        """Return the one writer of the map; raise Busy when the wait is over, NotNeeded as soon as gone() says yes."""
        return kinds.writer(self.form.place, self.text.path, self.now, time.monotonic() + self.wait, gone)

    def reader(self) -> Reader:
        """Return the records of the map as they are now, for a `with`; raise Busy when the wait is over, MapError."""
        return kinds.reader(self.form.place, time.monotonic() + self.wait)

    def followed(self, what: str, things: Iterable[Thing]) -> Iterator[Thing]:
        """Return the things one by one, and tell how many there were so far."""
        for number, thing in enumerate(things, 1):
            if self.progress and not number % STEP:
                self.progress.step(what, number)
            yield thing

    def is_due(self, stamp: Stamp) -> bool:
        """Whether the last login is longer ago than the window."""
        return stamp.time <= self.now - self.settings.window

    def case(self, records: Lookup, said: Said, name: str, asked: bool, barred: bool) -> Case:
        """Return what the fate of the address depends on; records: of the map, said: what the admin's text says."""
        stamp = self.folder.get(name)
        if stamp is None:
            found = NONE
        elif self.is_due(stamp):
            found = DUE
        else:
            found = SETTLED if stamp.settled else LIVE
        if self.form.place.row.has_file:
            record = self._record(records, name, stamp)
        else:  # popips-mapd looks at the stamp, and whether it is due or barred, at each question
            record = OURS if found in (LIVE, SETTLED) and not barred else NONE
        return Case(found, record, self._is_named(records, said, name), asked, barred)

    def _record(self, records: Lookup, name: str, stamp: Stamp | None) -> str:
        key, value = self.form.record(name)
        there = records.get(key)
        if self.form.place.own:  # it holds nothing of the admin's
            return OURS if there == value and stamp else NONE
        if any(records.get(its) is not None for its in form.keys(self.settings, name) if its != key):
            return ADMINS
        if there is None:
            return NONE
        return OURS if there == value and stamp else ADMINS

    def _is_named(self, records: Lookup, said: Said, name: str) -> bool:
        """Whether the admin has written a record on the address, or on a network of it that is not in the map yet."""
        if not said:
            return False
        keys = form.keys(self.settings, name)
        if any(key in said for key in keys):
            return True
        wider = [network for key in keys for network in address.wider(key)]
        return any(key in said and records.get(key) != said[key] for key in wider)


def site(settings: Settings, now: float, wait: float = PATIENCE, progress: Progress | None = None) -> Site:
    """Return the host that popips.conf describes; raise StampError if its stamp folder cannot be used."""
    place = settings.map
    text = Text(settings.source(place), place.postfix)
    return Site(settings, Folder(settings.stamps), now, wait, text, form.of(settings), progress)
