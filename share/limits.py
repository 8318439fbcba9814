"""max_per_user on all hosts together: each keeps the newest logins of a user, by (time, address), and ends the others.

So all of them agree without a word, as soon as they know of the same logins.
"""

from __future__ import annotations

from popips.login import BY_HAND
from share.ledger import Event


class Holders:
    """Who holds which grants, as far as a limit asks for it."""

    def __init__(self, most: int, window: float) -> None:
        """most: grants that a user may have, 0 for any number; window: seconds that one lasts."""
        self._most, self._window = most, window
        self._of: dict[str, dict[str, float]] = {}
        self._whose: dict[str, str] = {}

    def note(self, name: str, event: Event) -> None:
        """Note what is known of an address now."""
        if not self._most:
            return
        if not event.is_live or event.service == BY_HAND:
            self._forget(name)
            return
        if self._whose.get(name) != event.user:
            self._forget(name)
        self._whose[name] = event.user
        self._of.setdefault(event.user, {})[name] = event.time

    def _forget(self, name: str) -> None:
        user = self._whose.pop(name, "")
        his = self._of.get(user, {})
        his.pop(name, None)
        if not his:
            self._of.pop(user, None)

    def surplus(self, user: str, now: float) -> list[tuple[str, float]]:
        """Return the oldest addresses that a user has too many, with the times of their last logins."""
        his = self._of.get(user, {})
        if not self._most or len(his) <= self._most:
            return []
        for name in [name for name, last in his.items() if last <= now - self._window]:
            self._forget(name)
        return [(name, last) for last, name in sorted((last, name) for name, last in his.items())[: -self._most]]
