"""A program that stands still at a system call, until it is told to go on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from tests.box import CRON_ENVIRONMENT
from tests.torture.ground import Ground
from tests.torture.programs import Program
from tests.torture.trace import Call, paths

STANDS_STILL = 0.02  # seconds without a step, after which a traced process counts as stopped


class Standing:
    """The program, stopped at each call of that name and number; use as a context, it goes on at the end."""

    def __init__(self, ground: Ground, program: Program, call: Call) -> None:
        name, number = call
        options = ("-e", f"trace={name}", "-e", f"inject={name}:signal=STOP:when={number}")
        quiet = subprocess.DEVNULL
        self._strace = subprocess.Popen(
            ["strace", "-f", "-qq", "-o", "/dev/null", *paths(ground), *options, *program.command(ground)],
            env=CRON_ENVIRONMENT | program.env,
            stdin=quiet,
            stdout=quiet,
            stderr=quiet,
        )
        self._pid = self._still()

    def __enter__(self) -> Standing:
        return self

    def __exit__(self, *_: object) -> None:
        while self._pid:  # and the other one, that looks at the other half of the stamps
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGCONT)
            self._pid = self._still()
        self._strace.wait()

    def _still(self) -> int:
        """Wait until one of its processes stands still, and return its pid; 0 if they have all ended."""
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
