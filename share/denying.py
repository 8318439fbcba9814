"""Whom hosts keep out: what this one hears of the others by the server, and keeps in mind; and what it tells them.

What a host says of it stays until it is over, or until that host says something else. A field that is not there says
nothing: the server was started without its data, perhaps while that host was down. Who denies nobody has an empty one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from popips.stamps import StampError
from share import denied
from share.clock import Clock
from share.denied import TooMany
from share.engine import Engine, TooLarge
from share.knowledge import Knowledge

AGAIN = 60.0  # seconds until the server is asked again: somebody may have changed what is there without a word
NEVER = float("-inf")


class Denying:
    """changed: whether this host's own are to be told. ask: whether the server is to be asked for those of the others.

    hosts: those that have a field on the server.
    """

    def __init__(self, knows: Knowledge, name: str, clock: Clock) -> None:
        self._knows, self._name, self._clock = knows, name, clock
        self.changed = self.ask = True
        self.hosts: list[str] = []
        self._known: dict[str, bytes] | None = None  # by host, with times by the server's clock; None: see the file
        self._unheard = self._untold = ""
        self._asked = self._answered = NEVER  # by time.monotonic()

    @property
    def trouble(self) -> str:
        """Why the denials of others, or those of this host, are not heeded; "" if they are."""
        return self._unheard or self._untold

    def is_due(self) -> bool:
        """Whether the server is to be asked, or told."""
        return self.changed or self.ask or time.monotonic() - self._asked > AGAIN

    def begin(self) -> None:
        """Have all of it asked and told again: a clock was put, or the server may be another."""
        self.changed = self.ask = True

    def share(self, engine: Engine, say: Callable[[], object]) -> None:
        """Hear and tell; say: tells the others that they are to ask again. Raise EngineError, or OSError."""
        self._asked, now = time.monotonic(), self._clock.now()
        if self._known is None:
            self._known = denied.by_hosts(self._knows.denied_before(), self._clock.there)
        fields: Mapping[bytes, bytes] = {}
        self._unheard = ""
        try:
            fields = engine.denied()
            told = denied.heeded(fields, self._known, self._name, self._clock.there(now))
            self._knows.told.deny(denied.merged(told, now, self._clock.here))
            self._known = told
        except (TooLarge, TooMany) as error:  # what was known before holds
            self._unheard = f"{engine.denials}: denials on other hosts count no more as they change: {error}"
        self.hosts = sorted(denied.of_hosts(fields).keys() - {self._name})
        self.ask = False
        self._tell(engine, fields, say)
        self.changed = False

    def _tell(self, engine: Engine, fields: Mapping[bytes, bytes], say: Callable[[], object]) -> None:
        self._untold = ""
        try:
            own = denied.pack(self._knows.here.denied(), self._clock.there)
            there = fields.get(self._name.encode())
            if not self.changed:  # else who noted them there may not have come to tell of it
                if own == there or time.monotonic() - self._answered < AGAIN:  # or two of one name would go on for ever
                    return
                self._answered = time.monotonic()
            if len(own) > len(there or b""):  # fewer are told, however many the others have
                denied.bound({**(self._known or {}), **denied.of_hosts(fields), self._name: own})
        except (StampError, TooMany) as error:  # what was told before holds
            self._untold = f"the other hosts do not hear what is denied here now: {error}"
        else:
            engine.deny(self._name, own)
            say()
