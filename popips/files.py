"""Files, as all of popips opens, writes and tells them apart."""

from __future__ import annotations

import os

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
SLICE = 1 << 18  # bytes that are copied at once
WRITE = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK


class opened:  # noqa: N801 (used like open)
    """In a `with`: the descriptor of a file, closed at the end; raise OSError as os.open() does."""

    def __init__(self, path: str, flags: int = READ, mode: int = 0o600, within: int | None = None) -> None:
        self._fd = os.open(path, flags, mode, dir_fd=within)

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def write_all(fd: int, data: bytes | memoryview, offset: int = 0) -> None:
    """Write all of the data at that place of the file, however little of it the system takes at once."""
    left = memoryview(data)
    while left:
        done = os.pwrite(fd, left, offset)
        left, offset = left[done:], offset + done


def copy_file(source: int, target: int) -> None:
    """Write all bytes of one open file into another, from the start."""
    done = 0
    while data := os.pread(source, SLICE, done):
        write_all(target, data, done)
        done += len(data)
    os.ftruncate(target, done)


def identity(state: os.stat_result) -> str:
    """Return what tells a file and its content from another in one word: inode, size, mtime and ctime.

    The mtime alone tells nothing: utime(2) sets it, and a restored file brings its old one. Nobody can set the ctime.
    """
    return f"{state.st_ino}:{state.st_size}:{state.st_mtime_ns}:{state.st_ctime_ns}"


def identity_of(path: str) -> str:
    """Return the identity of the file at a path, "-" if there is none that can be looked at."""
    try:
        return identity(os.stat(path))
    except OSError:
        return "-"


def sync_folder(path: str) -> None:
    """Bring the names in the folder to the disk."""
    with opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd:
        os.fsync(fd)
