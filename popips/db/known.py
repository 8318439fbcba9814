"""What is known of an address here: its stamp, and what other hosts have told.

Where popips-mapd is asked, that counts by itself; where the map is a file, with the next run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from popips import elsewhere
from popips.db import report
from popips.elsewhere import Elsewhere, Told
from popips.login import Login
from popips.policy import Bars
from popips.site import Site
from popips.stamps import StampError

Tell = Callable[[list[str]], object]


@dataclass(frozen=True)
class Last:
    """The last login, in seconds since the epoch, and whose it was; ended: whether another host has ended it."""

    time: float
    login: Login | None
    ended: bool = False


class Known:
    """All that there is; others: what other hosts have told, None for nothing. is_asked: whether that counts by itself.

    Where it does not, a login counts here only as long as no run has taken it up, for then the stamp says what became
    of it.
    """

    def __init__(self, site: Site, others: Elsewhere | None) -> None:
        self._site, self._others = site, others
        self.is_asked = not site.form.place.row.has_file
        self._since = 0 if self.is_asked else elsewhere.taken_up(site.folder, int(site.now * 1e9))

    def names(self) -> set[str]:
        """Return the addresses of which others have told a login that is not due."""
        if not self._others:
            return set()
        due = self._site.now - self._site.settings.window
        return {name for name, told in self._others.all() if told.is_live and due < told.time <= self._site.now}

    def opening(self, bars: Bars) -> Iterator[str]:
        """Return at which of them the relay is open by that login, or is with the next run; bars: who is kept out."""
        for name in sorted(self.names()):
            told = self._told(name)
            if told and told.is_live and not bars(name):
                yield name

    def elsewhere(self, name: str) -> Last | None:
        """Return what others have told of an address, None if nothing, or if the stamp here says more."""
        told = self._told(name)
        if told is None or not self._others:
            return None
        return Last(told.time, self._others.login_of(name), not told.is_live)

    def _told(self, name: str) -> Told | None:
        told, stamp = self._others.told(name) if self._others else None, self._site.folder.get(name)
        here = stamp.time if stamp else None
        if told is None or told.time > self._site.now:
            return None
        if told.is_live:
            return told if told.came >= self._since and elsewhere.last(here, told, self._site.now) != here else None
        return told if here is not None and elsewhere.last(here, told, self._site.now) is None else None


@contextmanager
def known(site: Site, tell: Tell = report.complain) -> Iterator[Known]:
    """Return what is known, for a `with`; tell: hears why what others told cannot be believed, where it cannot."""
    others = None
    if site.settings.share:
        try:
            others = Elsewhere(site.settings.share_from)
            others.denied()  # where nobody knows whom they keep out, no login of theirs counts
        except StampError as error:
            tell([str(error)])
            if others:
                others.__exit__()
            others = None
    try:
        yield Known(site, others)
    finally:
        if others:
            others.__exit__()
