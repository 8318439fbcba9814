"""Brings addresses to their fate: the one place where stamps and records are changed, always under the writers' lock.

The order is everything. A stamp is made before its record is put. A grant ends in three steps: its stamp is unsettled,
so that the fast lane is closed for it; its time is looked at again, and if it is still to end, its record goes; then
the stamp. So a record of ours is never without its stamp, whoever is killed when.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from popips import fate, form, limits
from popips.maps import Busy, MapError, Records, Writer
from popips.policy import Bars
from popips.requests import Request
from popips.site import Site
from popips.stamps import StampError, StampStuck

Asked = Mapping[str, Request]  # the login from an address that is to be dealt with


class Changed(MapError):
    """The records that there are were made by other settings: the next run of popips-expire sees to that first."""


def settle(site: Site, writer: Writer, names: Iterable[str], asked: Asked, bars: Bars) -> dict[str, str]:
    """Do with each address what its fate is, in one change of the map, and return the fates.

    Raise MapError or StampError; then nothing has been done, or something that the next run finishes. What cannot be
    removed, a folder with something in it for instance, has the fate `leave`; a stamp that may not be changed is in
    nobody else's way, and the folder's `stuck` names it.
    """
    _check_form(site)
    fates: dict[str, str] = {}
    # a login asks no more than the map, if that is known to say all that the text says
    said = {} if asked and writer.agrees() else site.text.records()

    def decide(records: Records, name: str) -> str:
        return fate.fate(site.case(records, said, name, name in asked, bool(bars(name))))

    def step(records: Records) -> None:
        fates.clear()
        for name in names:
            what = decide(records, name)
            if what in fate.ENDING:
                site.folder.unsettle(name)
                what = decide(records, name)  # once more: a login may have renewed it until then
            try:
                _change(site, records, name, what, asked.get(name))
            except StampStuck:
                if not site.folder.get(name):
                    raise
                site.folder.stuck.add(name)
                what = fate.STUCK
            fates[name] = what

    writer.change(step, secure=nothing if site.form.place.own else site.folder.sync)
    for name, what in fates.items():
        if what in fate.OPENING:
            site.folder.settle(name)
        elif what in fate.ENDING:
            try:
                site.folder.remove(name)
            except StampError:
                site.folder.stuck.add(name)
                fates[name] = fate.LEAVE
    return fates


def check_map(site: Site) -> None:
    """Raise MapError if popips.conf cannot mean this map: a note that records are in it would outlive the mistake."""
    if site.form.place.own:
        site.form.place.refuse_text()
    else:
        with site.reader():
            pass


def nothing() -> None:
    """Secure nothing: no stamp is made, or a map of its own is made anew after a power failure."""


def _check_form(site: Site) -> None:
    kept = form.kept(site.folder)
    if kept is None:
        check_map(site)
        form.keep(site.folder, site.form)
    elif not kept.is_same(site.form):
        raise Changed(
            f"{site.settings.path}: map, key or value has changed; the next run of popips-expire moves all grants"
        )


def _change(site: Site, records: Records, name: str, what: str, request: Request | None) -> None:
    if what in fate.ENDING:
        site.form.take_out(records, site.text.records(), name)
    elif what == fate.PUT:
        if request:
            _stamp(site, name, request)
        site.folder.unsettle(name)
        records.put(*site.form.record(name))
    elif what == fate.RENEW and request:
        _stamp(site, name, request)


def _stamp(site: Site, name: str, request: Request) -> None:
    """Make the stamp, or set its time, which never goes back, and who logged in last."""
    there = site.folder.get(name)
    last = request.time
    if there and there.time <= site.now:
        last = max(last, there.time)
    login = site.folder.login(name) if there else None
    site.folder.make(name, login if login and limits.is_anothers(login, request.login) else request.login, last)


def rebuild(site: Site, writer: Writer, bars: Bars, until: float) -> None:
    """Make a map of its own anew, with the record of each live stamp. Raise MapError.

    until: when to leave that to popips-expire, by time.monotonic(); then Busy is raised.
    A stamp that is due is unsettled first, and looked at again: a login may renew it at any moment.
    """
    _check_form(site)
    unsettled = []

    def records() -> Iterable[tuple[bytes, bytes]]:
        for name, stamp in site.followed("records put", site.folder.scan()):
            if time.monotonic() > until:
                raise Busy(f"{site.form.place.path}: there is too much to be done; popips-expire does it")
            barred = bool(bars(name))
            if barred or site.is_due(stamp):
                site.folder.unsettle(name)
                there = site.folder.get(name)
                if barred or there is None or site.is_due(there):
                    continue
            if not stamp.settled:
                unsettled.append(name)
            yield site.form.record(name)

    writer.rebuild(records())
    for name in unsettled:
        site.folder.settle(name)
