"""The stamps of this host, watched: who is logged in here, and what has changed."""

from __future__ import annotations

import os
from dataclasses import dataclass

from popips import address, denials
from popips.denials import Denial
from popips.login import ELSEWHERE
from popips.settings import Settings
from popips.stamps import DENIED, DENIED_ELSEWHERE, StampError
from popips.stamps.folder import Folder
from share.ledger import UNKNOWN, Event
from share.watch import Lost, Watch


@dataclass(frozen=True)
class Change:
    """What became of an address: its last login as it was known here before, and as it is now; None for none."""

    name: str
    before: Event | None
    now: Event | None


class Here:
    """The stamp folder, open and watched. Raise StampError if it cannot be used, or has lost its name."""

    def __init__(self, settings: Settings, host: str, now: float) -> None:
        """host: what the others call this one."""
        self._host, self._window = host, settings.window
        self._folder = Folder(settings.stamps)
        try:
            self._watch = Watch(settings.stamps)
        except OSError as error:
            self._folder.__exit__()
            raise StampError(f"{settings.stamps}: cannot be watched: {error.strerror}") from error
        self.fd = self._watch.fd
        self.logins: dict[str, Event] = {}
        self.look_at_all(now)

    def close(self) -> None:
        """Watch it no more."""
        self._watch.close()
        self._folder.__exit__()

    def changes(self, now: float) -> tuple[list[Change], bool]:
        """Return what has changed since this was asked last, and whether the denials have."""
        try:
            names = self._watch.names()
        except Lost:
            return self.look_at_all(now), True
        found = [self._look(name, now) for name in sorted(names) if address.is_canonical(name)]
        return found, DENIED in names

    def look_at_all(self, now: float) -> list[Change]:
        """Look at all stamps; return what has changed."""
        if not self._watch_holds():
            raise StampError(f"{self._folder.path}: another folder is in its place")
        there = {name for name, stamp in self._folder.scan() if stamp.time > now - self._window}
        return [self._look(name, now) for name in sorted(there | set(self.logins))]

    def _watch_holds(self) -> bool:
        try:
            with Folder(self._folder.path) as again:
                return _same(again, self._folder)
        except StampError:
            return False

    def _look(self, name: str, now: float) -> Change:
        before = self.logins.pop(name, None)
        stamp = self._folder.get(name)
        if stamp is None or stamp.time <= now - self._window:
            return Change(name, before if stamp is None else None, None)
        login = self._folder.login(name)
        host = login.writer if login and login.writer.startswith(ELSEWHERE) else self._host
        user, service = (login.user, login.service) if login else (UNKNOWN, UNKNOWN)
        event = self.logins[name] = Event(stamp.time, True, user, service, host)
        return Change(name, before, event)

    def forget(self, before: float) -> None:
        """Forget the logins of times before that."""
        self.logins = {name: event for name, event in self.logins.items() if event.time > before}

    def denied(self) -> list[Denial]:
        """Return whom the admin of this host keeps out. Raise StampError if nobody can tell."""
        return denials.load(self._folder)

    def denied_elsewhere(self) -> bytes:
        """Return whom other hosts keep out, as the last run knew. Raise StampError."""
        return denials.pack(denials.load(self._folder, False, DENIED_ELSEWHERE))


def _same(one: Folder, other: Folder) -> bool:
    return os.path.samestat(os.fstat(one.fd), os.fstat(other.fd))
