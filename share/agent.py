"""One host's agent: what is new here goes to the others, what they tell goes into share_from, and neither waits."""

from __future__ import annotations

import heapq
import select
import socket
import time
from collections.abc import Callable

from popips.log import ERROR, INFO, WARNING, Log
from popips.settings import Settings
from popips.stamps import StampError
from share import denied, entry
from share.clock import Clock
from share.engine import Engine, EngineError, Entries, Reader
from share.entry import DENIALS, END, LOGIN, Entry, Garbage
from share.fleet import Fleet
from share.here import Change, Here
from share.ledger import Event, is_newer, when
from share.limits import Holders
from share.told import LARGEST, Told

TURN = 1.0  # seconds: so often, at least, it is looked at all that no event tells
MOST = 500  # entries to write at once
RETRY = 0.5  # seconds
CHECK = 10.0  # seconds between two looks whether the stream is the one that it was
SWEEP = 30.0  # seconds
SAY = 60.0  # seconds between two lines about what is none of ours in the stream
KEEP = 60.0  # seconds that entries are kept beyond the window
ENDED = 0.1  # seconds behind a login by which its end covers it, as it is told with an error of milliseconds


class Agent:
    """Raise StampError or told.FolderError if a folder of this host's cannot be used, here or in turn()."""

    def __init__(self, settings: Settings, log: Log, now: Callable[[], float] = time.time) -> None:
        self._settings, self._log, self._clock = settings, log, Clock(now)
        self.name = settings.share_name or socket.gethostname()
        self._wake, self._waker = socket.socketpair()
        self.waker = self._waker.fileno()  # who writes a byte to it ends the wait of turn(), too
        for end in (self._wake, self._waker):
            end.setblocking(False)
        self._told = Told(settings.share_from)
        self._here = Here(settings, self.name, now())
        self._fleet = Fleet(self.name, settings.share, now())
        self._known: dict[str, Event] = dict(self._told.events)
        self._holders = Holders(settings.max_per_user, settings.window)
        self._ready: dict[str, Event] = {}  # what is to be told as soon as that is possible
        self._later: list[tuple[float, str]] = []  # a heap: when renewals are to be told
        self._planned: dict[str, float] = {}
        self._engine: Engine | None = None
        self._reader: Reader | None = None
        self._seen = self._last_own = b""  # IDs of the last entry that was read, and of our last one
        self._begin: bytes | None = None  # the ID from which on it was
        self._is_complete = False  # whether all that the stream has to say was heard
        self._is_restart = True
        self._denials_changed = self._ask_denials = True
        self._retry = self._write_again = self._checked = self._swept = self._said = float("-inf")
        self._poll = select.poll()
        self._poll.register(self._here.fd, select.POLLIN)
        self._poll.register(self._wake, select.POLLIN)
        for name, event in self._known.items():
            self._holders.note(name, event)
        for name, event in self._here.logins.items():
            if is_newer(event, self._known.get(name)):
                self._holders.note(name, event)

    def close(self) -> None:
        """End; what is told stays."""
        self._drop()
        self._here.close()
        self._told.close()
        self._wake.close()
        self._waker.close()

    def wake(self) -> None:
        """End the wait of turn(), from any thread."""
        try:
            self._waker.send(b".")
        except OSError:
            pass  # it is awake, or has ended

    def turn(self, longest: float = TURN) -> None:
        """Wait until there is something to do, so many seconds at most, and do it. Raise OSError for share_from."""
        self._poll.poll(max(0.0, min(longest, self._pause())) * 1000)
        try:
            while self._wake.recv(4096):
                pass
        except BlockingIOError:
            pass
        now = self._clock.now()
        changes, self_denials = self._here.changes(now)
        self._denials_changed |= self_denials
        for change in changes:
            self._notice(change, now)
        try:
            if self._engine is None:
                self._connect(now)
            if self._engine is not None:
                self._talk(self._engine)
        except EngineError as error:
            self._fail(error)
        self._keep_house(self._clock.now())

    def _pause(self) -> float:
        """Return for how many seconds nothing is to be done unless something happens."""
        if self._engine is None:
            return self._retry - time.monotonic()
        if self._ready and self._is_complete:
            return self._write_again - time.monotonic()
        return self._later[0][0] - self._clock.now() if self._later else TURN

    # ---- what happens here

    def _notice(self, change: Change, now: float) -> None:
        if change.now:
            known = self._known.get(change.name)
            if is_newer(change.now, known):
                self._holders.note(change.name, change.now)
                self._limit(change.now.user, now)
            self._consider(change.name, now)
        elif change.before and change.before.time > now - self._settings.window:
            self._end(change.name, change.before, now)

    def _consider(self, name: str, now: float) -> None:
        """Have the last login at an address here told when it is time for it."""
        event = self._here.logins.get(name)
        if event is None or not self._here.is_own(event) or not self._is_complete:
            return
        at = when(event.time, self._known.get(name), now, self._settings.window)
        if at is None:
            return
        if at <= now:
            self._ready[name] = event
        elif self._planned.get(name) != at:
            self._planned[name] = at
            heapq.heappush(self._later, (at, name))

    def _end(self, name: str, login: Event, now: float) -> None:
        """Tell that a grant was ended before it was due, unless it was ended elsewhere."""
        known = self._known.get(name)
        if known and not known.is_live and known.time >= login.time:
            return
        event = Event(now, False, login.user, login.service, self.name)
        self._learn(name, event)
        self._ready[name] = event

    # ---- what is known of all hosts

    def _learn(self, name: str, event: Event) -> None:
        """Keep the newest event of an address, for all who ask here."""
        self._known[name] = event
        here = self._here.logins.get(name)
        self._holders.note(name, here if here and is_newer(here, event) else event)
        if event.host != self.name or not event.is_live:
            self._told.put(name, event)

    def _limit(self, user: str, now: float) -> None:
        for name, last in self._holders.surplus(user, now):
            known = self._known.get(name)
            service = known.service if known else "-"
            self._ready.pop(name, None)
            self._learn(name, Event(min(last + ENDED, now), False, user, service, self.name))

    def _hear(self, found: Entries, is_all: bool) -> None:
        """Take up what others have written, and what this host itself has."""
        now = self._clock.now()
        news: dict[str, Event] = {}
        for number, fields in found:
            self._seen = number
            try:
                its = entry.unpack(number, fields, self._clock.there(now))
            except Garbage as error:
                self._say_garbage(number, error)
                continue
            if its.host == self.name:
                self._last_own = number
            else:
                written = self._clock.here(entry.milliseconds(number) / 1000)
                self._fleet.heard(its.host, now, max(0.0, now - written))
            if its.sign == DENIALS:
                self._ask_denials |= its.host != self.name
                continue
            event = Event(min(self._clock.here(its.time), now), its.sign == LOGIN, its.user, its.service, its.host)
            if event.time > now - self._settings.window and is_newer(event, news.get(its.address)):
                news[its.address] = event
        for name, event in news.items():
            if is_newer(event, self._known.get(name)):
                self._learn(name, event)
                self._limit(event.user, now)
        if is_all and not self._is_complete:
            self._complete(now)

    def _complete(self, now: float) -> None:
        """All that the stream has is known: tell what it has not."""
        self._is_complete = True
        if self._is_restart:
            self._is_restart = False
            for name, event in list(self._known.items()):
                if event.is_live and event.host == self.name and name not in self._here.logins:
                    self._end(name, event, now)  # it was ended while nobody looked
        for name in self._here.logins:
            self._consider(name, now)

    def _say_garbage(self, number: bytes, error: Garbage) -> None:
        if time.monotonic() - self._said > SAY:
            self._said = time.monotonic()
            where = f"{self._settings.share_stream} {number.decode('ascii', 'replace')}"
            self._log.line(WARNING, f"ignored: {where}: {error}: who but popips-share may write to that stream?")

    # ---- the server

    def _connect(self, now: float) -> None:
        if time.monotonic() < self._retry:
            return
        self._retry = time.monotonic() + RETRY
        engine = Engine(self._settings)
        try:
            self._clock.measure(engine.time)
            if self._begin is None or self._has_lost(engine):
                self._forget()
            self._reader = engine.reader(self._seen or self._begin or b"0-0", self.wake)
        except EngineError:
            engine.close()
            raise
        self._engine, self._checked = engine, time.monotonic()
        self._denials_changed = self._ask_denials = True

    def _has_lost(self, engine: Engine) -> bool:
        """Whether the stream lacks what it had: then the server was started without its data, or has lost the last."""
        oldest = self._clock.there(self._clock.now()) - self._settings.window
        ids = {self._seen, self._last_own} - {b""}
        return any(entry.milliseconds(its) / 1000 > oldest and not engine.has(its) for its in ids)

    def _forget(self) -> None:
        """Read the stream from its begin, and then tell what it does not have."""
        since = max(0, int(1000 * (self._clock.there(self._clock.now()) - self._settings.window)))
        self._begin, self._is_complete = b"%d-0" % since, False
        self._seen = self._last_own = b""
        for name, event in list(self._known.items()):
            if event.host == self.name:
                if event.is_live:
                    del self._known[name]
                else:
                    self._ready.setdefault(name, event)

    def _talk(self, engine: Engine) -> None:
        while self._reader and (taken := self._reader.take()):
            self._hear(*taken)
        if self._clock.has_moved():
            self._clock.measure(engine.time)
        now = self._clock.now()
        while self._later and self._later[0][0] <= now:
            _, name = heapq.heappop(self._later)
            self._planned.pop(name, None)
            self._consider(name, now)
        if self._is_complete and time.monotonic() >= self._write_again:
            self._write(engine)
        if time.monotonic() - self._checked > CHECK:
            self._checked = time.monotonic()
            self._clock.measure(engine.time)
            if self._has_lost(engine):
                raise EngineError(f"{self._settings.share}: {self._settings.share_stream} has lost entries", True)

    def _write(self, engine: Engine) -> None:
        """Tell the others what is new here, and whom it keeps out."""
        if self._ask_denials or self._denials_changed:
            self._share_denials(engine)
        while self._ready:
            now = self._clock.now()
            batch = dict(list(self._ready.items())[:MOST])
            since = self._clock.there(now) - self._settings.window - KEEP
            lines = [entry.pack(_entry(name, event), now) for name, event in batch.items()]
            self._last_own = engine.add(lines, since)
            for name, event in batch.items():
                if self._ready.get(name) is event:
                    del self._ready[name]
                if is_newer(event, self._known.get(name)):
                    self._learn(name, event)
        self._say("")

    def _share_denials(self, engine: Engine) -> None:
        fields = engine.denied()
        if self._denials_changed:
            self._tell_denials(engine, fields.get(self.name.encode(), b""))
            self._denials_changed = False
        others = denied.merged(fields, self.name, self._clock.now(), self._clock.here)
        if len(others) > LARGEST:
            raise EngineError(f"{self._settings.share}: {engine.denials} has more denials than can be heeded", False)
        self._told.deny(others)
        self._ask_denials = False

    def _tell_denials(self, engine: Engine, there: bytes) -> None:
        try:
            own = denied.pack(self._here.denied(), self._clock.there)
        except StampError as error:  # what was told before holds, until the file has changed
            self._log.line(ERROR, f"error: the other hosts do not hear of it: {error}")
            return
        if own != there:
            engine.deny(self.name, own)
            now = self._clock.now()
            since = self._clock.there(now) - self._settings.window - KEEP
            self._last_own = engine.add([entry.pack(Entry(DENIALS, "", now, "-", "-", self.name), now)], since)

    def _fail(self, error: EngineError) -> None:
        self._write_again = time.monotonic() + 2 * RETRY
        if error.is_lost:
            self._drop()
        self._say(str(error))

    def _drop(self) -> None:
        if self._reader:
            self._reader.stop()
        if self._engine:
            self._engine.close()
        self._engine = self._reader = None

    def _say(self, trouble: str) -> None:
        """Log what keeps this host from the others, or that it no longer does, once."""
        news = self._fleet.state(self._engine is not None, trouble, self._clock.now())
        if news and trouble:
            self._log.line(ERROR, f"error: {trouble}")
        elif news:
            self._log.line(INFO, f"connected: {self._settings.share} as {self.name}")

    # ---- from time to time

    def _keep_house(self, now: float) -> None:
        if time.monotonic() - self._swept > SWEEP:
            self._swept = time.monotonic()
            before = now - self._settings.window
            self._told.sweep(before)
            self._known = {name: event for name, event in self._known.items() if event.time > before}
            self._here.forget(before)
            if not self._told.is_there():
                raise StampError(f"{self._settings.share_from}: another folder is in its place")
        self._fleet.write(self._told, now)


def _entry(name: str, event: Event) -> Entry:
    return Entry(LOGIN if event.is_live else END, name, event.time, event.user, event.service, event.host)
