"""What the admin must hear of: a dead expirer, what was told already, and a unit that lets nobody write."""

from __future__ import annotations

from errno import EROFS

from popips.stamps import RUN_FILE
from popips.stamps.folder import Folder

DEAD_AFTER = 300.0  # seconds without a run of the expirer, which is started every minute
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
    """Return that the expirer has not run for too long, "" if it has. A run in the future does not count either."""
    last, cure = folder.time_of(RUN_FILE), "have its timer or cron start it every minute"
    if not last:  # 0 while none has
        return f"popips-expire has never finished a run: {cure}"
    if abs(now - last) <= DEAD_AFTER:
        return ""
    return f"popips-expire has not finished a run for {abs(now - last) / 60:.0f} minutes: {cure}"


def is_news(folder: Folder, file: str, now: float) -> bool:
    """Whether it is an hour since this was told last; note that it is told now. file: in the stamp folder."""
    last = folder.time_of(file)
    if last is not None and abs(now - last) < TELL_EVERY:
        return False
    folder.touch(file, now)
    return True


def is_new(folder: Folder, file: str, what: str) -> bool:
    """Whether this very thing was not told last; note that it is told now. file: in the stamp folder."""
    if folder.read(file).decode(errors="replace") == what:
        return False
    folder.replace(file, what.encode())
    return True


def reason(error: BaseException, program: str) -> str:
    """Return what a log line says of an error: with the cure, if a file system is read only for the program."""
    text = str(error) or repr(error)
    cause: BaseException | None = error
    while cause and not (isinstance(cause, OSError) and cause.errno == EROFS):
        cause = cause.__cause__ or cause.__context__  # what an error of ours was made of
    if not cause or program not in CURES:
        return text
    folder = text.partition(": ")[0].rpartition("/")[0]  # all of them begin with the file's path
    return f"{text}; {CURES[program].format(folder=folder, unit=program)}"
