"""What this host knows of all hosts' logins, by its own stamps and by what it was told; and what it has to tell."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import replace

from popips.settings import Settings
from popips.stamps import StampError
from share.here import Change, Here
from share.ledger import UNKNOWN, Event, covering, is_ahead, is_newer, when
from share.limits import Holders
from share.told import Told

ENDED = 0.1  # seconds behind a login by which its end covers it, for it is told with an error of milliseconds


class Knowledge:
    """The newest event of each address. Raise StampError or told.FolderError if a folder cannot be used."""

    def __init__(self, settings: Settings, host: str, now: float) -> None:
        """host: what the others call this one."""
        self._settings, self._host = settings, host
        self.told = Told(settings.share_from)
        self.here = Here(settings, host, now)
        self.ready: dict[str, Event] = {}  # what is to be told now
        self.is_complete = False  # whether all that the stream has to say was heard: before that, only news is told
        self._is_restart = True
        self._known: dict[str, Event] = dict(self.told.events)
        self._later: list[tuple[float, str]] = []  # a heap: when renewals are to be told
        self._planned: dict[str, float] = {}
        self._holders = Holders(settings.max_per_user, settings.window)
        for name, event in self._known.items():
            self._holders.note(name, event)
        for name, event in self.here.logins.items():
            if is_newer(event, self._known.get(name)):
                self._holders.note(name, event)

    def close(self) -> None:
        """Leave the folders as they are."""
        self.here.close()
        self.told.close()

    # ---- what happens here

    def notice(self, change: Change, now: float) -> None:
        """Take up what became of a stamp."""
        if change.now:
            known = self._known.get(change.name)
            if known and is_ahead(known, now) and change.now.time <= now:
                self._learn(change.name, replace(known, time=change.now.time - ENDED))
            if is_newer(change.now, self._known.get(change.name)):
                self._holders.note(change.name, change.now)
                self._limit(change.now.user, now)
            self._consider(change.name, now)
        elif change.before and change.before.time > now - self._settings.window:
            self._end(change.name, change.before, now)

    def _consider(self, name: str, now: float) -> None:
        """Have the last login at an address here told when it is time for it."""
        event = self.here.logins.get(name)
        if event is None or event.host != self._host:
            return
        at = when(event.time, self._known.get(name), now, self._settings.window)
        if at is None:
            return
        if at <= now:
            self.ready[name] = event
        elif self._planned.get(name) != at:
            self._planned[name] = at
            heapq.heappush(self._later, (at, name))

    def _end(self, name: str, login: Event, now: float) -> None:
        """Have the others told that a grant was ended before it was due, unless it was ended elsewhere."""
        known = self._known.get(name)
        if known and not known.is_live and known.time >= login.time:
            return
        event = Event(now, False, login.user, login.service, self._host)
        self._learn(name, event)
        self.ready[name] = event

    # ---- what the others tell

    def hear(self, news: Mapping[str, Event], now: float) -> None:
        """Take up what the stream says, this host's own events among it. Raise OSError for share_from."""
        for name, event in news.items():
            known = self._known.get(name)
            if (event.is_live and known and is_ahead(known, now)) or is_newer(event, known):
                self._learn(name, covering(event, self.here.logins.get(name), now))
                self._limit(event.user, now)

    def _learn(self, name: str, event: Event) -> None:
        """Keep the newest event of an address, for all who ask here."""
        self._known[name] = event
        here = self.here.logins.get(name)
        self._holders.note(name, here if here and is_newer(here, event) else event)
        there = self.told.events.get(name)
        hides = there is not None and there.time > event.time  # an end that covers a stamp of the future
        if not event.is_live or ((hides or is_newer(event, here)) and not event.is_own):  # else the stamp says so
            self.told.put(name, event)

    def _limit(self, user: str, now: float) -> None:
        for name, last in self._holders.surplus(user, now):
            known = self.here.logins.get(name) or self._known.get(name)
            service = known.service if known else UNKNOWN
            self.ready.pop(name, None)
            self._learn(name, Event(min(last + ENDED, now), False, user, service, self._host))

    def complete(self, now: float) -> None:
        """Note that all that the stream has is known: what it lacks is to be told."""
        self.is_complete = True
        if self._is_restart:
            self._is_restart = False
            for name, event in list(self._known.items()):
                if event.is_live and event.is_own and name not in self.here.logins:
                    self._end(name, event, now)  # ended while nobody looked
        for name in self.here.logins:
            self._consider(name, now)

    def forget(self) -> None:
        """Note that the stream has lost what it had of this host, so that it is told again."""
        self.is_complete = False
        for name, event in list(self._known.items()):
            if event.host == self._host:
                if not event.is_live:
                    self.ready.setdefault(name, event)
                elif name not in self.told.events:  # else it is of another host of that name
                    del self._known[name]

    def denied_before(self) -> bytes:
        """Return whom the others kept out, as this host knew before now; after a boot only the last run knew."""
        return self.here.denied_elsewhere() if self.told.denied is None else self.told.denied

    # ---- what is to be told

    def next(self) -> float | None:
        """Return when the next renewal is to be told, None for never."""
        return self._later[0][0] if self._later else None

    def ripen(self, now: float) -> None:
        """Have those renewals told that cannot wait any longer."""
        while self._later and self._later[0][0] <= now:
            _, name = heapq.heappop(self._later)
            self._planned.pop(name, None)
            self._consider(name, now)

    def is_told(self, batch: Mapping[str, Event]) -> None:
        """Note that this was told. Raise OSError for share_from."""
        for name, event in batch.items():
            if self.ready.get(name) is event:
                del self.ready[name]
            if is_newer(event, self._known.get(name)):
                self._learn(name, event)

    def sweep(self, now: float) -> None:
        """Forget what is due, or of the future. Raise OSError for share_from, StampError if it is another folder."""
        before = now - self._settings.window
        self.told.sweep(before, now, self.here.logins)
        self.here.forget(before)
        known = {name: event for name, event in self._known.items() if before < event.time and not is_ahead(event, now)}
        # a login here that is of the future is told anew; what others have told of it is of now
        moved = {name: self.told.events[name] for name in self._known.keys() - known.keys() & self.told.events.keys()}
        self._known = {**known, **moved}
        self.ready = {name: event for name, event in self.ready.items() if event.time > before}
        if not self.told.is_there():
            raise StampError(f"{self._settings.share_from}: another folder is in its place")
