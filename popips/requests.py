"""Requests: logins that nobody has looked at yet, a file ADDRESS-PID for each in a folder of the stamp folder.

Whoever has the writers' lock next deals with all of them in one change of the map, so a crowd of logins costs a few
changes. Where nobody comes, because Python is broken for instance, the next run of popips-expire does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Container
from dataclasses import dataclass
from stat import S_ISDIR

from popips import address
from popips.files import READ, WRITE, opened
from popips.login import Login, unpack
from popips.stamps import GRANTER, REQUESTS, StampError
from popips.stamps.folder import Folder

LONGEST = 4096  # bytes
STALE = 60.0  # seconds after which a request that is not whole is given up
MOST = 500  # requests that are dealt with in one change of the map


@dataclass(frozen=True)
class Request:
    """A login: its file's name, the address as it was given, who logged in, and when, in seconds since the epoch."""

    file: str
    address: str
    login: Login
    time: float


def make_room(folder: Folder) -> None:
    """Make the folder that requests are left in, in place of what is no folder; others may make it just now."""
    state = folder.state(REQUESTS)
    if state and not S_ISDIR(state.st_mode):
        folder.remove(REQUESTS)
    with folder.naming(REQUESTS):
        try:
            os.mkdir(REQUESTS, 0o700, dir_fd=folder.fd)
        except FileExistsError:
            pass


def leave(folder: Folder, name: str, login: Login, now: float) -> str:
    """Leave a request for an address, and return its file's name; raise StampError if that is not possible."""
    file = f"{REQUESTS}/{name}-{os.getpid()}.{time.monotonic_ns()}"
    with folder.naming(REQUESTS):  # of all that is to be writable, the stamp folder is what a cure must name
        try:
            _write(folder, file, login, now)
        except (FileNotFoundError, NotADirectoryError):
            make_room(folder)
            _write(folder, file, login, now)
    return file


def _write(folder: Folder, file: str, login: Login, now: float) -> None:
    with opened(file, WRITE | os.O_CREAT | os.O_TRUNC, within=folder.fd) as fd:
        os.write(fd, login.pack())
        os.utime(fd, (now, now))


def is_there(folder: Folder, file: str) -> bool:
    """Whether nobody has dealt with the request."""
    return folder.state(file) is not None


def there(folder: Folder, now: float) -> list[Request]:
    """Return the oldest requests that are whole, in the order of their times."""
    found = []
    for file in _files(folder)[: 2 * MOST]:
        login, last = unpack(folder.read(file, LONGEST)), folder.time_of(file)
        if login and last is not None:
            found.append(Request(file, _address(file), login, min(last, now)))
        elif last is not None and abs(now - last) > STALE:
            try:
                folder.remove(file)
            except StampError:
                pass  # a folder with something in it, which is in nobody's way
    return sorted(found, key=lambda request: request.time)[:MOST]


def withdraw(folder: Folder, names: Container[str]) -> None:
    """Take the requests of these addresses away, under the writers' lock: the admin has ended their grants."""
    for file in _files(folder):
        if address.of_key(_address(file)) in names:
            folder.remove(file)


def addresses(folder: Folder) -> set[str]:
    """Return the canonical addresses that there are requests of."""
    return {name for file in _files(folder) if (name := address.of_key(_address(file)))}


def count(folder: Folder) -> int:
    """Return how many there are."""
    return len(_files(folder))


def _files(folder: Folder) -> list[str]:
    with folder.naming(REQUESTS):
        try:
            with opened(REQUESTS, READ | os.O_DIRECTORY, within=folder.fd) as fd:
                return [f"{REQUESTS}/{name}" for name in sorted(os.listdir(fd))]
        except (FileNotFoundError, NotADirectoryError):
            return []


def _address(file: str) -> str:
    return file.rpartition("/")[2].rpartition("-")[0]


# ---- the granter: the process that deals with them. While it is at work, a login only leaves a request


def mark(folder: Folder, now: float) -> bool:
    """Make this process the granter, unless another one is, and lives; return whether this one is.

    Where the mark cannot be made, each login does its work by itself.
    """
    try:
        while not _made(folder):
            pid = _granter(folder)
            if pid in _ours():
                return True
            if _is_alive(pid) and (folder.time_of(GRANTER) or 0) <= now + STALE:
                return False
            folder.remove(GRANTER)  # one from the future is of a clock that was put right, and of a pid long reused
    except StampError:
        return False
    return True


def _made(folder: Folder) -> bool:
    with folder.naming(GRANTER):
        try:
            with opened(GRANTER, WRITE | os.O_CREAT | os.O_EXCL, within=folder.fd) as fd:
                os.write(fd, b"%d\n" % os.getpid())
        except FileExistsError:
            return False
    return True


def unmark(folder: Folder) -> None:
    """Have whoever logs in from now on start a granter; the caller looks for requests once more after that."""
    if _granter(folder) in _ours():
        folder.remove(GRANTER)


def _ours() -> tuple[int, int]:
    """Return the pids that stand for this process: sh makes the mark for the Python that it is about to start."""
    return os.getpid(), os.getppid()


def _granter(folder: Folder) -> int:
    pid = folder.read(GRANTER, 32).strip()
    return int(pid) if pid.isdigit() else 0


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0) if pid else None
    except (OSError, OverflowError):
        return False
    return pid > 0
