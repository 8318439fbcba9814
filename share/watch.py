"""What changes in the stamp folder, by inotify(7)."""

from __future__ import annotations

import ctypes
import os
import struct

# sys/inotify.h
CLOSE_WRITE, MOVED_FROM, MOVED_TO, DELETE, DELETE_SELF, MOVE_SELF = 0x8, 0x40, 0x80, 0x200, 0x400, 0x800
OVERFLOW, IGNORED, ONLYDIR, DONT_FOLLOW = 0x4000, 0x8000, 0x1000000, 0x2000000
CHANGED = CLOSE_WRITE | MOVED_FROM | MOVED_TO | DELETE
GONE = DELETE_SELF | MOVE_SELF | IGNORED
HEAD = struct.Struct("iIII")  # wd, mask, cookie, and how long the name is that follows
CHUNK = 1 << 16  # bytes


class Lost(Exception):
    """Nobody knows what has changed: there was too much at once, or the folder has gone."""


class Watch:
    """A folder that is watched from now on; raise OSError if it cannot be."""

    def __init__(self, path: str) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        mask = CHANGED | DELETE_SELF | MOVE_SELF | ONLYDIR | DONT_FOLLOW
        if self.fd < 0 or libc.inotify_add_watch(self.fd, os.fsencode(path), mask) < 0:
            error = OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
            self.close()
            raise error

    def close(self) -> None:
        """Watch it no more."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def names(self) -> set[str]:
        """Return the names of the files that have changed, come or gone since; raise Lost."""
        found: set[str] = set()
        while True:
            try:
                data = os.read(self.fd, CHUNK)
            except BlockingIOError:
                return found
            start = 0
            while start < len(data):
                _, mask, _, length = HEAD.unpack_from(data, start)
                start += HEAD.size + length
                if mask & (OVERFLOW | GONE):
                    raise Lost
                found.add(os.fsdecode(data[start - length : start].rstrip(b"\0")))
