"""One line to syslog, facility mail, without ever waiting for who reads it.

syslog(3) blocks when nobody empties /dev/log, after some ten messages: a login would hang on its own log line.
"""

from __future__ import annotations

import os
import sys
import time
from _socket import AF_UNIX, MSG_DONTWAIT, SOCK_DGRAM, socket

SOCKET = "/dev/log"
MAIL = 2 << 3  # syslog.h: LOG_MAIL
ERROR, WARNING, INFO = 3, 4, 6
LONGEST = 1000  # bytes of a message


def line(program: str, level: int, text: str) -> None:
    """Send one line as `program[pid]: text`; where that is not possible, say it on standard error."""
    text = "".join(c if c.isprintable() else "?" for c in text)[:LONGEST]
    stamp = time.strftime("%b %e %H:%M:%S")  # RFC 3164, section 4.1.2
    message = f"<{MAIL | level}>{stamp} {program}[{os.getpid()}]: {text}"
    try:
        channel = socket(AF_UNIX, SOCK_DGRAM)
        try:
            channel.connect(SOCKET)
            channel.send(message.encode(errors="replace"), MSG_DONTWAIT)
        finally:
            channel.close()
    except OSError as error:
        sys.stderr.write(f"{program}: cannot log to {SOCKET} ({error.strerror}): {text}\n")
