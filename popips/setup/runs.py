"""The commands of a set-up, as setup runs them."""

from __future__ import annotations

import subprocess
from tempfile import TemporaryFile

from popips.probe.machine import ENVIRONMENT
from popips.setup.step import Command

LONGEST = 600  # seconds: a sendmail without a full host name takes one minute to start


def run(command: Command, keeps: tuple[int, ...] = ()) -> tuple[int, str]:
    """Run a command; return its exit status and what it said. keeps: descriptors that it gets, too.

    What it says goes into a file: a daemon that service(8) has started keeps a pipe open for as long as it lives.
    """
    if command[:2] == ("systemctl", "restart"):  # five starts within ten seconds are all that systemd lets one have
        run(("systemctl", "reset-failed", *command[2:]))
    with TemporaryFile("w+", encoding="utf-8", errors="backslashreplace") as said:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env={**ENVIRONMENT, "HOME": "/root"},
                pass_fds=keeps,
                timeout=LONGEST,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return 124, f"no end after {LONGEST} seconds"
        except OSError as error:
            return 127, error.strerror or str(error)
        said.seek(0)
        return done.returncode, said.read().strip()
