"""strace(1), as the tests use it: it stops a program at the calls that it is asked for, and at no other."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

STRACE = ("strace", "--seccomp-bpf", "-f", "-qq")  # behind it the options, with -e trace=, and the command


def on(paths: Iterable[str | Path]) -> list[str]:
    """Return the options that pick the calls on these files and folders."""
    return [word for path in paths for word in ("-P", str(path))]


def injecting(call: str, what: str) -> list[str]:
    """Return the words that let that happen at a call, "signal=KILL:when=3" for instance; strace itself is quiet."""
    return [*STRACE, "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:{what}"]
