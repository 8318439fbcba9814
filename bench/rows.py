"""The measurements of logins, a function for what shares a site; each yields rows of the table."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator

from bench.lab import BLOCK, PAM, Lab, Program, grow, must_hold
from bench.site import HERE, READER, Site
from bench.table import Row, Times, longest
from popips.grant import GRANTED, RENEWED
from tests.logins import DOVECOT

FRESH = 1 << 23  # from this number on, no address has a grant
WIDE = "30h"  # the window in popips.conf, where runs with a shorter one are timed
CROWD = 200  # logins at once
CROWDS = 5  # so often


def processes(lab: Lab) -> Iterator[Row]:
    """Time a login as a whole process."""
    site, perls_site, n = lab.site("process"), lab.site("perl"), lab.rounds
    granted = lab.hook(site, READER)
    lab.settle(site, granted)
    (ours, _), (theirs, _) = lab.race(granted, (["/bin/sh", "-c", ":"], PAM), rounds=n)
    yield Row("granted address, pam_exec", "/bin/sh -c :", 1.5, ours, theirs)
    postlogin: Program = [lab.box.path("popips-postlogin"), "-c", site.conf, lab.server], DOVECOT | {"IP": READER}
    lab.settle(site, postlogin)
    (ours, _), (theirs, _) = lab.race(postlogin, (["/bin/sh", "-c", f"exec {lab.server}"], DOVECOT), rounds=n)
    yield Row("granted address, post-login", "/bin/sh -c 'exec SERVER'", 1.5, ours, theirs)
    perl: Program = ["/usr/bin/perl", HERE / "baseline.pl", perls_site.db, perls_site.stamps], {"PAM_RHOST": "ADDRESS"}
    new = lab.hook(site, "ADDRESS")
    (ours, _), (theirs, _), (perls, _) = lab.race(new, lab.python, perl, rounds=n, first=FRESH)
    must_hold(site, site.built + 1 + n, 1 + n)
    must_hold(perls_site, perls_site.built + n, n)
    yield Row("new address, pam_exec", "python3 -I -S -c pass", 1.6, ours, theirs)
    yield Row("new address, pam_exec", "Perl hook", 0.8, ours, perls)


def crowd(lab: Lab) -> Iterator[Row]:
    """Time the slowest of many new addresses at once, with a map that is free and one that is locked."""
    site, ours, locked, theirs = lab.site("crowd"), Times(), Times(), Times()
    lab.settle(site)
    new = lab.hook(site, "ADDRESS")
    for turn in range(0, 2 * CROWDS, 2):
        ours.append(lab.burst(new, CROWD, FRESH + turn * CROWD))
        with site.db.open("r+b") as db:
            fcntl.flock(db, fcntl.LOCK_EX)
            locked.append(lab.burst(new, CROWD, FRESH + (turn + 1) * CROWD))
        lab.settle(site)
        must_hold(site, site.built + (turn + 2) * CROWD, (turn + 2) * CROWD)
        theirs.append(lab.burst(lab.python, CROWD))
    yield Row(f"{CROWD} new addresses at once, slowest", "as many bare Pythons", 0.8, ours, theirs)
    above = [a - b for a, b in zip(locked, theirs)]
    yield Row("the same with the map locked, above the Pythons", "", 2500, above, absolute=True)


def flood(lab: Lab) -> Iterator[Row]:
    """Time new addresses beside a user who logs in from 2,000 addresses of a network a minute."""
    site, n = lab.site("flood", max_per_network="100"), lab.rounds
    lab.settle(site)
    new = lab.hook(site, "ADDRESS")
    [(alone, _)] = lab.race(new, rounds=n, first=FRESH)
    with lab.meanwhile("flood", lab.box.path("popips-hook"), site.conf):
        [(beside, _)] = lab.race(new, rounds=n, first=FRESH + n)
    yield Row("new address beside a flood from a /64", "without it", 2.0, beside, alone)


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


def doctor(lab: Lab) -> Iterator[Row]:
    """Time the doctor on a host with a running Dovecot, whatever he finds there."""
    site = lab.site("doctor")
    lab.settle(site)
    look = f"{lab.box.path('popips-db')} -c {site.conf} doctor; :"
    [(ours, _)] = lab.race((["/bin/sh", "-c", look], {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}), rounds=11)
    yield Row("popips-db doctor", "", 500, ours, absolute=True)


def in_process(lab: Lab) -> Iterator[Row]:
    """Time grant(), block by block with the C program."""
    site, theirs = lab.site("grant"), lab.site("put")
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
    yield Row("grant(), new address, own map", "put by the C program", 1.0, made, puts)


def blocks(lab: Lab) -> Iterator[range]:
    """Return the addresses for each turn of calls in process: fresh ones."""
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
    yield Row(f"grant(), new address, own map of {lab.stamps:,}", "the same with 1,000", 1.1, bigs, smalls)


def made_anew(lab: Lab, site: Site, memory: Times) -> Iterator[Row]:
    """Time the run that makes a map of its own anew, while users log in from new addresses."""
    ours, finds, waits = Times(), Times(), Times()
    hook = lab.box.path("popips-hook")
    for turn in range(3):
        site.restore()
        first = FRESH + turn * 100_000
        with lab.meanwhile("logins", hook, site.conf, site.stamps, first) as told:
            [(took, peaks)] = lab.race(lab.expirer(site), rounds=1)
        ours, waits, memory[:] = ours + took, waits + told["granted"], memory + peaks
        site.unstamp(range(first, first + 100_000))
        finds += lab.race(lab.find(site), rounds=1)[0][0]
    lab.settle(site)
    yield Row(f"own map of {lab.stamps:,} made anew", "find -mmin", 3.0, ours, finds)
    yield Row("a login meanwhile, until it is granted", "", 2000, waits or [0.0], None, longest, absolute=True)
