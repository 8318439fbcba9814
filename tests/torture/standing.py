"""A program that stands still at a system call, until it is told to go on."""

from __future__ import annotations

from tests.box import CRON_ENVIRONMENT
from tests.stopped import Stopped
from tests.torture.ground import Ground
from tests.torture.programs import Program
from tests.torture.trace import Call, paths


def standing(ground: Ground, program: Program, call: Call) -> Stopped:
    """Return the program, stopped at each call of that name and number."""
    name, number = call
    options = ("-e", f"trace={name}", "-e", f"inject={name}:signal=STOP:when={number}")
    traced = [
        "strace",
        "--seccomp-bpf",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        *paths(ground),
        *options,
        *program.command(ground),
    ]
    return Stopped(traced, CRON_ENVIRONMENT | program.env)
