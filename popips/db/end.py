"""popips-db end: ends grants before their time, and leaves the admin's records alone."""

from __future__ import annotations

from popips import command, revoke
from popips.db import report, words
from popips.db.task import Task


def work(task: Task) -> int:
    """End the grants of these addresses, or all."""
    options = task.options
    task.needs_grants("end")
    if bool(options.words) == options.all:
        raise command.UsageError("end: write addresses, or --all")
    names = [words.address_of(word) for word in words.arguments(options.words)]
    ended: set[str] = set()
    with task.site() as site:
        for batch in revoke.end(site, revoke.all_grants(site) if options.all else names):
            report.note((f"removed: address={name}" for name in batch), task.place)
            ended.update(batch if not options.all else ())
    return report.complain(f"{name}: no grant" for name in names if name not in ended)
