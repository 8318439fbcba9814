"""What one look at the host found, and what all looks start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from popips.probe.machine import Machine
from popips.settings import Settings

OK, WARN, FAIL, SKIP = "ok", "warn", "fail", "skip"


@dataclass(frozen=True)
class Check:
    """One look. id: its name, which never changes its meaning; fix: a command or a line to paste."""

    id: str
    status: str
    found: str
    wanted: str = ""
    evidence: str = ""
    fix: str = ""


@dataclass(frozen=True)
class Patient:
    """The host under examination. conf: the path of popips.conf; now: seconds since the epoch."""

    machine: Machine
    conf: str
    settings: Settings
    now: float


Look = Callable[[Patient], Iterator[Check]]
