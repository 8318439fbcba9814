"""popips-db del: deletes records, and the stamps of grants that had them."""

from __future__ import annotations

import time

from popips import upkeep
from popips.db import report, words
from popips.db.task import Task
from popips.stamps import word


def work(task: Task) -> int:
    """Delete the records of these keys and addresses."""
    keys = words.arguments(task.options.keys)
    missing = upkeep.revoke(task.settings, task.place, keys, time.time())
    report.note((f"deleted: key={word(key)}" for key in keys if key not in missing), task.place)
    return report.complain(f"{key}: no such record in {task.place}" for key in missing)
