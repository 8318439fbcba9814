"""popips-db status: tells in one screen whether logins open the relay."""

from __future__ import annotations

import os

from popips.db.task import Task


def work(task: Task) -> int:
    """Print the state of the grants; return 0 if logins open the relay, else 1."""
    task.needs_grants("status")
    return os.EX_OK
