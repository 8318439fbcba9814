"""A running sendmail that has the map open, and is asked for records of it while popips changes it."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

CF = """V10/Berkeley
Kaccess hash {map}
O DontBlameSendmail=MapInUnsafeDirPath
Mprog, P=/bin/sh, A=sh
Mlocal, P=/bin/sh, A=sh
"""
# without a dot in its host name sendmail waits a minute for one
START = 'hostname mail.test && exec /usr/libexec/sendmail/sendmail -bt "-C$1"'


class Sendmail:
    """sendmail at its address test prompt; for the end of it, use as a context."""

    def __init__(self, db: Path) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".cf") as cf:
            cf.write(CF.format(map=db.with_suffix("")))
            cf.flush()
            self.process = subprocess.Popen(
                ["unshare", "--uts", "sh", "-c", START, "sh", cf.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            self.ask(["popips"])  # by now it has read its configuration and opened the map

    def __enter__(self) -> Sendmail:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def ask(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the records that it finds; "tempfail" is the value of one that it cannot look up."""
        assert self.process.stdin and self.process.stdout
        found = {}
        for key in keys:
            self.process.stdin.write(f"/map access {key}\n")
            self.process.stdin.flush()
            answer = None
            while not answer:  # a warning may stand before it
                line = self.process.stdout.readline()
                assert line, "sendmail is gone"
                answer = re.search(r"(?:returns (.*)|no match) \((\d+)\)$", line)
            if answer[2] != "0":
                found[key] = "tempfail"
            elif answer[1] is not None:
                found[key] = answer[1]
        return found
