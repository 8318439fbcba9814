"""What a host may have too little of: processes, memory, descriptors, room in a file."""

from __future__ import annotations

import subprocess

from tests.box import CRON_ENVIRONMENT
from tests.strace import injecting
from tests.torture import Row
from tests.torture.fail import timed, wrong
from tests.torture.ground import Ground, State, Where, restore, saved
from tests.torture.judge import Judge
from tests.torture.programs import EXPIRE, KNOWN, NEW, hook, postlogin
from tests.torture.scenarios import Scenario, due, granted, lane_is_open, prepared
from tests.torture.trace import Done, spread

MIB = 1 << 20
FORKS = ("clone", "clone3", "fork", "vfork")
Under = tuple[str, ...]  # the command that starts a program where something is scarce


def memory() -> list[Under]:
    """From too little for sh to plenty for Python."""
    return [("prlimit", f"--as={size}") for size in (2 * MIB * n for n in (*range(1, 24), *range(24, 257, 12)))]


def forks() -> list[Under]:
    """The n-th is refused, or all from the n-th on."""
    calls = ",".join(FORKS)
    return [tuple(injecting(calls, f"error=EAGAIN:when={n}{rest}")) for n in (1, 2, 3, 4) for rest in ("", "+")]


def descriptors() -> list[Under]:
    return [("prlimit", f"--nofile={most}") for most in range(4, 25)]


def room() -> list[Under]:
    """In a file: none, and some of what a journal needs."""
    return [("prlimit", f"--fsize={size}") for size in (0, 1, 20, 512, 4096, 8192, 65536, 150_000)]


SCARCE = {"memory": memory, "processes": forks, "descriptors": descriptors, "room in a file": room}
SCENARIOS = [
    Scenario("hook, new address", hook(NEW, whole=True), granted(KNOWN)),
    Scenario("hook, fast lane", hook(KNOWN, whole=True), lane_is_open),
    Scenario("postlogin, new address", postlogin(NEW, whole=True), granted(KNOWN)),
    Scenario("postlogin, fast lane", postlogin(KNOWN, whole=True), lane_is_open),
    Scenario("expire, 1 due", EXPIRE, due(1)),
    Scenario("expire, 500 due, own map", EXPIRE, due(500), own=True),
]


def run(where: Where, what: str, size: int, most: int = 300) -> Row:
    """Run each scenario with less and less of something, on a map of so many static records."""
    row = Row(f"scarce: {what}")
    for scenario in SCENARIOS:
        with where.ground(scenario.kind, scenario.own) as ground:
            judge = Judge(ground, scenario, prepared(ground, scenario, size))
            before = saved(ground)
            for under in spread(SCARCE[what](), most):
                fault, took = _fault(ground, before, scenario, under)
                if scenario.program.is_hook:
                    row.worst = max(row.worst, took)
                ended = EXPIRE.run(ground)
                after = judge.after(EXPIRE)
                fault += after.fault + (f", then exit {ended.returncode}" if ended.returncode else "")
                row.add(f"{scenario.name}: {under[-1]}: {fault}" if fault else "", after.lost, after.bare)
    return row


def _fault(ground: Ground, before: State, scenario: Scenario, under: Under) -> tuple[str, float]:
    """Return what is wrong with how the program ended, and after how many seconds.

    Where sh, or the interpreter with what the program imports, cannot even start, nothing is.
    """
    program = scenario.program
    command = ["/bin/sh", "/dev/null"] if program.is_hook else [*program.command(ground)[:3], "--version"]
    starts = not subprocess.run([*under, *command], env=CRON_ENVIRONMENT, capture_output=True).returncode

    def attempt() -> Done:
        restore(ground, before)
        return program.run(ground, under)

    done, took = timed(attempt)
    return (wrong(ground, program, done, took) if starts else ""), took
