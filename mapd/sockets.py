"""The sockets on which the MTA asks, made by this program itself where systemd has not handed them over."""

from __future__ import annotations

import os
import socket
from stat import S_ISSOCK

MODE = 0o660
BACKLOG = 4096  # connections that may wait: where that is full, sendmail waits for ever


class SocketError(Exception):
    """The socket cannot be made; str() names its path and the cure."""


def listening(path: str) -> socket.socket:
    """Return a socket that listens there, and its folder if that is missing; raise SocketError."""
    its = socket.socket(socket.AF_UNIX)
    try:
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        if os.path.lexists(path):
            _remove_dead(path)
        its.bind(path)
        os.chmod(path, MODE)
        its.listen(BACKLOG)
    except OSError as error:
        its.close()
        raise SocketError(f"{path}: cannot be listened on: {error.strerror or error}") from None
    return its


def identity(path: str) -> tuple[int, int]:
    """Return what tells a socket's name from another of that path: device and inode."""
    state = os.lstat(path)
    return state.st_dev, state.st_ino


def remove(path: str, was: tuple[int, int]) -> None:
    """Remove a socket's name, unless another process has put its own there since."""
    try:
        if identity(path) == was:
            os.unlink(path)
    except FileNotFoundError:
        pass


def _remove_dead(path: str) -> None:
    """Remove a socket that nobody listens on any more; raise SocketError if somebody does, or if it is none."""
    if not S_ISSOCK(os.lstat(path).st_mode):
        raise SocketError(f"{path}: there is something that is no socket: name another path in popips.conf")
    with socket.socket(socket.AF_UNIX) as its:
        its.setblocking(False)
        try:
            its.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # its queue is full
    raise SocketError(f"{path}: another process listens there: end it, or name another path in popips.conf")
