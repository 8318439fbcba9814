"""Signals in the middle of it: a process that grants, and puts the admin's records, is ended at any moment."""

from __future__ import annotations

import random
import signal
import subprocess
import tempfile
from pathlib import Path

from tests.box import ROOT, Box
from tests.torture import Row
from tests.torture.actors import SELF
from tests.torture.hosts import STATIC, TOGETHER, Ending, settled, stamps_of, state_of
from tests.torture.scenarios import text_of

LONGEST_RUN = 0.05  # seconds from the first grant to a signal


def run(cases: int) -> Row:
    """End a process by a signal so many times; what it said it had granted is there, and nothing is done by half."""
    row, dice = Row("signals while the map is being changed"), random.Random(cases)
    for seed in range(cases):
        number = dice.choice((signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
        with tempfile.TemporaryDirectory(prefix="popips-", dir="/tmp") as scratch:
            box = Box(Path(), Path(scratch))
            box.write_access(text_of(STATIC))
            granted, fault = _interrupted(box, number, dice.uniform(0, LONGEST_RUN), seed)
            static = STATIC | dict.fromkeys(TOGETHER, box.records().get(TOGETHER[0], ""))
            at_once = state_of(box, static, stamps_of(box))
            stamps, end = settled(box, static)
        lost = [key for key in at_once.lost if key in static] + end.lost + sorted(granted - stamps)
        found = Ending(lost, at_once.open + end.open)
        row.add(" ".join(filter(None, (fault, str(found)))), len(found.lost), len(found.open))
    return row


def _interrupted(box: Box, number: signal.Signals, after: float, seed: int) -> tuple[set[str], str]:
    """Return the addresses that the process said it had granted, and what was wrong with its end."""
    command, pipe = [*SELF, "change_for_ever", str(box.conf), str(seed)], subprocess.PIPE
    with subprocess.Popen(command, bufsize=0, cwd=ROOT, stdout=pipe, stderr=pipe) as process:
        assert process.stdout
        try:
            first = process.stdout.readline()
            try:
                process.wait(after)
            except subprocess.TimeoutExpired:
                process.send_signal(number)
            out, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    right = process.returncode == -number
    fault = "" if right else f"{number.name}: ended with {process.returncode}: {errors.decode()}"
    return set((first + out).decode().split()), fault
