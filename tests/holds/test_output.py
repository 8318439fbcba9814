"""A run that hangs in its own output, or hangs at all, is in nobody's way."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.box import CRON_ENVIRONMENT
from tests.holds.kills import stopped
from tests.holds.room import WINDOW, Room, addresses

NEW = "198.51.100.10"
COUNT = 1500  # far more lines than a pipe of a page holds


@contextmanager
def unread(room: Room, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program whose output nobody reads, from the moment on in which it hangs there."""
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, 4096)
    process = subprocess.Popen(room.inside(command), stdout=writes, stderr=writes, env=CRON_ENVIRONMENT)
    os.close(writes)
    pipe = os.readlink(f"/proc/self/fd/{reads}")
    end = time.monotonic() + 60
    while not any(_hangs(pid, pipe) for pid in filter(str.isdigit, os.listdir("/proc"))):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    try:
        yield process
    finally:
        os.close(reads)
        process.wait()


def _hangs(pid: str, pipe: str) -> bool:
    """Whether a process waits for room in that pipe."""
    try:
        return os.readlink(f"/proc/{pid}/fd/1") == pipe and "pipe_write" in Path(f"/proc/{pid}/wchan").read_text()
    except OSError:
        return False


HANGING = {
    "a run": ("popips-expire", "-v"),
    "a dry run": ("popips-expire", "-n"),
    "a list of grants": ("popips-db", "lst", "--grants"),
    "a list of records": ("popips-db", "lst"),
    "an end of grants that are not there": ("popips-db", "end", *addresses(2 * COUNT)[COUNT:]),
}


@pytest.mark.parametrize("who", HANGING)
def test_output_that_nobody_reads_keeps_no_lock(either: Room, who: str) -> None:
    either.expire()
    either.stamp(addresses(COUNT))
    either.expire()
    if who in ("a run", "a dry run"):
        either.age()
    program, *words = HANGING[who]
    with unread(either, *either.command(program, *words)):
        start = time.monotonic()
        said = either.login(NEW).said
        assert "deferred" not in said, said
        assert time.monotonic() - start < 10
        assert either.records()[NEW] == "RELAY"
        either.age(NEW)
        done = either.run("-v")
        assert done.status == 0
        assert f"removed: address={NEW} " in done.out, done
        assert NEW not in either.records()


def test_a_run_that_finds_another_one_hanging_says_so(room: Room) -> None:
    """Once it has hung for longer than runs are apart; a run that is merely beside another one is quiet."""
    room.login(NEW)
    room.expire()
    room.age()
    with stopped(room, room.command("popips-expire"), ("unlinkat", 1)):
        assert holds(room)
        room.syslog.taken()  # what it had logged itself
        beside = room.run()
        assert (beside.status, beside.said.strip()) == (0, "")
        room.let_pass(WINDOW)
        assert "another run hangs" in room.run().said


def holds(room: Room) -> bool:
    """Whether somebody holds the lock of the runs."""
    with (room.stamps / ".expire").open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
