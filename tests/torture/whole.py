"""The whole of a login or a run, sh, the loader and the interpreter included: each call of any process of it.

Killed: nothing is lost and nothing left open, whatever the login server makes of it. Failing: the login goes on, too,
from where sh has read the first line of our program up to where it becomes the server: what fails before or after that,
only others can see to.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter
from pathlib import Path

from tests.torture import Row
from tests.torture.fail import timed, wrong
from tests.torture.ground import Ground, Where, restore, saved
from tests.torture.judge import Judge, until_gone
from tests.torture.programs import EXPIRE, KNOWN, NEW, Program, hook, postlogin
from tests.torture.scenarios import Scenario, due, granted, lane_is_open, prepared
from tests.torture.trace import Call, Done, calls, inject, spread

ERRORS = ("ENOMEM", "ENFILE", "EACCES", "EIO", "EAGAIN", "EINTR")
# calls of which Linux cannot refuse a process that is in order, or whose failing is the kernel's own end
SURE = {"arch_prctl", "set_tid_address", "set_robust_list", "rseq", "rt_sigaction", "rt_sigprocmask", "kill", "tkill"}
SURE |= {"getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "munmap", "close", "futex"}
SURE |= {"clock_nanosleep", "getrandom", "prlimit64", "sched_getaffinity"}
HOOKS = [
    Scenario("hook, new address", hook(NEW, whole=True), granted(KNOWN)),
    Scenario("hook, fast lane", hook(KNOWN, whole=True), lane_is_open),
    Scenario("postlogin, new address", postlogin(NEW, whole=True), granted(KNOWN)),
    Scenario("postlogin, fast lane", postlogin(KNOWN, whole=True), lane_is_open),
]
SCENARIOS = [
    *HOOKS,
    Scenario("Python of the hook, new address", hook(NEW), granted(KNOWN)),
    Scenario("expire, 1 due", EXPIRE, due(1)),
]


def kill(where: Where, scenario: Scenario, most: int) -> Row:
    """Kill it at each call, or at that many of them."""
    return _sweep(where, Row(f"killed anywhere: {scenario.name}"), scenario, most, ("KILL",))


def fail(where: Where, scenario: Scenario, most: int) -> Row:
    """Let each call fail with each error, or that many of them."""
    return _sweep(where, Row(f"failing anywhere: {scenario.name}"), scenario, most, ERRORS)


def _sweep(where: Where, row: Row, scenario: Scenario, most: int, harms: tuple[str, ...]) -> Row:
    program, is_kill = scenario.program, harms == ("KILL",)
    with where.ground(scenario.kind, scenario.own) as ground:
        judge = Judge(ground, scenario, prepared(ground, scenario, 50))
        before = saved(ground)
        others = set() if is_kill else _of_others(ground, program)
        found = [point for point in calls(ground, program, whole=True) if point not in others]
        cases = [(*point, harm) for point in found for harm in harms if is_kill or point[0] not in SURE]
        for call, number, harm in spread(cases, most):
            what = f"{'signal' if is_kill else 'error'}={harm}:when={number}"

            def attempt(what: str = what, call: str = call) -> Done:
                restore(ground, before)
                return inject(ground, program, call, what, whole=True)

            done, took = timed(attempt)
            until_gone(lambda: _is_at_work(ground))
            fault = wrong(ground, program, done, took) if program.whole and not is_kill else ""
            ended = EXPIRE.run(ground)
            after = judge.after(EXPIRE)
            fault += after.fault + (
                f", then exit {ended.returncode}: {ended.stderr[-200:]}" if ended.returncode else ""
            )
            row.add(f"{scenario.name}: {call} {number} {harm}: {fault}" if fault else "", after.lost, after.bare)
            if program.is_hook and not is_kill:
                row.worst = max(row.worst, took)
    return row


def _is_at_work(ground: Ground) -> bool:
    """Whether a process of a login is still there that nobody waits for any more."""
    mark = os.fsencode(ground.conf)
    return any(mark in _words(pid) for pid in filter(str.isdigit, os.listdir("/proc")))


def _words(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _of_others(ground: Ground, program: Program) -> set[Call]:
    """Return the calls of a login that are the loader's, before sh has read our first line, or the server's."""
    if not program.whole:
        return set()
    with tempfile.NamedTemporaryFile("r") as log:
        program.run(ground, ("strace", "-qq", "-o", log.name))
        loader, _, ours = log.read().partition("#!/bin/sh")
    seen: Counter[str] = Counter()
    found = set()
    ours, _, server = ours.partition('execve("/bin/true"')
    for part in (loader, ours, server):
        for name in re.findall(r"^(\w+)\(", part, re.M):
            seen[name] += 1
            if part is not ours:
                found.add((name, seen[name]))
    return found
