"""Failing calls: each call of a program that touches the site fails in turn, with each error."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from tests.torture import Row
from tests.torture.ground import Ground, Where, restore, saved
from tests.torture.judge import Judge
from tests.torture.programs import EXPIRE, Program
from tests.torture.scenarios import BY_HAND, Scenario, named, prepared
from tests.torture.trace import Done, calls, inject, spread

ERRORS = ("ENOSPC", "EIO", "EDQUOT", "EROFS", "EMFILE", "EACCES", "EINTR")
FALLIBLE = {
    "open",
    "openat",
    "read",
    "write",
    "pread64",
    "pwrite64",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "unlink",
    "unlinkat",
    "mkdirat",
    "flock",
    "ftruncate",
    "utimensat",
    "fchmod",
    "fchmodat",
    "fcntl",
    "getdents64",
    "sendfile",
    "fallocate",
}
SYSEXITS = {
    os.EX_OK,
    1,
    os.EX_DATAERR,
    os.EX_NOINPUT,
    os.EX_CANTCREAT,
    os.EX_IOERR,
    os.EX_TEMPFAIL,
    os.EX_NOPERM,
    os.EX_CONFIG,
}
AS_SERVER = "/bin/true: error while loading shared libraries"
BINDING = "_pybsddb"  # its file
LOGIN_LIMIT = 3.0  # seconds, strace included
ATTEMPTS = 3
CHOSEN = [
    *named("hook, new address", "hook, known address", "hook, requests wait", "postlogin, new address"),
    *named("expire, 1 due", "expire, reconcile", "expire, requests wait", "expire, another value"),
    *named("hook, new address, own map", "expire, 500 due, own map"),
    *(scenario for scenario in BY_HAND if scenario.name != "db del, a page empties"),
]


def run(where: Where, scenario: Scenario, size: int, most: int = 300) -> Row:
    """Let each call fail with each error, or that many of them, on a map of so many static records."""
    row = Row(f"failing calls: {scenario.name}")
    with where.ground(scenario.kind, scenario.own) as ground:
        judge = Judge(ground, scenario, prepared(ground, scenario, size))
        before = saved(ground)
        found = [(c, n, e) for c, n in calls(ground, scenario.program) if c in FALLIBLE for e in ERRORS]
        for call, number, error in spread(found, most):

            def attempt(what: str = f"error={error}:when={number}", call: str = call) -> Done:
                restore(ground, before)
                return inject(ground, scenario.program, call, what)

            done, took = timed(attempt)
            fault = wrong(ground, scenario.program, done, took)
            EXPIRE.run(ground)
            after = judge.after(EXPIRE)
            name = f"{scenario.name}: {call} {number} {error}: "
            row.add(name + fault + after.fault if fault or after.fault else "", after.lost, after.bare)
            if scenario.program.is_hook:
                row.worst = max(row.worst, took)
    return row


def timed(attempt: Callable[[], Done]) -> tuple[Done, float]:
    """Make the attempt, and return how it ended and after how many seconds.

    One that took too long for a login is made again: the machine may have been busy with other things.
    """
    for _ in range(ATTEMPTS):
        start = time.monotonic()
        done = attempt()
        took = time.monotonic() - start
        if took <= LOGIN_LIMIT:
            break
    return done, took


def wrong(ground: Ground, program: Program, done: Done, took: float) -> str:
    """Return what is wrong with how a program ended, after so many seconds: a login always goes on."""
    if program.whole and AS_SERVER in done.stderr:
        return ""  # the login has gone on: how many calls come before those of the server differs from run to run
    if program.whole:  # what Python itself writes, when it has too little of something, goes nowhere
        return f"exit {done.returncode} after {took:.1f} s" if done.returncode or took > LOGIN_LIMIT else ""
    if "Traceback" in done.stderr:
        return f"a traceback: {done.stderr[-300:]}"
    if program.is_hook:
        return f"exit {done.returncode}" if done.returncode else ""
    if done.returncode not in SYSEXITS:
        return f"exit {done.returncode}: {done.stderr[-300:]}"
    if done.returncode > 1 and not any(path in done.stderr for path in (str(ground.folder), BINDING)):
        return f"no file named: {done.stderr[-300:]}"
    return ""
