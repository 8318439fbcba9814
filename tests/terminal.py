"""A terminal, for programs that write otherwise on one than into a pipe."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Sequence

from tests.box import CRON_ENVIRONMENT


def shown(command: Sequence[str], columns: int = 80, **env: str) -> tuple[int, str]:
    """Run a command on a terminal of that width; return its exit status, and all that is shown there."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env={**CRON_ENVIRONMENT, **env})
    os.close(its)
    data = b""
    try:
        while more := os.read(ours, 65536):
            data += more
    except OSError:  # EIO: nobody has it open any more
        pass
    os.close(ours)
    return process.wait(), data.decode().replace("\r\n", "\n")
