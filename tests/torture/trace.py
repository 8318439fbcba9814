"""The system calls of a program, as strace finds them, and what it does to one of them."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TypeVar

from popips.stamps import OWN_FILES
from tests.strace import injecting, on
from tests.torture.ground import Ground
from tests.torture.programs import KNOWN, NEW, OTHER, STATIC, Program

T = TypeVar("T")
Done = subprocess.CompletedProcess[str]
Call = tuple[str, int]  # a call, and how many of that name its process has made by then: so strace counts
# at these nothing is done by the program, or it cannot go on for reasons of the kernel's own
NEVER = ("exit", "exit_group", "rt_sigreturn", "wait4", "restart_syscall")


def calls(ground: Ground, program: Program, whole: bool = False) -> list[Call]:
    """Return the calls of a run that touch the site; all that there are of whole processes, if that is asked for.

    Calls that touch no file of the site leave the state of the call before. The program must have done its work: or
    else nothing would be tried.
    """
    start = time.time()
    found, done = traced(ground, program, whole)
    assert done.returncode == 0 and _has_worked(ground, program, start), (program, done)
    return found


def traced(ground: Ground, program: Program, whole: bool = False) -> tuple[list[Call], Done]:
    """Return the same, and how the program ended."""
    seen: Counter[tuple[str, str]] = Counter()
    found: dict[Call, None] = {}
    with tempfile.NamedTemporaryFile("r") as log:
        done = program.run(ground, ("strace", "-f", "-qq", "-o", log.name, *([] if whole else paths(ground))))
        for line in log:
            call = re.match(r"(\d+) +(\w+)\(", line)
            if call and call[2] not in NEVER:
                seen[call[1], call[2]] += 1
                found[call[2], seen[call[1], call[2]]] = None
    return list(found), done


def _has_worked(ground: Ground, program: Program, start: float) -> bool:
    """Whether a login has the grant that it is to have, or another program has changed anything."""
    if program.is_hook:
        stamp = ground.stamps / program.address
        return program.address == STATIC or (stamp.exists() and stamp.stat().st_mtime >= int(start))
    return any(path.lstat().st_ctime >= int(start) for path in ground.folder.rglob("*"))


def paths(ground: Ground) -> list[str]:
    """Return strace's options that pick the calls on the site's files."""
    beside = [Path(f"{ground.conf}.lane"), Path(f"{ground.db}.popips"), ground.stamps / ".requests"]
    stamps = [ground.stamps / name for name in (*sorted(OWN_FILES), NEW, KNOWN, OTHER)]
    files = [ground.conf, ground.access, ground.db, ground.stamps, *beside, *stamps]
    return on(files)


def inject(ground: Ground, program: Program, call: str, what: str, whole: bool = False) -> Done:
    """Run the program, and have that happen to it at a call: "signal=KILL:when=3" for instance."""
    return program.run(ground, (*injecting(call, what), *([] if whole else paths(ground))))


def spread(found: list[T], most: int) -> list[T]:
    """Return so many of them, from all over."""
    return found[:: max(1, -(-len(found) // most))]
