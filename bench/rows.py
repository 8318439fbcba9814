"""The measurements, a function for what shares a site; each yields rows of the table."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from popips.grants import GRANTED, RENEWED

from bench.lab import BLOCK, PAM, Lab, Program, must_hold
from bench.site import HERE, LINE, LIVE, READER, Site
from bench.table import UNJUDGED, Row, Times, longest, share

FRESH = 1 << 23  # from this number on, no address has a grant
MINUTES = 600  # the window when expiry is timed; the configuration's own is WIDE, so that one can wait for the other
WINDOW, WIDE = f"{MINUTES}m", "30h"
OLD = 20 * 3600.0  # seconds: the age of stamps that are due by WINDOW, and not by WIDE
CRON = {"PATH": "/usr/bin:/bin"}
IDLE = 5.0  # seconds, at least, of RCPTs with nothing going on


def processes(lab: Lab) -> Iterator[Row]:
    """Time a login as a whole process."""
    site, perls_site, n = lab.site("process"), lab.theirs("perl"), lab.rounds
    granted = lab.hook(site, READER)
    lab.settle(site, granted)
    (ours, _), (theirs, _) = lab.race(granted, (["/bin/sh", "-c", ":"], PAM), rounds=n)
    yield Row("granted address, pam_exec", "/bin/sh -c :", 1.6, ours, theirs)
    postlogin: Program = [lab.box.path("popips-postlogin"), "-c", site.conf, lab.server], {"IP": READER, "USER": "bob"}
    lab.settle(site, postlogin)
    (ours, _), (theirs, _) = lab.race(postlogin, (["/bin/sh", "-c", f"exec {lab.server}"], {}), rounds=n)
    yield Row("granted address, post-login", "/bin/sh -c 'exec SERVER'", 1.6, ours, theirs)
    python: Program = ["/usr/bin/python3", "-I", "-S", "-c", "pass"], PAM
    perl: Program = ["/usr/bin/perl", HERE / "baseline.pl", perls_site.db, perls_site.stamps], {"PAM_RHOST": "ADDRESS"}
    (ours, _), (theirs, _), (perls, _) = lab.race(lab.hook(site, "ADDRESS"), python, perl, rounds=n, first=FRESH)
    must_hold(site, site.built + 1 + n, 1 + n)
    must_hold(perls_site, perls_site.built + n, n)
    yield Row("new address, pam_exec", "python3 -I -S -c pass", 1.7, ours, theirs)
    yield Row("new address, pam_exec", "Perl hook", 0.9, ours, perls)


def pop3(lab: Lab) -> Iterator[Row]:
    """Time real logins, with the hook, with /bin/true in its place, and with neither."""
    site = lab.site("pop3")
    lab.box.start_dovecot()
    bare = "auth requisite pam_unix.so nodelay\naccount requisite pam_unix.so\n"
    by_exec = f"{bare}account optional pam_exec.so quiet "
    stacks = f"{by_exec}{lab.box.path('popips-hook')} -c {site.conf}\n", f"{by_exec}/bin/true\n", bare
    lab.logins(3, *stacks)
    lab.settle(site)
    ours, theirs, none = lab.logins(lab.rounds, *stacks)
    must_hold(site, site.built + 1, 1)
    added, their_added = ([a - b for a, b in zip(times, none)] for times in (ours, theirs))
    yield Row("added to a POP3 login, granted address", "pam_exec.so /bin/true", 1.15, added, their_added)
    yield Row("(the whole of that login)", "pam_exec.so /bin/true", 1.15, ours, theirs)


def in_process(lab: Lab) -> Iterator[Row]:
    """Time grant(), block by block with the C program."""
    site, theirs = lab.site("grant"), lab.theirs("put")
    lab.grant(site, range(BLOCK), GRANTED)
    lab.settle(site)
    lab.put(theirs, range(BLOCK))
    granted, puts = Times(), Times()
    for _ in blocks(lab):
        granted += lab.grant(site, range(BLOCK), RENEWED)
        puts += lab.put(theirs, range(BLOCK))
    yield Row("grant(), granted address", "put by the C program", 0.2, granted, puts)
    own = lab.site("own", own_map="yes")
    lab.settle(own)
    made, puts = Times(), Times()
    for numbers in blocks(lab):
        made += lab.grant(own, numbers, GRANTED)
        puts += lab.put(theirs, numbers)
    yield Row("grant(), new address, own map", "put by the C program", 1.3, made, puts)


def blocks(lab: Lab) -> Iterator[range]:
    """Give the addresses for each turn of calls in process: fresh ones."""
    return (range(at, at + BLOCK) for at in range(FRESH, FRESH + lab.rounds, BLOCK))


def big_map(lab: Lab, big: Site) -> Iterator[Row]:
    """Time a new login on a map of its own that is big, by turns with a small one."""
    small = lab.site("small", own_map="yes", window=WIDE)
    grow(small, range(0), 1000)
    lab.settle(big)
    lab.settle(small)
    bigs, smalls = Times(), Times()
    for numbers in blocks(lab):
        bigs += lab.grant(big, numbers, GRANTED)
        smalls += lab.grant(small, numbers, GRANTED)
    big.unstamp(range(FRESH, FRESH + lab.rounds))
    yield Row(f"grant(), new address, own map of {lab.stamps:,}", "the same with 1,000", 1.3, bigs, smalls)


def expiry(lab: Lab, site: Site) -> Iterator[Row]:
    """Time the expirer on a map of its own with many live grants; it is the one that sendmail asks."""
    theirs, size = lab.theirs("pipeline"), f"{lab.stamps:,}"
    grow(theirs, range(0), lab.stamps)
    expire = lab.expirer(site, "--window", WINDOW)
    find: Program = ["/usr/bin/find", theirs.stamps, "-type", "f", "-mmin", f"+{MINUTES}"], {}
    lab.race(expire, find, rounds=1)
    (ours, memory), (finds, _) = lab.race(expire, find, rounds=11)
    yield Row(f"popips-expire, {size} live, none due", "find -mmin", 1.0, ours, finds)
    pipeline: Program = ["/bin/sh", HERE / "baseline.sh", lab.baseline, theirs.db, theirs.stamps, MINUTES], CRON
    ours, pipes, filled = Times(), Times(), Times()
    held, pipes_held = Times(), Times()
    for _ in range(3):
        due = let_some_be_due(lab, site)
        lab.settle(site)
        ours += timed(lab, site, expire, held, memory)
        must_hold(site, site.built - due, site.built - due)
        for line, times in (b"", pipes), (LINE, filled):
            theirs.line = line
            let_some_be_due(lab, theirs)
            times.extend(timed(lab, theirs, pipeline, pipes_held, []))
            must_hold(theirs, theirs.built - due, lab.stamps - due)
    yield Row(f"popips-expire, a tenth of {size} due", "find | xargs rm, C deleter", 0.6, ours, pipes)
    yield Row("(beside stamps that hold a line, as ours do)", "the same", UNJUDGED, ours, filled)
    yield Row("the map's lock held meanwhile, longest", "(the C deleter)", 10, held, pipes_held, longest, absolute=True)
    busy, idle = Times(), Times()
    lab.box.start_sendmail()
    for _ in range(2):
        let_some_be_due(lab, site)
        lab.settle(site)
        with lab.meanwhile("rcpt") as waits:
            [(took, peaks)] = lab.race(expire, rounds=1)
        busy += waits
        memory += peaks
        with lab.meanwhile("rcpt") as waits:
            time.sleep(max(IDLE, took[0] / 1000))
        idle += waits
    yield Row("a RCPT through sendmail meanwhile, p99", "nothing going on", 2, busy, idle, share(0.99))
    yield Row(f"memory of popips-expire at {size}", "", 64, memory, None, longest, "MiB", absolute=True)


def timed(lab: Lab, site: Site, program: Program, waits: Times, memory: Times) -> Times:
    """Run a program once; add the longest wait for the map's lock to `waits`, and the MiB at most to `memory`."""
    with lab.meanwhile("lock", site.db) as locked:
        [(took, peaks)] = lab.race(program, rounds=1)
    waits.append(max(locked))
    memory += peaks
    return took


def grow(site: Site, have: range, want: int) -> None:
    """Give a site live grants, the numbers below want; some it has already."""
    site.build(range(want))
    site.stamp(range(len(have), want), LIVE)
    os.sync()  # nothing of this is written back while something is timed


def let_some_be_due(lab: Lab, site: Site) -> int:
    """Give back a tenth of the grants, old enough to be due by WINDOW; give their number."""
    due = range(0, lab.stamps, 10)
    site.restore()
    site.stamp(due, OLD)
    os.sync()
    return len(due)
