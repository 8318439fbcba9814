"""Where it is measured: the private mail host of the tests, with sites in it, and how programs are timed there."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.site import LIVE, LOGIN, Site, address
from bench.table import Times
from popips import grant
from popips.configuration import load
from popips.site import site as host_of
from tests.box import ROOT, Box

BLOCK = 10  # calls in process before it is the other side's turn
PAM = {"PAM_RUSER": "", "PAM_SERVICE": "pop3", "PAM_TTY": "dovecot", "PAM_TYPE": "account", "PAM_USER": "alice"}
STARTED = 1.0  # seconds until a client is at work
PYTHONPATH = {"PYTHONPATH": str(ROOT)}
Program = tuple[Sequence[object], dict[str, str]]  # argv and environment


class Untimed(Exception):
    """Something did not do its work, so that its time is worth nothing."""


@dataclass
class Lab:
    """The mail host, the programs to compare with, and how much is to be done."""

    box: Box
    baseline: Path  # baseline.c
    server: Path  # for popips-postlogin to become
    rounds: int
    stamps: int

    def site(self, name: str, **settings: str) -> Site:
        """Make a site, for popips or for the programs to compare with."""
        return Site(self.box.scratch / name, **settings)

    # ---- whole processes

    def hook(self, site: Site, client: str) -> Program:
        """Return popips-hook as pam_exec starts it."""
        return [self.box.path("popips-hook"), "-c", site.conf], {**PAM, "PAM_RHOST": client}

    def expirer(self, site: Site, *options: str) -> Program:
        """Return popips-expire as cron starts it."""
        return [self.box.path("popips-expire"), "-c", site.conf, *options], {"PATH": "/usr/bin:/bin"}

    @property
    def python(self) -> Program:
        """Python, and nothing else."""
        return ["/usr/bin/python3", "-I", "-S", "-c", "pass"], PAM

    def find(self, site: Site) -> Program:
        """Return find(1) on the stamps, none of which is that old."""
        return ["/usr/bin/find", site.stamps, "-type", "f", "-mmin", "+6000"], {}

    def settle(self, site: Site, *logins: Program) -> None:
        """Make these logins and have the expirer run, untimed, as a minute ago on a host where cron is well."""
        self.race(*logins, self.expirer(site), rounds=1)

    def race(self, *sides: Program, rounds: int, first: int = 0) -> list[tuple[Times, Times]]:
        """Start programs by turns; return for each the milliseconds, and the MiB it had at most. See bench.race."""
        programs = [{"argv": [str(word) for word in argv], "env": env} for argv, env in sides]
        order = {"rounds": rounds, "first": first, "sides": programs}
        command = [sys.executable, "-m", "bench.race"]
        results = _json(self.box.run(command, env=PYTHONPATH, stdin=json.dumps(order)))
        return [([took * 1000 for took, _ in side], [peak / 1024 for _, peak in side]) for side in results]

    def burst(self, program: Program, number: int, first: int = 0) -> float:
        """Start a program so many times at once; return the milliseconds of the slowest. See bench.burst."""
        argv, env = program
        order = {"number": number, "first": first, "argv": [str(word) for word in argv], "env": env}
        done = self.box.run([sys.executable, "-m", "bench.burst"], env=PYTHONPATH, stdin=json.dumps(order))
        return 1000 * max(float(seconds) for seconds in _json(done))

    # ---- clients of the servers

    def logins(self, rounds: int, *stacks: str) -> list[Times]:
        """Log in through Dovecot, by turns with each of the PAM stacks; return the milliseconds."""
        words = ["pop3", str(rounds), str(self.box.scratch / "etc" / "pam.d" / "pop3"), *stacks]
        return [[seconds * 1000 for seconds in times] for times in told_by(self.box, *words)]

    @contextmanager
    def meanwhile(self, what: str, *words: object) -> Iterator[dict[str, Times]]:
        """Have a client of bench.client at work: rcpt, lock or logins; return its milliseconds by kind afterwards."""
        times: dict[str, Times] = {}
        stop = self.box.scratch / "stop"
        stop.unlink(missing_ok=True)
        netns = ["ip", "netns", "exec", "cli"] if what == "rcpt" else []
        command = [*netns, sys.executable, "-m", "bench.client", what, str(stop), *map(str, words)]
        process = self.box.spawn(command, env=PYTHONPATH)
        begin = end = math.inf
        try:
            time.sleep(STARTED)
            begin = time.perf_counter()
            yield times
            end = time.perf_counter()
        finally:
            stop.touch()
            out, err = process.communicate()
        told = _json(subprocess.CompletedProcess(command, process.returncode, out, err))
        for kind, pairs in told.items():
            times[kind] = [took * 1000 for start, took in pairs if begin <= start <= end]

    # ---- in process

    def grant(self, site: Site, numbers: range, verdict: str) -> Times:
        """Grant each address in this process; return the milliseconds."""
        settings, times = load(str(site.conf)), []
        for number in numbers:
            text = address(number)
            start = time.perf_counter()
            with host_of(settings, time.time(), settings.lock_timeout) as host:
                outcome = grant.grant(host, text, LOGIN, lambda login, outcome: None)
            times.append((time.perf_counter() - start) * 1000)
            if not outcome or outcome.verdict != verdict:
                raise Untimed(f"{text}: {outcome}, not {verdict}")
        return times

    def put(self, site: Site, numbers: range) -> Times:
        """Have the C program put each address; return the milliseconds."""
        command = [str(self.baseline), "put", str(site.db), str(site.stamps), str(len(numbers)), str(numbers.start)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return [float(line) / 1000 for line in done.stdout.split()]


def told_by(box: Box, *words: str) -> Any:
    """Return what a client of bench.client on another host, see there, has to tell."""
    command = ["ip", "netns", "exec", "cli", sys.executable, "-m", "bench.client", *words]
    return _json(box.run(command, env=PYTHONPATH))


def _json(done: subprocess.CompletedProcess[str]) -> Any:
    if done.returncode:
        raise Untimed(f"{done.args}: {done.stderr}")
    return json.loads(done.stdout)


def standstill(seconds: float = 10.0) -> float:
    """Return the longest time in seconds for which this process was kept from going on, with nothing else to do.

    What a row says of shorter times than that is the machine's.
    """
    longest, last = 0.0, time.perf_counter()
    end = last + seconds
    while last < end:
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return longest


def grow(site: Site, have: range, want: int) -> None:
    """Make live grants of a site, for the numbers below want; it has some already."""
    site.build(range(want))
    site.stamp(range(len(have), want), LIVE)
    os.sync()  # nothing of this is written back while something is timed


def must_hold(site: Site, records: int, stamps: int) -> None:
    """See that what was timed was done."""
    if site.counted() != (records, stamps):
        raise Untimed(f"{site.conf}: {site.counted()} records and stamps, not {(records, stamps)}")
