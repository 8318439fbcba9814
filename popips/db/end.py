"""popips-db end: ends grants before their time, and leaves the admin's records alone."""

from __future__ import annotations

import time

from popips import command, ending, upkeep
from popips.db import report, words
from popips.db.task import Task


def work(task: Task) -> int:
    """End the grants of these addresses, or all."""
    settings, options = task.settings, task.options
    task.needs_grants("end")
    if bool(options.words) == options.all:
        raise command.UsageError("end: write addresses, or --all")
    names = [words.address_of(word) for word in words.arguments(options.words)]
    now = time.time()
    upkeep.recover(settings, settings.map, now)
    ended: set[str] = set()
    for batch in ending.end_all(settings, now) if options.all else ending.end(settings, names, now):
        report.note((f"removed: address={name}" for name in batch), settings.map)
        ended.update(batch)
    return report.complain(f"{name}: no grant" for name in names if name not in ended)
