"""How far long work has come, on a terminal: one line that is written over, and gone at the end. In a pipe, nothing."""

from __future__ import annotations

import sys
import time

AFTER = 1.0  # seconds after which work counts as long
EVERY = 0.2  # seconds between two lines


class Progress:
    """The progress of a program's work, on the terminal of its standard error."""

    def __init__(self, program: str) -> None:
        self._program, self._next, self._is_there = program, time.monotonic() + AFTER, False

    def step(self, what: str, count: int) -> None:
        """Show how many of something are done."""
        if time.monotonic() >= self._next:
            self._next, self._is_there = time.monotonic() + EVERY, True
            sys.stderr.write(f"\r{self._program}: {what}: {count}\x1b[K")
            sys.stderr.flush()

    def end(self) -> None:
        """Take the line away."""
        if self._is_there:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
        self._is_there = False


def of(program: str) -> Progress | None:
    """Return what shows progress, None where nobody would see it."""
    return Progress(program) if sys.stderr.isatty() else None
