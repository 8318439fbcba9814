"""What a verb of popips-db gets: the settings, the map to work on, and the words of the command line."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

from popips import command, upkeep
from popips.maps import Place
from popips.settings import Settings

PROGRAM = "popips-db"


@dataclass(frozen=True)
class Task:
    """One call of the program; place: the map of popips.conf, or the one that -m names."""

    settings: Settings
    place: Place
    options: argparse.Namespace

    @property
    def has_grants(self) -> bool:
        """Whether this is the map that the grants are in."""
        return self.place == self.settings.map

    def needs_grants(self, verb: str) -> None:
        """Raise UsageError if this is another map than the one that the grants are in."""
        if not self.has_grants:
            raise command.UsageError(f"{verb}: grants are in the map of {self.options.conf}, not in {self.place}")


def patience() -> float:
    """Return until when, by time.monotonic(), a verb waits for a lock."""
    return time.monotonic() + upkeep.PATIENCE
