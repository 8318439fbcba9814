"""What a format makes of lines, and the lines with their verdicts in tests/data/logs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from follower import formats
from popips import address

LOGS = Path(__file__).parent.parent / "data" / "logs"
FORGED = "198.51.100.66"  # the address in all that is hostile
NOW = 1_795_269_600.0  # seconds since the epoch: about the time of the lines


@dataclass(frozen=True)
class Row:
    """A line, and what it says, as told() writes it: nothing for one that is no login."""

    verdict: str
    line: str


def rows(name: str) -> list[Row]:
    """Return the rows of a log: `+ SERVICE ADDRESS USER | LINE`, or `- | LINE` for a line that is no login."""
    text = (LOGS / f"{name}.log").read_text(encoding="utf-8", errors="replace")
    split = [row.partition(" | ") for row in text.split("\n")[:-1]]
    return [Row(re.sub(r"^(?:-|\+ )", "", verdict), line) for verdict, _, line in split]


def told(name: str, lines: Iterable[str]) -> list[str]:
    """Return what each line says to a format that reads them in order: `SERVICE ADDRESS USER`, or nothing."""
    following = formats.load(name)
    found = [following.read(line, NOW) for line in lines]
    return [f"{one.service} {_canonical(one.address)} {one.user}" if one else "" for one in found]


def logins(name: str, lines: Iterable[str]) -> list[str]:
    """Return the logins that a format finds in lines."""
    return [one for one in told(name, lines) if one]


def _canonical(text: str) -> str:
    try:
        return address.parse(text)
    except address.Refused:
        return text
