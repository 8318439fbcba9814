"""The measurements of popips-expire on a map of its own with many live grants; it is the one that sendmail asks.

The programs to compare with work on the very same stamps, on the same disk, by turns with it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from bench.lab import Lab, Program, must_hold, standstill
from bench.rows import made_anew
from bench.site import HERE, Site
from bench.table import Row, Times, longest, share

MINUTES = 600  # the window when expiry is timed; the configuration's own is wider, so that one can wait for the other
WINDOW = f"{MINUTES}m"
OLD = 20 * 3600.0  # seconds: the age of stamps that are due by WINDOW, and not by the configuration's own
CRON = {"PATH": "/usr/bin:/bin"}
ROUNDS = 3
STANDSTILL = 10.0  # ms that the map's lock may be held for, beyond what the machine itself stands still
IDLE = 5.0  # seconds, at least, of RCPTs with nothing going on


def expiry(lab: Lab, site: Site) -> Iterator[Row]:
    """Time all that a run may have to do."""
    memory = Times()
    yield from none_due(lab, site, memory)
    yield from some_due(lab, site, memory)
    yield from made_anew(lab, site, memory)
    yield from mail(lab, site, memory)
    yield Row(f"memory of a run at {lab.stamps:,}", "", 40, memory, None, longest, "MiB", absolute=True)


def none_due(lab: Lab, site: Site, memory: Times) -> Iterator[Row]:
    """Time a run that has nothing to do."""
    expire, find = lab.expirer(site, "--window", WINDOW), lab.find(site)
    lab.race(expire, find, rounds=1)
    (ours, peaks), (finds, _) = lab.race(expire, find, rounds=11)
    memory += peaks
    yield Row(f"popips-expire, none due of {lab.stamps:,}", "find -mmin", 0.8, ours, finds)


def some_due(lab: Lab, site: Site, memory: Times) -> Iterator[Row]:
    """Time a run that ends a tenth of the grants, and how long it holds the map's lock at most."""
    theirs = lab.site("pipeline")
    theirs.build(range(lab.stamps))
    expire = lab.expirer(site, "--window", WINDOW)
    pipeline: Program = ["/bin/sh", HERE / "baseline.sh", lab.baseline, theirs.db, site.stamps, MINUTES], CRON
    ours, pipes, held, still = Times(), Times(), Times(), Times()
    for _ in range(ROUNDS):
        due = let_some_be_due(lab, site)
        with lab.meanwhile("lock", site.db) as told:
            [(took, peaks)] = lab.race(expire, rounds=1)
        must_hold(site, site.built - due, site.built - due)
        ours, memory[:] = ours + took, memory + peaks
        held.append(max(told["lock"]))
        still.append(STANDSTILL + 1000 * standstill())
        theirs.restore()
        stamp_due(lab, site)
        pipes += lab.race(pipeline, rounds=1)[0][0]
        must_hold(theirs, theirs.built - due, 0)
    yield Row(f"popips-expire, a tenth of {lab.stamps:,} due", "find | xargs rm, C deleter", 1.0, ours, pipes)
    yield Row("the map's lock held meanwhile, longest", "machine's own standstill", 1.0, held, still, longest)


def mail(lab: Lab, site: Site, memory: Times) -> Iterator[Row]:
    """Time what a client of sendmail's waits for while a run ends a tenth of the grants."""
    busy, idle = Times(), Times()
    expire = lab.expirer(site, "--window", WINDOW)
    lab.box.start_sendmail()
    for _ in range(2):
        let_some_be_due(lab, site)
        with lab.meanwhile("rcpt") as told:
            [(took, peaks)] = lab.race(expire, rounds=1)
        busy, memory[:] = busy + told["rcpt"], memory + peaks
        with lab.meanwhile("rcpt") as told:
            time.sleep(max(IDLE, took[0] / 1000))
        idle += told["rcpt"]
    yield Row("a RCPT through sendmail meanwhile, p99", "nothing going on", 2, busy, idle, share(0.99))


def let_some_be_due(lab: Lab, site: Site) -> int:
    """Have all grants again, a tenth of them old enough to be due by WINDOW, and return their number."""
    due = stamp_due(lab, site)
    site.restore()
    lab.settle(site)
    os.sync()
    return due


def stamp_due(lab: Lab, site: Site) -> int:
    """Make the stamps that are due, and return their number."""
    due = range(0, lab.stamps, 10)
    site.stamp(due, OLD)
    os.sync()
    return len(due)
