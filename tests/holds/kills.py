"""A program killed, interrupted or stopped at a system call: any of them, once it has read popips.conf."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tests.box import CRON_ENVIRONMENT
from tests.holds.room import Room

Point = tuple[str, int]  # a call, and how many of that name the process has made by then
NOT_TO_STOP = {"exit_group", "exit", "rt_sigreturn", "execve"}  # at these nothing more is done, or nothing yet


def points(room: Room, command: Sequence[str], env: dict[str, str] | None = None, most: int = 20) -> list[Point]:
    """Run the command, and return so many of its calls, from all over; of the same call again and again the first."""
    seen: dict[tuple[str, str], int] = {}
    found: list[Point] = []
    with tempfile.NamedTemporaryFile("r") as log:
        room.do(["strace", "-f", "-qq", "-o", log.name, *command], env=env)
        begun, last = False, ""
        for line in log:
            call = re.match(r"(\d+) +(\w+)\(", line)
            if call and call[2] not in NOT_TO_STOP:
                begun = begun or (str(room.conf) in line and call[2].startswith("open"))
                seen[call[1], call[2]] = seen.get((call[1], call[2]), 0) + 1
                if begun and call[2] != last:
                    found.append((call[2], seen[call[1], call[2]]))
                last = call[2]
    assert len(found) > 5
    found = list(dict.fromkeys(found))
    return found[:: max(1, -(-len(found) // most))]


def hit(room: Room, command: Sequence[str], point: Point, signal: str, env: dict[str, str] | None = None) -> None:
    """Run the command, and send it that signal at that call."""
    room.do(hitting(command, point, signal), env=env)


def hitting(command: Sequence[str], point: Point, signal: str) -> list[str]:
    call, number = point
    options = ["-e", f"trace={call}", "-e", f"inject={call}:signal={signal}:when={number}"]
    return ["strace", "-f", "-qq", "-o", "/dev/null", *options, *command]


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


class Stopped:
    """A command that stands still at a call of its own; go on with `carry_on`. Use as a context."""

    def __init__(self, room: Room, command: Sequence[str], point: Point, env: dict[str, str] | None = None) -> None:
        traced = room.inside(hitting(command, point, "STOP"))
        quiet = subprocess.DEVNULL
        self._strace = subprocess.Popen(
            traced, env=CRON_ENVIRONMENT | (env or {}), stdin=quiet, stdout=quiet, stderr=quiet
        )
        self.pid = self._still()

    def _still(self) -> int:
        """Wait until one of its processes stands still, or all have ended; return its pid, or 0."""
        while self._strace.poll() is None:
            for pid in _traced_by(self._strace.pid):
                first = _steps(pid)
                time.sleep(0.02)
                if first and first == _steps(pid):
                    return pid
        return 0

    def carry_on(self) -> None:
        """Let it go on to its end, however often it stops."""
        pid = self.pid
        while pid:
            with suppress(ProcessLookupError):
                os.kill(pid, 18)  # SIGCONT
            pid = self._still()
        self.pid = 0

    def __enter__(self) -> Stopped:
        return self

    def __exit__(self, *_: object) -> None:
        self.carry_on()
        self._strace.wait()


def _traced_by(strace: int) -> list[int]:
    mark = f"\nTracerPid:\t{strace}\n"
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if mark in _status(pid)]


def _steps(pid: int) -> str:
    """Return what changes whenever a stopped process makes a step; "" if it is not stopped."""
    status = _status(pid)
    is_stopped = "\nState:\tT" in status or "\nState:\tt" in status
    return status.partition("voluntary_ctxt_switches:")[2] if is_stopped else ""


def _status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return ""
