"""Logins on other hosts, for hosts whose map is a file: what popips-share has told becomes grants here, within a run.

Each is taken up once, as soon as it is told: or a grant that the admin has ended here would come back with the next
run, and one that is refused would be logged by each. What was ended elsewhere is compared with the stamps by each run.
Where there is no map, popips-mapd looks at what is told by itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from popips import denials
from popips.elsewhere import Elsewhere, Heard
from popips.login import Login
from popips.run import ONE_RUN
from popips.site import Site
from popips.stamps import DENIED_ELSEWHERE, HEARD

# CLOCK_REALTIME_COARSE of linux/time.h: no later ctime is older than it; one of a moment before may be newer, and then
# a login is taken up twice, which is better than not at all
COARSE = 5


class Fleet:
    """What is told just now; heard: as a run takes it up. Raise StampError if the folder cannot be used."""

    def __init__(self, site: Site) -> None:
        self._site, self._now = site, time.clock_gettime_ns(COARSE)
        since = self._since()
        logins: list[tuple[float, str, float]] = []
        ended: dict[str, float] = {}
        with Elsewhere(site.settings.share_from) as there:
            denied = there.denied()  # where nobody knows who is, nothing is taken up
            for name, told in there.all():
                if told.time > site.now + ONE_RUN or told.time <= site.now - site.settings.window:
                    continue
                stamp = site.folder.get(name)
                if not told.is_live:
                    if stamp and stamp.time <= told.time:
                        ended[name] = told.time
                elif told.came >= since and site.form.place.row.has_file and not (stamp and stamp.time >= told.time):
                    logins.append((stamp.time if stamp else site.now, name, told.time))
        is_news = denials.pack(denied) != site.folder.read(DENIED_ELSEWHERE)
        # first those whose grants are due soonest
        self.heard = Heard(_read(site, sorted(logins)), ended, denied if is_news else None)

    def _since(self) -> int:
        """Return up to when a run has taken up what is told, 0 if none has; of a clock that was put back: none."""
        text = self._site.folder.read(HEARD, 32)
        return since if text.isdigit() and (since := int(text)) <= self._now else 0

    def note_denied(self) -> None:
        """Have the logins and runs from now on know whom other hosts keep out."""
        if self.heard.denied is not None:
            self._site.folder.replace(DENIED_ELSEWHERE, denials.pack(self.heard.denied))

    def note_heard(self) -> None:
        """Have the next run take up what was told since; nothing was, where there is no map to put it into."""
        if self._site.form.place.row.has_file:
            self._site.folder.replace(HEARD, b"%d" % self._now)


def _read(site: Site, found: list[tuple[float, str, float]]) -> Iterator[tuple[str, Login, float]]:
    with Elsewhere(site.settings.share_from) as there:
        for _, name, last in found:
            login = there.login_of(name)
            if login:
                yield name, login, min(last, site.now)


def forget(site: Site) -> None:
    """Have nobody kept out by other hosts, where popips.conf no longer names them."""
    for file in (DENIED_ELSEWHERE, HEARD):
        site.folder.remove(file)
