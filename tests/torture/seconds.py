"""A file system that keeps whole seconds: what happens within one of them looks alike to whoever goes by mtimes."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.torture import Row
from tests.torture.ground import Ground, Where
from tests.torture.judge import Judge
from tests.torture.programs import EXPIRE, KNOWN, NEW, OTHER
from tests.torture.running import Sendmail
from tests.torture.scenarios import Scenario, grant, granted, prepared, text_of

Deed = Callable[[Ground, str], None]


def rebuild(ground: Ground, text: str) -> None:
    """Have makemap build the map in place."""
    _makemap(ground.db, text)


def rename(ground: Ground, text: str) -> None:
    """Have it make another, and rename that over the map."""
    other = ground.db.with_name("new.db")
    _makemap(other, text)
    other.rename(ground.db)


def put_back(ground: Ground, text: str) -> None:
    """Build it in place, and set its time back to what it was."""
    then = ground.db.stat().st_mtime_ns
    _makemap(ground.db, text)
    os.utime(ground.db, ns=(then, then))


def nothing(ground: Ground, text: str) -> None:
    """Leave the map alone: what is asked is whether an open connection sees the grant."""


DEEDS: dict[str, Deed] = {deed.__name__: deed for deed in (rebuild, rename, put_back, nothing)}


def run(where: Where, rounds: int) -> Row:
    """Grant twice, and within the same second do that to the map; the next run leaves all as it must be.

    A running sendmail has looked between the two grants.
    """
    row = Row("whole seconds")
    for name, deed in DEEDS.items():
        scenario = Scenario(name, EXPIRE, granted(KNOWN))
        with where.ground() as ground:
            static = prepared(ground, scenario, 200)
            assert ground.db.stat().st_mtime_ns % 10**9 == 0, f"{where.folder} keeps parts of a second"
            judge = Judge(ground, scenario, static)
            for number in range(rounds):
                _settle(ground)
                with Sendmail(ground.db) as sendmail:
                    time.sleep(1 - time.time() % 1)
                    grant(ground, OTHER)
                    sendmail.ask(judge.asked)
                    grant(ground, NEW)
                    deed(ground, text_of(static))
                    EXPIRE.run(ground)
                    # one that has another file open never sees this one: that is the admin's doing
                    after = judge.after(EXPIRE, None if deed is rename else sendmail)
                row.add(f"{name}, round {number}: {after.fault}" if after.fault else "", after.lost, after.bare)
    return row


def _settle(ground: Ground) -> None:
    """End the grants of the round before."""
    for name in ground.names() & {OTHER, NEW}:
        os.utime(ground.stamps / name, (0, 0))
    EXPIRE.run(ground)


def _makemap(path: Path, text: str) -> None:
    """Build a map as its admin does, without a word in the text."""
    subprocess.run(["makemap", "hash", str(path)], input=text.encode(), check=True, stderr=subprocess.DEVNULL)
