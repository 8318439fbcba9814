"""A file system that keeps whole seconds: what happens within one of them looks alike to whoever goes by mtimes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from tests.torture import Row
from tests.torture.ground import Ground, Where
from tests.torture.judge import Judge
from tests.torture.programs import EXPIRE, KNOWN, NEW
from tests.torture.running import Sendmail
from tests.torture.scenarios import Scenario, grant, granted, prepared, text_of

SOON = 0.1  # of a second that has just begun


def rebuild(ground: Ground, static: dict[str, str]) -> None:
    """Have makemap build the map in place."""
    ground.build(text_of(static))


def rename(ground: Ground, static: dict[str, str]) -> None:
    """Have it make another, and rename that over the map."""
    ground.db.rename(ground.folder / "old.db")
    ground.build(text_of(static))
    (ground.folder / "old.db").unlink()


def put_back(ground: Ground, static: dict[str, str]) -> None:
    """Build it in place, and set its time back to what it was."""
    then = ground.db.stat().st_mtime_ns
    ground.build(text_of(static))
    os.utime(ground.db, ns=(then, then))


def nothing(ground: Ground, static: dict[str, str]) -> None:
    """Leave the map alone: what is asked is whether an open connection sees the grant."""


DEEDS: dict[str, Callable[[Ground, dict[str, str]], None]] = {
    deed.__name__: deed for deed in (rebuild, rename, put_back, nothing)
}


def run(where: Where, rounds: int) -> Row:
    """Grant, and within the same second do that to the map; the next run leaves all as it must be."""
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
                    begun = _next_second()
                    grant(ground, NEW if number % 2 else f"192.0.2.{100 + number}")
                    deed(ground, static)
                    EXPIRE.run(ground)
                    after = judge.after(EXPIRE, sendmail)
                row.add(f"{name}, round {number}: {after.fault}" if after.fault else "", after.lost, after.bare)
                row.worst = max(row.worst, time.time() - begun)
    return row


def _settle(ground: Ground) -> None:
    EXPIRE.run(ground)


def _next_second() -> float:
    """Wait for the clock's next whole second, and return what it says then."""
    time.sleep(1 - time.time() % 1)
    return time.time()
