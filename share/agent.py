"""One host's agent: what is new here goes to the others, what they tell goes into share_from, and neither waits."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable

from popips.elsewhere import own_name
from popips.log import ERROR, INFO, WARNING, Log
from popips.settings import Settings
from share import entry
from share.clock import Clock
from share.denying import Denying
from share.engine import Engine, EngineError, Entries, Full, Reader
from share.entry import DENIALS, END, LOGIN, Entry, Future, Garbage
from share.fleet import Fleet
from share.knowledge import Knowledge
from share.ledger import UNKNOWN, Event, is_newer

TURN = 1.0  # seconds: so often, at least, it is looked at all that no event tells
MOST = 500  # entries to write at once
RETRY = 0.5  # seconds
CHECK = 10.0  # seconds between two looks whether the stream is the one that it was
SWEEP = 30.0  # seconds
SAY = 60.0  # seconds between two lines about what is none of ours in the stream
KEEP = 60.0  # seconds that entries are kept beyond the window
NEVER = float("-inf")


class Agent:
    """Raise StampError or told.FolderError if a folder of this host's cannot be used, here or in turn()."""

    def __init__(self, settings: Settings, log: Log, now: Callable[[], float] = time.time) -> None:
        self._settings, self._log, self._clock = settings, log, Clock(now)
        self.name = own_name(settings)
        self._knows = Knowledge(settings, self.name, now())
        self._fleet = Fleet(self.name, settings.share, now())
        self._engine: Engine | None = None
        self._reader: Reader | None = None
        self._begin = b""  # the ID from which on the stream is read
        self._seen = self._last_own = b""  # IDs of the last entry that was read, and of our last one
        self._is_heard = self._is_shaken = False  # whether the stream was read since, and the connection lost just now
        self._denying = Denying(self._knows, self.name, self._clock)
        self._retry = self._write_again = self._checked = self._swept = self._said = NEVER  # by time.monotonic()
        self._wake, waker = socket.socketpair()
        self.waker = waker  # who writes a byte to it, from any thread, ends the wait of turn()
        self._poll = select.poll()
        for its in (self._wake, waker):
            its.setblocking(False)
        for fd in (self._knows.here.fd, self._wake.fileno()):
            self._poll.register(fd, select.POLLIN)

    def close(self) -> None:
        """End; what is told stays."""
        self._drop()
        try:
            self._fleet.end(self._knows.told, self._clock.now())
        except OSError:
            pass  # then it is silent from now on
        self._knows.close()
        self._wake.close()
        self.waker.close()

    def _rouse(self) -> None:
        try:
            self.waker.send(b".")
        except OSError:
            pass  # it is awake, or has ended

    def turn(self, longest: float = TURN) -> None:
        """Wait until there is something to do, so many seconds at most, and do it. Raise OSError for share_from."""
        self._poll.poll(1000 * max(0.0, min(longest, self._pause())))
        try:
            self._wake.recv(4096)
        except BlockingIOError:
            pass
        now = self._clock.now()
        if self._clock.has_moved():
            self._knows.sweep(now)  # or an end of the future would hide each login until then
            self._denying.begin()  # they are over by this host's clock
        changes, are_denials_changed = self._knows.here.changes(now)
        self._denying.changed |= are_denials_changed
        for change in changes:
            self._knows.notice(change, now)
        try:
            self._talk(self._engine or self._connected())
        except EngineError as error:
            self._fail(error)
        self._keep_house(self._clock.now())

    def _pause(self) -> float:
        """Return for how many seconds nothing is to be done unless something happens."""
        if self._engine is None:
            return self._retry - time.monotonic()
        if self._is_heard and (self._knows.ready or self._denying.is_due()):
            return self._write_again - time.monotonic()
        at = self._knows.next()
        return TURN if at is None else at - self._clock.now()

    def _keep_house(self, now: float) -> None:
        if time.monotonic() - self._swept > SWEEP:
            self._swept = time.monotonic()
            self._knows.sweep(now)
        self._fleet.write(self._knows.told, now)

    def _say(self, trouble: str) -> None:
        """Log what keeps this host from the others, or that it no longer does, once."""
        if not self._fleet.state(self._engine is not None, trouble, self._clock.now()):
            return
        if trouble:
            self._log.line(ERROR, f"error: {trouble}")
        else:
            self._log.line(INFO, f"connected: {self._settings.share} as {self.name}")

    # ---- the server

    def _connected(self) -> Engine | None:
        if time.monotonic() < self._retry:
            return None
        self._retry = time.monotonic() + RETRY
        engine = Engine(self._settings)
        try:
            self._clock.measure(engine.time)
            if not self._begin or self._has_lost(engine):
                since = self._clock.there(self._clock.now()) - self._settings.window
                self._begin, self._seen, self._last_own = b"%d-0" % max(0, 1000 * since), b"", b""
                self._knows.forget()
            self._reader = engine.reader(self._seen or self._begin, self._rouse)
        except EngineError:
            engine.close()
            raise
        self._engine, self._checked, self._is_heard = engine, time.monotonic(), False
        self._denying.begin()
        return engine

    def _has_lost(self, engine: Engine) -> bool:
        """Whether the stream lacks what it had: then the server was started without its data, or has lost the last."""
        oldest = self._clock.there(self._clock.now()) - self._settings.window
        ids = {self._seen, self._last_own} - {b""}
        return any(entry.milliseconds(its) / 1000 > oldest and not engine.has(its) for its in ids)

    def _drop(self) -> None:
        if self._reader:
            self._reader.stop()
        if self._engine:
            self._engine.close()
        self._engine = self._reader = None

    def _fail(self, error: EngineError) -> None:
        self._write_again = time.monotonic() + 2 * RETRY
        is_first = error.is_lost and self._engine is not None and not self._is_shaken
        if error.is_lost:
            self._drop()
        if is_first:  # a server that was started again is there at once, and if not, the next error says more
            self._is_shaken, self._retry = True, NEVER
        else:
            self._say(str(error))

    def _talk(self, engine: Engine | None) -> None:
        if engine is None:
            return
        if self._clock.has_moved():
            self._clock.measure(engine.time)
        taken = self._reader.take() if self._reader else None
        if taken:
            if taken[0] and self._is_ahead(taken[0][-1][0]):  # is it that the server's clock was put?
                self._clock.measure(engine.time)
            self._hear(*taken)
            self._is_heard = True
            self._rouse()  # there may be more, but what happens here is not to wait for all of it
        self._knows.ripen(self._clock.now())
        if self._is_heard and time.monotonic() >= self._write_again:
            try:
                self._tell(engine)
            except Full:
                self._begin_anew(engine)
            self._is_shaken = False
            self._say(self._denying.trouble)
        if time.monotonic() - self._checked > CHECK or self._is_ahead(self._last):
            self._check(engine)

    @property
    def _last(self) -> bytes:
        """The highest ID that is known of."""
        return max(self._seen or b"0", self._last_own or b"0", key=entry.milliseconds)

    def _is_ahead(self, number: bytes) -> bool:
        return entry.is_ahead(number, self._clock.there(self._clock.now()))

    def _check(self, engine: Engine) -> None:
        """Look whether the stream is the one that it was, and of this time."""
        self._checked = time.monotonic()
        self._clock.measure(engine.time)
        if self._is_ahead(self._last) and engine.has(self._last):
            self._begin_anew(engine)
        if self._has_lost(engine):
            raise EngineError(f"{self._settings.share}: entries are missing in {engine.stream}: told again", True)

    def _begin_anew(self, engine: Engine) -> None:
        """Take away a stream whose last ID is of the future: behind it nobody can tell when an entry was written."""
        engine.begin_anew()
        text = "its last entry is of the future: was the server's clock ahead? All hosts tell again what they know"
        self._log.line(WARNING, f"warning: {engine.stream}: {text}")
        raise EngineError(f"{self._settings.share}: {engine.stream}: {text}", is_lost=True)

    # ---- what is told

    def _hear(self, found: Entries, is_all: bool) -> None:
        """Take up entries of the stream; is_all: whether there are no more for now."""
        now = self._clock.now()
        news: dict[str, Event] = {}
        for number, fields in found:
            self._seen = number
            try:
                its = entry.unpack(number, fields, self._clock.there(now))
            except Future:
                continue  # the stream is begun anew
            except Garbage as error:
                self._warn(f"ignored: {number.decode()}: {error}: who but popips-share may write to that stream?")
                continue
            # of what stands there already, all in this host's name is its own: a boot makes it another one of that name
            is_own = its.host == self.name and (its.by == self._knows.told.id or not self._knows.is_complete)
            if is_own:
                self._last_own = number
            elif its.host != self.name or self._is_namesake():
                written = self._clock.here(entry.milliseconds(number) / 1000)
                # what was written before this program was started took no time
                self._fleet.heard(its, written, now - written if self._knows.is_complete else 0.0)
            if its.sign == DENIALS:
                self._denying.ask |= its.host != self.name  # or hosts of one name would answer each other for ever
                continue
            then, is_live = min(self._clock.here(its.time), now), its.sign == LOGIN
            event = Event(then, is_live, its.user, its.service, its.host, is_own)
            if event.time > now - self._settings.window and is_newer(event, news.get(its.address)):
                news[its.address] = event
        self._knows.hear(news, now)
        if is_all and not self._knows.is_complete:
            self._knows.complete(now)

    def _is_namesake(self) -> bool:
        """Whether who has just written in this host's name is another one, and say so; else it was before the boot."""
        if self._knows.is_complete:
            cure = "give it another share_name, for each of the two undoes what the other denies"
            self._warn(f"another host calls itself {self.name}, too: {cure}")
        return self._knows.is_complete

    def _warn(self, text: str) -> None:
        """Log what is wrong in the stream, but not each time."""
        if time.monotonic() - self._said > SAY:
            self._said = time.monotonic()
            self._log.line(WARNING, f"warning: {self._settings.share_stream}: {text}")

    def _tell(self, engine: Engine) -> None:
        """Write what is new here, and whom it keeps out, for the others."""
        try:
            if self._denying.is_due():
                self._denying.share(engine, lambda: self._call(engine))
                self._fleet.know(self._denying.hosts)
        except EngineError as error:
            if not error.is_lost:  # an ACL, for instance: others are to hear of ends all the same
                self._tell_logins(engine)
            raise
        self._tell_logins(engine)

    def _tell_logins(self, engine: Engine) -> None:
        while self._knows.ready:
            batch = dict(list(self._knows.ready.items())[:MOST])
            self._add(engine, [self._entry(LOGIN if its.is_live else END, name, its) for name, its in batch.items()])
            self._knows.is_told(batch)

    def _add(self, engine: Engine, entries: list[Entry]) -> None:
        now = self._clock.now()
        since = self._clock.there(now) - self._settings.window - KEEP
        self._last_own = engine.add([entry.pack(its, now) for its in entries], since)

    def _call(self, engine: Engine) -> None:
        """Have the others ask the server whom hosts keep out."""
        now = Event(self._clock.now(), False, UNKNOWN, UNKNOWN, self.name)
        self._add(engine, [self._entry(DENIALS, "", now)])

    def _entry(self, sign: str, name: str, event: Event) -> Entry:
        return Entry(sign, name, event.time, event.user, event.service, event.host, self._knows.told.id)
