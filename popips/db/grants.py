"""The grants of a host as the admin is shown them: whose each is, when the last login was, and what becomes of it."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass

from popips import address, elsewhere, fate, requests
from popips.db import report, shape
from popips.db.known import Tell, known
from popips.login import Login
from popips.maps import Records
from popips.site import Site

GRANTED, DUE, BARRED, PENDING, STATIC = "granted", "due", "barred", "pending", "static"
OTHERS = (DUE, PENDING, STATIC, BARRED)
STATES = {  # those of the other fates are granted
    fate.EXPIRE: DUE,
    fate.BAR: BARRED,
    fate.REFUSE: BARRED,
    fate.PUT: PENDING,
    fate.YIELD: STATIC,
    fate.STATIC: STATIC,
}


@dataclass(frozen=True)
class Listed:
    """A grant, or a login that waits for one; last: the time of the last login, until: when its window is over.

    state: granted; or due: the next run takes it out; barred: that does, for it is denied by now, in never, or ended on
    another host; pending: that puts its record in, or looks at the login; static: a record of the admin's stands in its
    place.
    """

    address: str
    login: Login | None
    last: float
    until: float
    state: str

    def document(self, now: float) -> dict[str, object]:
        """Return it for JSON."""
        of_time = {**shape.moment("last", self.last), **shape.moment("until", self.until)}
        left = max(0.0, round(self.until - now, 3))
        return {"address": self.address, **shape.of_login(self.login), **of_time, "left": left, "state": self.state}


def listed(
    site: Site, records: Records, wanted: Container[str] | None = None, tell: Tell = report.complain
) -> Iterator[Listed]:
    """Return the grants of these addresses, or all, by address, with the logins that wait; tell: as known() has it."""
    waiting = {name: one for one in requests.there(site.folder, site.now) if (name := address.of_key(one.address))}
    bars = elsewhere.bars(site)
    with known(site, tell) as others:
        names = {name for name, _ in site.folder.scan()}.union(waiting, others.names())
        for name in sorted(name for name in names if wanted is None or name in wanted):
            stamp, request, told = site.folder.get(name), waiting.get(name), others.elsewhere(name)
            if told and others.is_asked and not request:
                is_due = told.time <= site.now - site.settings.window
                state = BARRED if told.ended or bars(name) else DUE if is_due else GRANTED
                yield Listed(name, told.login, told.time, told.time + site.settings.window, state)
                continue
            is_ended = told is not None and told.ended and not request
            waits = request or (told if told and not told.ended else None)
            if not (stamp or waits):
                continue  # it has gone meanwhile
            is_barred = is_ended or bool(bars(name))
            what = fate.fate(site.case(records, site.text.records(), name, bool(waits), is_barred))
            last = max(one.time for one in (stamp, waits) if one)
            login = waits.login if waits else site.folder.login(name)
            yield Listed(name, login, last, last + site.settings.window, STATES.get(what, GRANTED))
