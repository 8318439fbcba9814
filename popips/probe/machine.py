"""The host that is asked: this one, or the files of one below a folder, of which nothing is run."""

from __future__ import annotations

import errno
import glob
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

PATIENCE = 5.0  # seconds that another program may take for its answer
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


@dataclass(frozen=True)
class Answer:
    """What a program said; status: its exit status, 127 if there is no such program, 124 if it took too long."""

    status: int
    out: str
    err: str


NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV)
NO_ANSWER = 124  # status, as timeout(1) has it
NOT_RUN = Answer(127, "", "not run")


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


@dataclass(frozen=True)
class Machine:
    """A host; root: the folder that its files are below, "" for this one. All paths are as the host itself has them."""

    root: str = ""

    @property
    def runs(self) -> bool:
        """Whether its programs can be asked."""
        return not self.root

    def path(self, path: str) -> str:
        """Return where a file of the host is to be found from here."""
        return f"{self.root}{path}"

    def read(self, path: str, newline: str | None = None) -> str:
        """Return the text of a file, "" if there is none; bytes that are no UTF-8 are escaped. Raise OSError.

        A folder in a file's place is none, nor is a link that leads to itself or a socket, and a pipe that nobody
        writes to is empty: nothing waits for it. newline: as open() has it.
        """
        try:
            with open(self.path(path), errors="backslashreplace", newline=newline, opener=_at_once) as file:
                return file.read()
        except OSError as error:
            if error.errno not in NO_FILE:
                raise
            return ""

    def glob(self, pattern: str) -> Iterator[str]:
        """Return the paths that match, in order."""
        return (path[len(self.root) :] for path in sorted(glob.glob(self.path(pattern))))

    def packaged(self, package: str) -> tuple[int, int] | None:
        """Return the first two numbers of a Debian package's version; None if it is not there, or this no Debian."""
        pattern = rf"^Package: {re.escape(package)}\n(?:.+\n)*?Version: (?:\d+:)?(\d+)\.(\d+)"
        found = re.search(pattern, self.read("/var/lib/dpkg/status"), re.MULTILINE)
        return (int(found[1]), int(found[2])) if found else None

    def ask(self, *command: str, typed: str = "", patience: float = PATIENCE) -> Answer:
        """Return what a program says; typed: its standard input; patience: in seconds.

        Nothing is run of a host that is only files.
        """
        if not self.runs:
            return NOT_RUN
        try:
            done = subprocess.run(
                command,
                input=typed,
                capture_output=True,
                text=True,
                errors="backslashreplace",
                env=ENVIRONMENT,
                timeout=patience,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Answer(NO_ANSWER, "", f"no answer after {patience:.0f} seconds")
        except OSError as error:
            return Answer(127, "", error.strerror or str(error))
        return Answer(done.returncode, done.stdout, done.stderr)
