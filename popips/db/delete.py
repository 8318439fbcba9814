"""popips-db del: deletes records, and ends the grants that go with them."""

from __future__ import annotations

from popips import register, revoke
from popips.db import report, words
from popips.db.task import Task
from popips.login import word


def work(task: Task) -> int:
    """Delete the records of these keys and addresses."""
    texts = words.arguments(task.options.keys)
    keys = {text: [key.encode() for key in words.as_written(task.settings, text)] for text in texts}
    with task.host_if_any() as host:
        missing = revoke.take_out(host, task.place, task.text, keys, task.now)
        if host:
            register.drop(host.folder, {key for its in keys.values() for key in its})
    report.note((f"deleted: key={word(text)}" for text in keys if text not in missing), task.place)
    return report.complain(f"{text}: no such record in {task.place}" for text in missing)
