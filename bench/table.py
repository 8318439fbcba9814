"""The rows of the table, and how they are judged and printed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

Times = list[float]
Figure = Callable[[Times], float]


def share(part: float) -> Figure:
    """Return the function that finds the value which this part of the values does not exceed."""
    return lambda values: sorted(values)[max(0, math.ceil(part * len(values)) - 1)]


median, longest = share(0.5), max


@dataclass
class Row:
    """One promise: `figure` of ours is at most `limit` times that of theirs, or at most `limit` if it is absolute."""

    what: str
    against: str
    limit: float
    ours: Times
    theirs: Times | None = None
    figure: Figure = median
    unit: str = "ms"  # of ours and theirs
    absolute: bool = False

    @property
    def value(self) -> float:
        """What is compared with the limit."""
        return self.figure(self.ours) / (1 if self.absolute else self.figure(self.theirs or []))

    @property
    def verdict(self) -> str:
        """Return pass or FALLS SHORT."""
        return "pass" if self.value <= self.limit else "FALLS SHORT"

    def line(self) -> str:
        """Return the row as a line of the table."""
        unit = self.unit if self.absolute else "x"
        shown = f"{self.value:.2f} {unit}"
        return (
            f"{self.what:<44} {self._numbers(self.ours)}  {self.against:<27} {self._numbers(self.theirs)} "
            f"{self.unit:<3} {shown:>10} {f'{self.limit:g} {unit}':>7}  {self.verdict}"
        )

    def _numbers(self, values: Times | None) -> str:
        if not values:
            return f"{'-':>9}" * 3
        shown = self.figure(values), share(0.1)(values), share(0.9)(values)
        return "".join(f"{value:>9,.0f}" if value >= 1000 else f"{value:>9.4g}" for value in shown)


def middle(runs: list[list[Row]]) -> list[Row]:
    """Return each row as it was in the run that has its median value."""
    return [sorted(rows, key=lambda row: row.value)[(len(rows) - 1) // 2] for rows in zip(*runs)]


def printed(rows: list[Row]) -> str:
    """Return the table; where a row is about a p99 or the longest time, that stands in place of the median."""
    numbers = "".join(f"{word:>9}" for word in ("median", "p10", "p90"))
    head = f"{'what':<44} {numbers}  {'against':<27} {numbers} {'':<3} {'value':>10} {'limit':>7}"
    return "\n".join([head, *(row.line() for row in rows)])
