"""A full disk: of memory, or an ext4, filled to the last byte or nearly so."""

from __future__ import annotations

import os

from tests.torture import Row
from tests.torture.fail import CHOSEN, wrong
from tests.torture.ground import Ground, Where
from tests.torture.judge import Judge
from tests.torture.programs import EXPIRE
from tests.torture.scenarios import prepared
from tests.torture.trace import spread

DISKS = ("tmpfs", "ext4")
BLOCK = 4096
LEFT = [0, 1, 2, 3, 5, 8]  # blocks that are still free


def run(where: Where, kind: str, most: int = 8) -> Row:
    """Run each scenario on the small disk that the folder of `where` is on; kind: of the disk, for the row's name.

    most: amounts of room that are tried.
    """
    row = Row(f"a full disk, {kind}")
    for scenario in CHOSEN:
        for left in spread(LEFT, most):
            with where.ground(scenario.kind, scenario.own) as ground:
                judge = Judge(ground, scenario, prepared(ground, scenario, 200))
                with _filled(ground, left):
                    fault = wrong(ground, scenario.program, scenario.program.run(ground), 0)
                EXPIRE.run(ground)
                after = judge.after(EXPIRE)
            name = f"{scenario.name}, {left} blocks left: "
            row.add(name + fault + after.fault if fault or after.fault else "", after.lost, after.bare)
    return row


class _filled:  # noqa: N801 (used like a function)
    """In a `with`: no more than so many blocks are free."""

    def __init__(self, ground: Ground, left: int) -> None:
        self._path, self._left = ground.folder / "filler", left

    def __enter__(self) -> None:
        with self._path.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\1" * BLOCK)
            except OSError:
                os.ftruncate(file.fileno(), max(0, file.tell() // BLOCK - self._left) * BLOCK)

    def __exit__(self, *_: object) -> None:
        self._path.unlink()
