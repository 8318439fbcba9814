"""popips-db del: deletes records, and the stamps of grants that had them."""

from __future__ import annotations

from popips import revoke
from popips.db import report, words
from popips.db.task import Task
from popips.login import word


def work(task: Task) -> int:
    """Delete the records of these keys and addresses."""
    wanted = {text: words.keys(task.settings, text) for text in words.arguments(task.options.keys)}
    with task.map() as edited:
        missing = revoke.take_out(edited, wanted)
    report.note((f"deleted: key={word(key)}" for key in wanted if key not in missing), task.place)
    return report.complain(f"{key}: no such record in {task.place}" for key in missing)
