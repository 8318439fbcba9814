"""Stopped at each call: while a program stands still there, a login comes, and a reader with the MTA's lock looks.

A kill shows what is left behind; this shows what others see meanwhile. What the others do is done in this process; then
the program goes on.
"""

from __future__ import annotations

import fcntl
import time

from popips import grant
from popips.maps.database import Copy
from popips.site import site
from tests.torture import Row
from tests.torture.ground import Ground, Where, restore, saved
from tests.torture.programs import LOGIN
from tests.torture.scenarios import Scenario, named, prepared
from tests.torture.standing import standing
from tests.torture.trace import Call, calls, spread

DUE = "172.16.0.0"  # the address whose grant is over in the scenario "expire, 1 due"
CHOSEN = named("expire, 1 due", "hook, a bucket splits", "expire, reconcile", "db del, a page empties")
SHORT = 0.05  # seconds that the login in between waits for locks


def run(where: Where, scenario: Scenario, size: int, most: int = 300) -> Row:
    """Stop the scenario's program at each call, or that many of them, and let others act there."""
    row = Row(f"stopped: {scenario.name}")
    with where.ground() as ground:
        static = prepared(ground, scenario, size)
        before = saved(ground)
        for call in spread(calls(ground, scenario.program), most):
            restore(ground, before)
            fault = _interrupted(ground, scenario, static, call)
            row.add(f"{scenario.name}: stopped at {call[0]} {call[1]}: {fault}" if fault else "")
    return row


def _interrupted(ground: Ground, scenario: Scenario, static: dict[str, str], call: Call) -> str:
    with standing(ground, scenario.program, call):
        fault, is_open = _seen_by_a_reader(ground, static, scenario.touched)
        verdict = _login(ground) if DUE in ground.names() else ""
    faults = [fault]
    kept = DUE in ground.records()
    if verdict in (grant.GRANTED, grant.RENEWED) and is_open and not kept:  # and nobody had the lock on the map
        faults.append(f"a login ({verdict}) did not keep its record")
    if verdict:  # one that was deferred is promised for the next run
        ground.expire()
        if DUE not in ground.records().keys() & ground.names():
            faults.append(f"a login ({verdict}) was lost")
    return "; ".join(filter(None, faults))


def _login(ground: Ground) -> str:
    with site(ground.settings, time.time(), SHORT) as host:
        outcome = grant.grant(host, DUE, LOGIN, lambda login, outcome: None)
    return outcome.verdict if outcome else "by another"


def _seen_by_a_reader(ground: Ground, static: dict[str, str], touched: frozenset[str]) -> tuple[str, bool]:
    """Return what is wrong for a reader that takes flock(LOCK_SH) as sendmail does, and whether it sees DUE's record.

    One that must wait for the lock sees nothing.
    """
    with ground.db.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return "", False
        with Copy(ground.place, time.monotonic() + 1) as records:
            lost = [k for k, v in static.items() if k not in touched and records.get(k.encode()) != v.encode()]
            return (f"a reader does not see {lost[:3]}" if lost else ""), records.get(DUE.encode()) is not None
