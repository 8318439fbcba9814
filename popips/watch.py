"""What the admin must hear of: a dead expirer, an edit that is not in the map, and a unit that lets nobody write."""

from __future__ import annotations

import posix as os  # os itself costs a login two milliseconds
from errno import EROFS

from popips.stamps import RUN_FILE, TOLD_FILES, Folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from popips.config import Config

DEAD_AFTER = 300.0  # seconds without a run of the expirer, which its timer or cron starts every minute
START_IT = "have its timer or cron start it every minute"
TELL_EVERY = 3600.0  # seconds
OF_DOVECOT = (
    "Dovecot's unit has ProtectSystem, which keeps {folder} read only: name it after ReadWritePaths= in "
    "/etc/systemd/system/dovecot.service.d/popips.conf (contrib/systemd has that file), then "
    "systemctl daemon-reload and systemctl restart dovecot"
)
OF_OUR_OWN = "if {unit}.service started it: systemctl edit {unit}, and name {folder} after ReadWritePaths= there"
CURES = {  # by the program that cannot write
    "popips-hook": OF_DOVECOT,
    "popips-postlogin": OF_DOVECOT,
    "popips-expire": OF_OUR_OWN,
    "popips-follow": OF_OUR_OWN,
}


def expirer_is_dead(folder: Folder, now: float) -> str:
    """Tell that the expirer has not run for too long, "" if it has. A run in the future does not count either."""
    try:
        last = os.stat(RUN_FILE, dir_fd=folder.fd, follow_symlinks=False).st_mtime
    except FileNotFoundError:
        return f"popips-expire has never finished a run: {START_IT}"
    if abs(now - last) <= DEAD_AFTER:
        return ""
    return f"popips-expire has not finished a run for {abs(now - last) / 60:.0f} minutes: {START_IT}"


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
    """Tell whether it is an hour since this was told last, and note that it is told now; what: see TOLD_FILES."""
    name = TOLD_FILES[what]
    with folder.naming(name):
        try:
            if abs(now - os.stat(name, dir_fd=folder.fd, follow_symlinks=False).st_mtime) < TELL_EVERY:
                return False
        except FileNotFoundError:
            pass
    folder.touch(name, now)
    return True


def reason(error: BaseException, program: str) -> str:
    """Return what a log line says of an error: with the cure, if a file system is read only for the program."""
    text = str(error) or repr(error)
    cause: BaseException | None = error
    while cause and not (isinstance(cause, OSError) and cause.errno == EROFS):
        cause = cause.__context__  # what an error of ours was made of
    if not cause or program not in CURES:
        return text
    folder = text.partition(": ")[0].rpartition("/")[0]  # all of them begin with the file's path
    return f"{text}; {CURES[program].format(folder=folder, unit=program)}"
