"""A command under strace that stands still at a system call, until it is told to go on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

STANDS_STILL = 0.02  # seconds without a step, after which a traced process counts as stopped


class Stopped:
    """The command, which stops itself at calls of its own; use as a context, it goes on at the end.

    pid: of the process that stands still; 0 if all have ended.
    """

    def __init__(self, command: Sequence[str | Path], env: Mapping[str, str]) -> None:
        """Start it; command: with strace in front, which sends the SIGSTOP."""
        quiet = subprocess.DEVNULL
        self._strace = subprocess.Popen(command, env=env, stdin=quiet, stdout=quiet, stderr=quiet)
        self.pid = self._still()

    def __enter__(self) -> Stopped:
        return self

    def __exit__(self, *_: object) -> None:
        self.carry_on()
        self._strace.wait()

    def carry_on(self) -> None:
        """Let it go on to its end, however often it stops, and whichever of its processes does."""
        while self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGCONT)
            self.pid = self._still()

    def _still(self) -> int:
        """Wait until one of its processes stands still, or all have ended; return its pid, or 0."""
        while self._strace.poll() is None:
            for pid in _traced_by(self._strace.pid):
                first = _steps(pid)
                time.sleep(STANDS_STILL)
                if first and first == _steps(pid):
                    return pid
        return 0


def _traced_by(strace: int) -> list[int]:
    """Return the processes under strace, those whose parent has gone on without them, too."""
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
