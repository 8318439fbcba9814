"""The server's clock, by which hosts tell each other times: theirs may be minutes apart."""

from __future__ import annotations

import time
from collections.abc import Callable

TRIES = 3  # of which the quickest answer counts
STEP = 0.2  # seconds that this host's clock may have moved by itself before the server is asked again


class Clock:
    """The clock of this host, and how far it is ahead of the server's."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.now = now
        self.ahead = 0.0  # seconds
        self._since = self._drift()

    def _drift(self) -> float:
        return self.now() - time.monotonic()

    def measure(self, ask: Callable[[], float]) -> None:
        """Compare the clocks; ask: returns the server's time in seconds since the epoch."""
        found = []
        for _ in range(TRIES):
            before = self.now()
            there = ask()
            after = self.now()
            found.append((after - before, (before + after) / 2 - there))
        self.ahead = min(found)[1]
        self._since = self._drift()

    def has_moved(self) -> bool:
        """Whether this host's clock was put since."""
        return abs(self._drift() - self._since) > STEP

    def here(self, there: float) -> float:
        """Return this host's time for one of the server's."""
        return there + self.ahead

    def there(self, here: float) -> float:
        """Return the server's time for one of this host's."""
        return here - self.ahead
