"""The lines of a log that comes on a descriptor, in batches of those that wait already: none waits for another."""

from __future__ import annotations

import fcntl
import os
import select

LONGEST = 8192  # bytes of a line: syslogd has 8192 at most (rsyslog's $MaxMessageSize)
CHUNK = 1 << 16  # bytes to read at once
BATCH = 1 << 22  # bytes of a batch, about
PIPE = 1 << 20  # bytes that a pipe may hold, of the lines that come while others are granted: see pipe(7)
PIPE_SIZE = 1031  # fcntl.h: F_SETPIPE_SZ, which Python has since 3.10


class Lines:
    """The lines on a descriptor; those that are longer than `longest` bytes are left out as a whole."""

    def __init__(self, fd: int, longest: int = LONGEST) -> None:
        """Begin to read; have a pipe hold more than it does, where it may."""
        self._fd, self._longest = fd, longest
        self._rest = b""  # of a line whose end has not come; never more than shows that it is too long
        self.ended = False
        try:
            fcntl.fcntl(fd, PIPE_SIZE, PIPE)
        except OSError:
            pass  # a file, or a user's pipes are full

    def batch(self, patience: float) -> list[str]:
        """Return the lines that are there, without their newlines; wait until there are bytes, `patience` s at most.

        Where `ended` is set, no more will come: a last line without its end is none.
        """
        found: list[str] = []
        size = 0
        while size < BATCH and select.select([self._fd], [], [], 0 if size else patience)[0]:
            data = os.read(self._fd, CHUNK)
            if not data:
                self.ended = True
                break
            size += len(data)
            whole, newline, rest = (self._rest + data).rpartition(b"\n")
            # in bytes or in characters: what is too long stays so
            self._rest = rest if len(rest) <= self._longest else b"x" * (self._longest + 1)
            if newline:
                found += [line for line in whole.decode("utf-8", "replace").split("\n") if len(line) <= self._longest]
        return found
