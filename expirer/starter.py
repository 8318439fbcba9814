"""Who has started this program: systemd's timer, cron, or a user."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator

UNIT = "popips-expire.service"
CRONS = ("cron", "crond", "fcron", "bcron-exec", "busybox", "anacron")


def starter() -> str:
    """Return timer, cron, or the name of the user."""
    if _read("/proc/self/cgroup").rstrip().endswith(f"/{UNIT}"):
        return "timer"
    if any(name.lower() in CRONS for name in _ancestors()):
        return "cron"
    return os.environ.get("SUDO_USER") or getpass.getuser()


def _ancestors() -> Iterator[str]:
    """Return the names of the processes that this one comes from, the nearest first."""
    pid = os.getppid()
    while pid > 1:
        name, _, rest = _read(f"/proc/{pid}/stat").partition("(")[2].rpartition(")")
        yield name
        fields = rest.split()
        pid = int(fields[1]) if len(fields) > 1 else 0


def _read(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""
