"""The state of a host's grants at one moment, as `popips-db status` shows it."""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import dataclass, field

import popips
from popips import denials, last_run, orphans, seen
from popips.db import grants, report, shape
from popips.db.grants import Listed
from popips.doctor import verdict
from popips.doctor.check import FAIL, OK, SKIP, WARN, Check
from popips.doctor.looks import examine
from popips.last_run import LastRun
from popips.maps import MapError
from popips.probe import fleet, log
from popips.probe.fleet import Fleet
from popips.probe.machine import Machine
from popips.settings import Settings
from popips.site import Site
from popips.stamps import RUN_FILE, StampError

BARS = 5  # of the histogram
TOP = 5  # users that are named
HOUR = 3600.0


@dataclass(frozen=True)
class Left:
    """A bar of the histogram: how many grants have so many seconds left, from `least` on and less than `most`."""

    least: float
    most: float
    grants: int


@dataclass(frozen=True)
class State:
    """What there is. last: when the last whole run began; unbuilt: what the map lacks of its text, and the cure."""

    settings: Settings
    now: float
    checks: list[Check]
    records: int | None
    states: Counter[str]
    denied: int
    orphans: int
    services: Counter[str]
    users: Counter[str]
    left: list[Left]
    last: float | None
    run: LastRun | None
    logged: log.Logged | None
    unbuilt: str
    fleet: Fleet | None = None  # None where this host keeps its logins to itself
    trouble: str = ""  # why the map cannot be read
    unheard: str = ""  # why nothing counts that other hosts tell
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def is_well(self) -> bool:
        """Whether logins open the relay."""
        return not self.trouble and self.count(FAIL) == 0

    def count(self, status: str) -> int:
        """Return the number of the doctor's checks of that status."""
        return sum(check.status == status for check in self.checks)

    @property
    def verdict(self) -> str:
        """Return in a line whether logins open the relay."""
        told = verdict.verdict(self.checks)
        if failed := self.count(FAIL):
            return f"{told}: {failed} fail, popips-db doctor"
        if self.trouble:
            return f"{verdict.CLOSED}: {self.trouble}"
        warnings = self.count(WARN)
        return told + (f": {warnings} warn, popips-db doctor" if warnings else "")

    @property
    def asked_by(self) -> str:
        """Return who asks the map, as far as that was found."""
        mta = self.settings.mta
        is_seen = any(check.id == "mta.asks" and check.status in (OK, WARN) for check in self.checks)
        return f"asked by {mta}" if is_seen else f"to be asked by {mta}, by popips.conf"

    def document(self) -> dict[str, object]:
        """Return it for JSON."""
        place, run = self.settings.map, self.run
        failed = [check.id for check in self.checks if check.status == FAIL]
        return {
            "host": os.uname().nodename,
            **shape.moment("time", self.now),
            "ok": self.is_well,
            "verdict": self.verdict,
            "checks": {**{status: self.count(status) for status in (FAIL, WARN, OK, SKIP)}, "failed": failed},
            "map": {
                "name": str(place),
                "kind": place.kind,
                "own": place.own,
                "mta": self.settings.mta,
                "records": self.records,
            },
            "window": self.settings.window,
            "grants": {
                "live": self.states[grants.GRANTED],
                **{state: self.states[state] for state in grants.OTHERS},
                "denied": self.denied,
                "orphans": self.orphans,
            },
            "services": [{"service": name, "grants": count} for name, count in self.services.most_common()],
            "users": [{"user": name, "grants": count} for name, count in self.users.most_common(TOP)],
            "left": [{"from": bar.least, "to": bar.most, "grants": bar.grants} for bar in self.left],
            "expirer": {
                **shape.moment("last", self.last),
                "by": run.by if run else None,
                "seconds": run.seconds if run else None,
            },
            "log": {"where": self.logged.where, "events": dict(self.logged.events())} if self.logged else None,
            "fleet": _of_fleet(self.fleet) if self.fleet else None,
            "edit": self.unbuilt or None,
            "versions": self.versions,
        }


def examined(settings: Settings, now: float) -> list[Check]:
    """Return what the doctor says of this host."""
    return examine(Machine(), settings.path, now)


def state(site: Site, checks: list[Check]) -> State:
    """Look at a host; checks: what the doctor said of it. Raise StampError."""
    settings, now = site.settings, site.now
    records_there, lost, unbuilt, trouble = None, 0, "", ""
    unheard: list[str] = []
    with report.records_or_none(site) as records:
        there = list(grants.listed(site, records, tell=unheard.extend))
        try:
            if not isinstance(records, dict):
                records_there = sum(1 for _ in records.items())
                lost = len(orphans.orphans(site, records))
                unbuilt = seen.unbuilt(site, records)
            else:
                trouble = f"{settings.map} cannot be read"
        except MapError as error:
            trouble = str(error)
    return State(
        settings=settings,
        now=now,
        checks=checks,
        records=records_there,
        states=Counter(one.state for one in there),
        denied=sum(one.until > now for one in _denied(site)),
        orphans=lost,
        services=Counter(one.login.service if one.login else "-" for one in there),
        users=Counter(one.login.user for one in there if one.login),
        left=histogram(there, now, settings.window),
        last=site.folder.time_of(RUN_FILE) or None,
        run=last_run.load(site.folder),
        logged=log.read(Machine(), now - HOUR, now),
        unbuilt=unbuilt,
        fleet=fleet.seen(settings) if settings.share else None,
        trouble=trouble,
        unheard="; ".join(unheard),
        versions={"popips": popips.__version__, "python": sys.version.partition(" ")[0], "libdb": _libdb()},
    )


def _of_fleet(told: Fleet) -> dict[str, object]:
    """Return how this host stands with the others, for JSON."""
    return {
        "name": told.name,
        "engine": told.engine,
        "connected": told.connected,
        **shape.moment("since", told.since),
        "error": told.error,
        **shape.moment("written", told.written),
        "hosts": [
            {"name": host.name, **shape.moment("heard", host.heard), "lag": host.lag, "live": host.live}
            for host in told.hosts
        ],
    }


def _libdb() -> str:
    """Return the version of Berkeley DB that popips runs with, "none" where it has none."""
    try:
        from popips.maps.libdb import version

        return version()
    except MapError:
        return "none"


def histogram(there: list[Listed], now: float, window: float) -> list[Left]:
    """Return how many of the grants have how much of their window left."""
    width = window / BARS
    counted: Counter[int] = Counter()
    for one in there:
        if one.state == grants.GRANTED:
            counted[max(0, min(BARS - 1, int((one.until - now) // width)))] += 1
    return [Left(width * index, width * (index + 1), counted[index]) for index in range(BARS)]


def _denied(site: Site) -> list[denials.Denial]:
    try:
        return denials.load(site.folder)
    except StampError:
        return []  # the doctor says so
