"""What happens to grants later: expire, reconcile, revoke, and make a record static.

As in popips.grants, the record goes before its stamp. All changes of stamps here are made under the writers' lock.
"""

from __future__ import annotations

import fcntl
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from popips import address, denials, lane, limits
from popips.grants import RENEWED, is_seen, limit, rebuild, record, standing, take_out
from popips.log import INFO, WARNING
from popips.maps import Place, kinds, own, source
from popips.maps.journal import is_idle
from popips.settings import Settings
from popips.stamps import RUN_FILE, Folder, Stamp, StampError, is_stamp, word
from popips.survey import MOST, Survey, survey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from popips.maps import Records

LOGGED = 1000  # lines of a kind that a run logs one by one
HOLD = 0.0005  # seconds that the lock of a map of its own is to be held at once
TURN = 0.05  # seconds after which other writers may have theirs
MIN_BATCH, MAX_BATCH = 10, 5000
BATCH = 500  # addresses whose records are taken out, or put in, with one change of the map
ONE_RUN = 60.0  # seconds: a stamp that is newer than now by less may be of a login since this run began
PATIENCE = 10.0  # seconds to wait for a lock: no login waits here


@dataclass
class Run:
    """What a run of the expirer found and did: names in the stamp folder."""

    live: int = 0
    removed: list[str] = field(default_factory=list)  # expired: the record, if it was there, and the stamp
    kept: list[str] = field(default_factory=list)  # expired, but the text file names the key: only the stamp went
    restored: list[str] = field(default_factory=list)  # the record of a live stamp was not in the map
    static: list[str] = field(default_factory=list)  # a pending stamp went, for the admin has a record on the address
    foreign: list[str] = field(default_factory=list)  # no stamps: left alone

    def describe(self, where: str) -> Iterator[tuple[int, str]]:
        """Give the log lines, each with its level; where: the map."""
        for names, level, event, reason in (
            (self.removed, INFO, "removed: address", ""),
            (self.kept, INFO, "removed: address", ' reason="its record stays: the text file names it"'),
            (self.restored, INFO, "restored: address", ""),
            (self.static, INFO, "static: address", ' reason="the admin has a record on it"'),
            (self.foreign, WARNING, "foreign: file", ' reason="no stamp; left alone"'),
        ):
            for name in names[:LOGGED]:
                yield level, f"{event}={word(name)} map={where}{reason}"
            if len(names) > LOGGED:
                yield level, f"{event.partition(':')[0]}: {len(names) - LOGGED} more map={where}{reason}"


@dataclass(frozen=True)
class Bound:
    """How much of its work an expiry may do: so many seconds of looking, and so many grants to take out."""

    seconds: float = math.inf
    grants: float = math.inf


ALL = Bound()
STAND_IN = Bound(seconds=0.5, grants=BATCH)  # what a login's hook may spend where the expirer is dead


@contextmanager
def alone(folder: Folder) -> Iterator[bool]:
    """Keep the expirer's lock in a `with`; the value tells whether it was to be had.

    Raise StampError if its file is not a plain one of root's.
    """
    with folder.naming(RUN_FILE):
        fd = os.open(RUN_FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600, dir_fd=folder.fd)
    try:
        if not is_stamp(os.fstat(fd)):
            raise StampError(f"{folder.path}/{RUN_FILE}: not a plain file of root: remove it")
        yield _is_locked(folder, fd)
    finally:
        os.close(fd)


def _is_locked(folder: Folder, fd: int) -> bool:
    with folder.naming(RUN_FILE):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def expire(settings: Settings, now: float, bound: Bound = ALL, dry_run: bool = False) -> Run:
    """Remove the grants whose stamp is older than the window, and make the map agree with the others (reconcile).

    now: seconds since the epoch. A stamp from the future counts as made now. Where nothing but grants has changed the
    map since the last run, only stamps that are not settled are reconciled; where it is bound, none. Raise MapError or
    StampError; what was done until then is whole.
    """
    with Folder(settings.stamps) as folder:
        sweep = _Sweep(settings, folder, now, dry_run, source.Text(settings.source(settings.map), settings.map.postfix))
        sweep.text.records()  # if it cannot be read, that is to be told before it is needed
        if not dry_run:
            recover(settings, settings.map, now)
        is_known = lane.holds(settings, folder) and not denials.are_new(folder, now)
        if settings.map.own and not is_known and not dry_run and bound is ALL:
            rebuild(settings, folder, now, math.inf)
            is_known = True
        found = sweep.look(bound)
        if not (dry_run or (is_known and lane.holds(settings, folder))):
            sweep.begin(is_known)
        while True:
            sweep.clear_up(found)
            sweep.expire(found.due, is_known)
            if bound is not ALL:
                return sweep.run
            if is_known:
                sweep.reconcile(found.unsettled)
            if not (found.is_whole or dry_run) and (found.due or is_known):
                found = sweep.look(bound)
            else:
                break
        if not is_known:
            sweep.reconcile_all()
        if settings.max_per_user and not dry_run:
            # logins that came while the map was locked were not counted
            sweep.run.removed += limit(settings, folder, now, _until())
        if not dry_run:
            with sweep.writer():
                lane.finish(settings, folder, now)
            folder.touch(RUN_FILE, now)
    return sweep.run


def recover(settings: Settings, place: Place, now: float) -> None:
    """Finish what a writer of the map left when it died, if one did. Raise MapError."""
    if not is_idle(place.path):
        with _writer(settings, place, now):
            pass


@dataclass
class _Sweep:
    settings: Settings
    folder: Folder
    now: float
    dry_run: bool
    text: source.Text  # of the map
    run: Run = field(default_factory=Run)
    batch: int = field(default_factory=lambda: BATCH)
    has_begun: bool = False  # the lane is closed, until this run has ended

    @cached_property
    def denied(self) -> list[denials.Denial]:
        return denials.legible(self.folder)

    def is_barred(self, name: str) -> bool:
        return bool(limits.barred(self.settings, self.denied, name, self.now))

    def is_due(self, stamp: Stamp | None) -> bool:
        return stamp is not None and stamp.time <= self.now - self.settings.window

    def record(self, name: str) -> tuple[bytes, bytes]:
        return record(self.settings, self.folder, name)

    def look(self, bound: Bound) -> Survey:
        """Give what is in the stamp folder."""
        due, ahead, most = self.now - self.settings.window, self.now + ONE_RUN, min(MOST, bound.grants)
        return survey(self.folder, due, ahead, bound.seconds, most, alone=bound is not ALL)

    def clear_up(self, found: Survey) -> None:
        """Finish what another run has left, and note what there is."""
        self.run.live, self.run.foreign = found.live, found.foreign
        if self.dry_run:
            return
        for name in found.aside:
            self.folder.finish_removal(name, self.is_due)
        for name in found.ahead:
            self.folder.renew(name, self.now)

    def batches(self, names: Iterable[str]) -> Iterator[list[str]]:
        """Give so many names at a time that the map's lock is not held for long."""
        left = iter(names)
        while batch := list(islice(left, self.batch)):
            yield batch

    def pace(self, writer: kinds.Writer) -> None:
        """Fit the size of the next batch to the time that the lock was held for the last, and pause for as long.

        flock(2) wakes who waits, but does not hand the lock over: taken again at once, it would never be theirs.
        """
        if isinstance(writer, own.Writer) and writer.held:
            time.sleep(writer.held)
            self.batch = max(MIN_BATCH, min(MAX_BATCH, int(self.batch * min(2.0, HOLD / writer.held))))

    def begin(self, is_known: bool) -> None:
        """Close the lane."""
        with self.writer():
            lane.begin(self.settings, self.folder, is_known)
        self.has_begun = True

    def expire(self, names: list[str], is_known: bool) -> None:
        """Take the records of these stamps out, if they are due, and then the stamps."""
        if self.dry_run:
            self.forget(names)
            return
        if names and not self.has_begun:
            self.begin(is_known)
        self.in_turns(names, self._take_out)
        # not by turns with the records: what waits for the map's lock would wait for the disk to free the stamps
        self.in_turns(names, lambda _, batch: self.forget(batch))

    def in_turns(self, names: list[str], work: Callable[[kinds.Writer, list[str]], None]) -> None:
        """Do the work in batches, and let other writers, which are logins, have their turn in between."""
        if not names:
            return
        with self.writer() as writer:
            if isinstance(writer, own.Writer):
                self.batch = MIN_BATCH  # until pace() knows better
            end = time.monotonic() + TURN
            for batch in self.batches(names):
                if time.monotonic() > end:
                    writer.give_way(_until())
                    end = time.monotonic() + TURN
                work(writer, batch)
                self.pace(writer)

    def _take_out(self, writer: kinds.Writer, names: list[str]) -> None:
        # before the lock is taken: a login that changes one of them renews the stamp
        pairs = {name: self.record(name) for name in names}
        taken: list[str] = []

        def step(records: Records) -> None:
            taken.clear()
            static = self.text.records()  # now: whatever the map holds by now is in the text by now
            for name, (key, value) in pairs.items():
                stamp = self.folder.get(name)
                # where the text says something else, it was edited since the map was made: that is not in the map yet
                ours = is_seen(stamp) and static.get(key) != value and records.get(key) == value
                if ours and self.is_due(stamp):
                    records.delete(key)
                    taken.append(name)

        moved = writer.change(step, still=lambda: all(self.is_due(self.folder.get(name)) for name in taken))
        lane.follow(self.folder, moved)

    def forget(self, names: list[str]) -> None:
        """Remove the stamps of these names that are still due.

        A login that has renewed its stamp since finds no record, and puts it: that stamp must stay.
        """
        static = self.text.records()
        for name in names:
            is_kept = static and self.record(name) in static.items()
            found = self.run.kept if is_kept else self.run.removed
            if self.dry_run or self.folder.remove_if(name, self.is_due):
                found.append(name)

    def reconcile_all(self) -> None:
        """Look each live stamp's record up, and have those put that are not there."""
        with kinds.reader(self.settings.map, _until()) as records:
            for batch in self.batches(name for name in self.live() if not self.is_well(records, name)):
                self.reconcile(batch)
        if not self.dry_run:
            barred = [name for name in self.live() if self.is_barred(name)]
            for name in barred:
                self.folder.renew(name, 0)
            self.expire(barred, is_known=False)

    def live(self) -> Iterator[str]:
        """Give the live stamps' names."""
        for name, stamp in self.folder.scan():
            if not self.is_due(stamp):
                yield name

    def is_well(self, records: Records, name: str) -> bool:
        """Tell whether there is nothing to be done for a live stamp."""
        stamp = self.folder.get(name)
        return stamp is None or (stamp.settled and self.standing(records, name) == RENEWED)

    def standing(self, records: Records, name: str) -> str | None:
        return standing(self.settings, self.folder, records, name)

    def reconcile(self, names: list[str]) -> None:
        """Give these stamps their records, or find that the admin has one; settle them."""
        if not self.dry_run:
            self.in_turns(names, self._reconcile)
            return
        text = self.text.records()
        with kinds.reader(self.settings.map, _until()) as records:
            for name in names:
                stamp, standing = self.folder.get(name), self.standing(records, name)
                if stamp and not standing and self.record(name)[0] not in text:
                    self.run.restored.append(name)
                elif stamp and stamp.pending:
                    self.run.static.append(name)

    def _reconcile(self, writer: kinds.Writer, names: list[str]) -> None:
        restored: list[str] = []
        static: list[str] = []
        there: list[str] = []

        def step(records: Records) -> None:
            for found in (restored, static, there):
                found.clear()
            text = self.text.records()
            for name in names:
                stamp = self.folder.get(name)
                key, value = self.record(name)
                standing = self.standing(records, name)
                if stamp and self.is_barred(name):
                    self.folder.renew(name, 0)  # due, the next time
                elif stamp and not standing and key not in text:
                    restored.append(name)
                    self.folder.unsettle(name)
                    records.put(key, value)
                elif stamp and stamp.pending:
                    static.append(name)
                elif standing == RENEWED:
                    there.append(name)

        moved = writer.change(step, ready=self.folder.sync)
        for name in static:
            self.folder.remove(name)
        for name in restored + there:
            self.folder.settle(name)
        lane.follow(self.folder, moved)
        self.run.restored += restored
        self.run.static += static

    def writer(self) -> kinds.Writer:
        return _writer(self.settings, self.settings.map, self.now)


def _writer(settings: Settings, place: Place, now: float) -> kinds.Writer:
    return kinds.writer(place, settings.source(place), now, _until())


def _until() -> float:
    return time.monotonic() + PATIENCE


@dataclass(frozen=True)
class Target:
    """What a word on the command line means: keys of records, and the address whose stamp goes with them."""

    keys: frozenset[bytes]
    stamp: str | None


def make_static(settings: Settings, place: Place, pairs: dict[bytes, bytes], now: float) -> None:
    """Put records that stay, by key and value; the stamps of grants that had these records go.

    place: any map; only that of settings has stamps. Raise MapError or StampError.
    """

    def step(records: Records) -> None:
        for its_key, its_value in granted.values():
            # in another form, by which the MTA may ask first
            if its_key not in pairs and text.get(its_key) != its_value and records.get(its_key) == its_value:
                records.delete(its_key)
        for key, value in pairs.items():
            if records.get(key) != value:
                records.put(key, value)

    with _stamps_of(settings, place) as folder, _writer(settings, place, now) as writer:
        names = {name for key in pairs if (name := address.of_key(key.decode()))}
        granted = {name: record(settings, folder, name) for name in names if folder.get(name)} if folder else {}
        text = source.records(settings.source(place), place.postfix)
        if folder:
            lane.withdraw(folder)
        writer.change(step)
        for name in granted:
            if folder:
                folder.remove(name)


def revoke(settings: Settings, place: Place, words: list[str], now: float) -> list[str]:
    """Take records out of a map, and then the stamps of the grants that had them; give the words that found neither.

    A word is a record's key, or an address: its bare key and the record of its grant. Raise MapError or StampError.
    """
    found: set[str] = set()

    def step(records: Records) -> None:
        for word in words:
            for key in _target(settings, folder, word).keys:
                if records.get(key) is not None:
                    records.delete(key)
                    found.add(word)

    with _stamps_of(settings, place) as folder, _writer(settings, place, now) as writer:
        if folder:
            lane.withdraw(folder)
        writer.change(step)
        for word in words:
            stamp = _target(settings, folder, word).stamp
            if folder and stamp:
                folder.remove(stamp)
                found.add(word)
    return [word for word in words if word not in found]


def deny(settings: Settings, denial: denials.Denial, now: float) -> list[str]:
    """Keep an address or network out, and end its grants; give the addresses of these. Raise MapError or StampError."""
    with Folder(settings.stamps) as folder:
        denials.add(folder, denial, now)
        lane.withdraw(folder)  # whatever happens now, the next run looks at all grants

        def which() -> list[str]:
            return [name for name, _ in folder.scan() if address.is_in(name, (denial.network,))]

        return take_out(settings, folder, which, now, _until())


def _stamps_of(settings: Settings, place: Place) -> Folder | nullcontext[None]:
    has_stamps = place == settings.map and os.path.lexists(settings.stamps)
    return Folder(settings.stamps) if has_stamps else nullcontext()


def normal_key(settings: Settings, text: str) -> str:
    """Give the key by which the MTA asks for what a text says: in lower case, and an IPv6 address in its own form."""
    text = text.lower()
    name = address.of_key(text)
    style = "connect" if text.startswith("connect:") else settings.styles[0]
    return address.key(name, style, settings.compressed_ipv6).decode() if name else text


def _target(settings: Settings, folder: Folder | None, word: str) -> Target:
    keys = {
        word.lower().encode(),
        normal_key(settings, word).encode(),
    }  # as it is written, too: somebody may have put it
    name = address.of_key(word.lower())
    its = record(settings, folder, name)[0] if name and folder and folder.get(name) else None
    if its and address.is_address(word):
        keys.add(its)
    return Target(frozenset(keys), name if its in keys else None)
