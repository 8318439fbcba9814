"""make torture: nothing lost, nothing left open, whatever happens. Each module here is one kind of harm."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Row:
    """A line of the table: how often it was tried, and what came of it."""

    name: str
    cases: int = 0
    survived: int = 0
    lost: int = 0  # records of the admin's, or logins, that were gone
    open: int = 0  # records of ours without a stamp
    worst: float = 0.0  # seconds: the longest that a login was held up, where that was looked at
    faults: list[str] = field(default_factory=list)  # what went wrong, in words
    figures: list[str] = field(default_factory=list)  # what else was measured

    def add(self, fault: str, lost: int = 0, left_open: int = 0) -> None:
        """Count one case; fault is "" if it went as it must."""
        self.cases += 1
        self.survived += not fault
        self.lost += lost
        self.open += left_open
        if fault:
            self.faults.append(fault)
