"""A program that stands still at a system call, until it is told to go on."""

from __future__ import annotations

from tests.box import CRON_ENVIRONMENT
from tests.stopped import Stopped
from tests.strace import injecting
from tests.torture.ground import Ground
from tests.torture.programs import Program
from tests.torture.trace import Call, paths


def standing(ground: Ground, program: Program, call: Call) -> Stopped:
    """Return the program, stopped at each call of that name and number."""
    name, number = call
    traced = [*injecting(name, f"signal=STOP:when={number}"), *paths(ground), *program.command(ground)]
    return Stopped(traced, CRON_ENVIRONMENT | program.env)
