"""A program killed, interrupted or stopped at a system call: any of those on the files that it works on."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.box import CRON_ENVIRONMENT
from tests.holds.room import Room
from tests.stopped import Stopped
from tests.strace import injecting, on

Point = tuple[str, int]  # a call, and how many of that name the process has made by then
NOT_TO_STOP = {"exit_group", "exit", "rt_sigreturn", "execve"}  # at these nothing more is done, or nothing yet


def points(room: Room, command: Sequence[str], env: dict[str, str] | None = None, most: int = 20) -> list[Point]:
    """Run the command, and return so many of its calls, from all over; of the same call again and again the first."""
    seen: dict[tuple[str, str], int] = {}
    found: list[Point] = []
    with tempfile.NamedTemporaryFile("r") as log:
        room.do(["strace", "-f", "-qq", "-o", log.name, *files(room), *command], env=env)
        last = ""
        for line in log:
            call = re.match(r"(\d+) +(\w+)\(", line)
            if call and call[2] not in NOT_TO_STOP:
                seen[call[1], call[2]] = seen.get((call[1], call[2]), 0) + 1
                if call[2] != last:
                    found.append((call[2], seen[call[1], call[2]]))
                last = call[2]
    assert len(found) > 5
    found = list(dict.fromkeys(found))
    return found[:: max(1, -(-len(found) // most))]


def hit(room: Room, command: Sequence[str], point: Point, signal: str, env: dict[str, str] | None = None) -> None:
    """Run the command, and send it that signal at that call."""
    room.do(hitting(room, command, point, signal), env=env)


def files(room: Room) -> list[str]:
    """Return strace's options that pick the calls on the room's files and folders."""
    paths: list[str | Path] = [room.conf, f"{room.conf}.lane", room.access, room.db, f"{room.db}.popips"]
    return on([*paths, room.stamps, room.stamps / ".requests"])


def hitting(room: Room, command: Sequence[str], point: Point, signal: str) -> list[str]:
    call, number = point
    return [*injecting(call, f"signal={signal}:when={number}"), *files(room), *command]


def sweep(
    fresh: Callable[[], Room],
    act: Callable[[Room], tuple[list[str], dict[str, str]]],
    wrong: Callable[[Room], str],
    signal: str = "KILL",
    most: int = 20,
) -> None:
    """Hit what `act` says at so many calls, each time in a fresh room, and fail with all that is wrong afterwards."""
    room = fresh()
    faults = []
    for point in points(room, *act(room), most=most):
        room = fresh()
        command, env = act(room)
        hit(room, command, point, signal, env)
        fault = wrong(room)
        if fault:
            faults.append(f"{signal} at {point[0]} {point[1]}: {fault}")
    assert not faults, "\n".join(faults)


def stopped(room: Room, command: Sequence[str], point: Point, env: dict[str, str] | None = None) -> Stopped:
    """Return the command, which stands still at that point."""
    return Stopped(room.inside(hitting(room, command, point, "STOP")), CRON_ENVIRONMENT | (env or {}))
