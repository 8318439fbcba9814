"""What the admin must hear of: an expirer that no longer runs, and an edit of the text that is not in the map."""

from __future__ import annotations

import posix as os  # os itself costs a login two milliseconds

from popips.stamps import RUN_FILE, TOLD_FILES, Folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from popips.config import Config

DEAD_AFTER = 300.0  # seconds without a run of the expirer, which cron starts every minute
TELL_EVERY = 3600.0  # seconds


def expirer_is_dead(folder: Folder, now: float) -> str:
    """Tell that the expirer has not run for too long, "" if it has. A run in the future does not count either."""
    try:
        last = os.stat(RUN_FILE, dir_fd=folder.fd, follow_symlinks=False).st_mtime
    except FileNotFoundError:
        return "popips-expire has never finished a run: have cron start it every minute"
    if abs(now - last) <= DEAD_AFTER:
        return ""
    return (
        f"popips-expire has not finished a run for {abs(now - last) / 60:.0f} minutes: have cron start it every minute"
    )


def edit_is_pending(config: Config) -> str:
    """Tell that the map's text is newer than the map, "" if it is not."""
    source = config.source(config.map)
    try:
        if not source or os.stat(source).st_mtime_ns <= os.stat(config.map.path).st_mtime_ns:
            return ""
    except OSError:
        return ""
    build = config.map.build(source)
    return f"{source} is newer than {config.map.path}: the edit is not in the map yet; build it: {build}"


def is_news(folder: Folder, what: str, now: float) -> bool:
    """Tell whether it is an hour since this was told last, and note that it is told now; what: expirer or edit."""
    name = TOLD_FILES[what]
    with folder.naming(name):
        try:
            if abs(now - os.stat(name, dir_fd=folder.fd, follow_symlinks=False).st_mtime) < TELL_EVERY:
                return False
        except FileNotFoundError:
            pass
    folder.touch(name, now)
    return True
