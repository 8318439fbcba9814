"""How the last whole run went: who started it, and how long it took. For the admin to read: nothing hangs on it."""

from __future__ import annotations

from dataclasses import dataclass

from popips.login import plain, word
from popips.stamps import RAN, StampError
from popips.stamps.folder import Folder


@dataclass(frozen=True)
class LastRun:
    """A whole run: what started it (timer, cron, or a user's name), and how many seconds it took."""

    by: str
    seconds: float


def keep(folder: Folder, run: LastRun) -> None:
    """Write it down, where there is room for it: a run must not fail for that."""
    try:
        folder.replace(RAN, f"{word(run.by)} {run.seconds:.3f}\n".encode())
    except StampError:
        pass


def load(folder: Folder) -> LastRun | None:
    """Return what was written down, None if nothing was, or it cannot be read. Raise StampFailed."""
    words = folder.read(RAN).decode(errors="replace").split()
    try:
        by, seconds = words
        return LastRun(plain(by), float(seconds))
    except ValueError:
        return None
