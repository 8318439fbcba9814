"""Killed at every system call: SIGKILL in turn at each call of a program that touches the site, and what comes after.

strace finds the calls in a run that is let live, and injects the signal at the n-th of each name in the others. The
interpreter is the one of the installed programs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

from popips.maps.journal import CHANGE
from tests.torture import Row
from tests.torture.ground import Ground, State, Where, restore, saved
from tests.torture.judge import Judge, Verdict
from tests.torture.programs import EXPIRE, NEXT, NEXT_ON_OWN_MAP, Program
from tests.torture.running import Sendmail
from tests.torture.scenarios import Scenario, prepared
from tests.torture.trace import calls, inject, spread, traced

AGAIN = 2  # half-written states of which the recovery is killed, too


def run(where: Where, scenario: Scenario, size: int, most: int = 300, most_again: int = 20) -> Row:
    """Sweep a scenario on a map of so many static records, killing at each call, or at that many of them.

    Of the states with a half-written map that this leaves, in a few the next run is killed at each of its calls, too.
    """
    row = Row(f"killed: {scenario.name}")
    with where.ground(scenario.kind, scenario.own) as ground:
        judge = Judge(ground, scenario, prepared(ground, scenario, size))
        before = saved(ground)
        then = NEXT_ON_OWN_MAP if ground.own else NEXT
        crashes: dict[bytes, State] = {}
        for call, number in spread(calls(ground, scenario.program), most):
            restore(ground, before)
            inject(ground, scenario.program, call, f"signal=KILL:when={number}")
            after = saved(ground)
            faults: list[Verdict] = []
            if after.digest not in crashes:
                crashes[after.digest] = after
                faults = [one for program in then for one in recovered(ground, after, program, judge)]
            add(row, f"{scenario.name}, {size} records, {call} {number}", faults)
        half_written = [state for state in crashes.values() if _is_half_written(ground, state)]
        for state in spread(half_written, AGAIN):
            for program in (NEXT[0], EXPIRE):
                _killed_again(row, judge, state, program, most_again)
    return row


def add(row: Row, where: str, faults: list[Verdict]) -> None:
    """Count a case, in which this was wrong."""
    row.add(
        "".join(f"{where}{one.fault}; " for one in faults),
        max((one.lost for one in faults), default=0),
        max((one.bare for one in faults), default=0),
    )


def recovered(ground: Ground, after: State, program: Program, judge: Judge) -> Iterator[Verdict]:
    """Return what is wrong after a run of the program."""
    restore(ground, after)
    # one that found no map when it started does not look for it again
    has_map = ground.kind == "hash" and ground.db.exists() and ground.db.stat().st_size
    running = Sendmail(ground.db) if has_map and program is EXPIRE else nullcontext(None)
    with running as sendmail:
        done = program.run(ground)
        verdict = judge.after(program, sendmail)
    if done.returncode or verdict.fault:
        fault = f", then {program.name} (exit {done.returncode}): {verdict.fault} {done.stderr[-200:]}"
        yield Verdict(fault, verdict.lost, verdict.bare)


def _is_half_written(ground: Ground, state: State) -> bool:
    """Whether a change of the map was begun: its journal is left, or the seal of a map of its own does not hold."""
    journal = state.files.get(f"{ground.db.name}.popips", (b"", 0, 0))
    return not state.seal if ground.own else len(journal[0]) > CHANGE and not journal[1] & 0o100


def _killed_again(row: Row, judge: Judge, after: State, program: Program, most: int) -> None:
    ground = judge.ground
    restore(ground, after)
    for call, number in spread(traced(ground, program)[0], most):
        restore(ground, after)
        inject(ground, program, call, f"signal=KILL:when={number}")
        add(row, f"{call} {number} of the next", list(recovered(ground, saved(ground), EXPIRE, judge)))
