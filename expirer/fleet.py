"""Logins on other hosts, for hosts whose map is a file: what popips-share has told becomes grants here, within a run.

Each is taken up once, as soon as it is told: or a grant that the admin has ended here would come back with the next
run, and one that is refused would be logged by each. What was ended elsewhere is compared with the stamps by each run.
Where there is no map, popips-mapd looks at what is told by itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from popips import denials, elsewhere
from popips.elsewhere import Elsewhere, Heard, Others, Told
from popips.login import Login
from popips.run import ONE_RUN
from popips.site import Site
from popips.stamps import DENIED_ELSEWHERE, HEARD, StampError

# CLOCK_REALTIME_COARSE of linux/time.h: no later ctime is older than it; one of a moment before may be newer, and then
# a login is taken up twice, which is better than not at all
COARSE = 5


class Fleet(Others):
    """What is told just now. Raise StampError if the folder cannot be used, or nobody knows whom others keep out."""

    def __init__(self, site: Site) -> None:
        self._site, self._now = site, 0
        with Elsewhere(site.settings.share_from) as there:
            denied = there.denied()  # where nobody knows who is, nothing is taken up
        is_news = denials.pack(denied) != site.folder.read(DENIED_ELSEWHERE, denials.LARGEST + 1)
        self.denied = denied if is_news else None

    def renewed(self, names: Iterable[str]) -> set[str]:
        """Return at which of these addresses somebody has logged in elsewhere within the window."""
        try:
            with Elsewhere(self._site.settings.share_from) as there:
                return {name for name in names if (told := there.told(name)) and told.is_live and self._counts(told)}
        except StampError:
            return set()

    def _counts(self, told: Told) -> bool:
        now = self._site.now
        return now - self._site.settings.window < told.time <= now + ONE_RUN

    def heard(self) -> Heard:
        """Return all that is to be taken up, first for those whose grants are due soonest. Raise StampError."""
        site, self._now = self._site, time.clock_gettime_ns(COARSE)
        since, has_file = elsewhere.taken_up(site.folder, self._now), site.form.place.row.has_file
        logins: list[tuple[float, str]] = []
        ended: dict[str, float] = {}
        with Elsewhere(site.settings.share_from) as there:
            for name, told in there.all():
                stamp, counts = site.folder.get(name), self._counts(told)
                if not told.is_live:
                    is_ahead = stamp and stamp.time > site.now + ONE_RUN  # of before the clock was put back, as the end
                    if stamp and stamp.time <= told.time and (counts or is_ahead):
                        ended[name] = told.time
                elif counts and told.came >= since and has_file and not (stamp and stamp.time >= told.time):
                    logins.append((stamp.time if stamp else site.now, name))
        return Heard(self._read(sorted(logins)), ended)

    def _read(self, found: list[tuple[float, str]]) -> Iterator[tuple[str, Login, float]]:
        with Elsewhere(self._site.settings.share_from) as there:
            for _, name in found:
                told, login = there.told(name), there.login_of(name)
                if told and told.is_live and login:  # else it has been ended since it was heard of
                    yield name, login, min(told.time, self._site.now)

    def note_denied(self) -> None:
        """Have the logins and runs from now on know whom other hosts keep out."""
        if self.denied is not None:
            # durably, for after a boot nobody but this file knows it until popips-share has asked the server
            self._site.folder.replace(DENIED_ELSEWHERE, denials.pack(self.denied), durably=True)

    def note_heard(self) -> None:
        """Have the next run take up what was told since heard(); nothing was, where there is no map to put it into."""
        if self._site.form.place.row.has_file:
            self._site.folder.replace(HEARD, b"%d" % self._now)


def forget(site: Site) -> None:
    """Have nobody kept out by other hosts, where popips.conf no longer names them."""
    for file in (DENIED_ELSEWHERE, HEARD):
        site.folder.remove(file)
