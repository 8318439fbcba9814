"""Lines to syslog, facility mail, without ever waiting for who reads them.

syslog(3) blocks when nobody empties /dev/log, after some ten messages: a login would hang on its own log line.
"""

from __future__ import annotations

import posix as os  # os itself costs a login two milliseconds
import sys
import time
from _socket import AF_UNIX, MSG_DONTWAIT, SOCK_DGRAM, socket

SOCKET = "/dev/log"
MAIL = 2 << 3  # syslog.h: LOG_MAIL
ERROR, WARNING, INFO = 3, 4, 6
LONGEST = 1000  # characters of a message


class Log:
    """The log of one program. Where it cannot be written, that is said once on standard error, with the line."""

    def __init__(self, program: str) -> None:
        self.program = program
        self._said = False
        self._socket: socket | None = None

    def line(self, level: int, text: str) -> None:
        """Send one line as `program[pid]: text`."""
        text = "".join(c if c.isprintable() else "?" for c in text)[:LONGEST]
        stamp = time.strftime("%b %e %H:%M:%S")  # RFC 3164, section 4.1.2
        message = f"<{MAIL | level}>{stamp} {self.program}[{os.getpid()}]: {text}"
        try:
            self._socket = self._socket or socket(AF_UNIX, SOCK_DGRAM)
            # not connected: a syslogd that is started again has another socket
            self._socket.sendto(message.encode(errors="replace"), MSG_DONTWAIT, SOCKET)
        except OSError as error:
            if not self._said:
                self._said = True
                sys.stderr.write(f"{self.program}: cannot log to {SOCKET} ({error.strerror}): {text}\n")
