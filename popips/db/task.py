"""What a verb of popips-db gets: the settings, the map to work on, and the words of the command line."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from popips import command
from popips.maps import Place
from popips.settings import Settings
from popips.site import PATIENCE, Site, site

PROGRAM = "popips-db"


@dataclass(frozen=True)
class Task:
    """One call of the program; place: the map of popips.conf, or another by -m; now: seconds since the epoch."""

    settings: Settings
    place: Place
    options: argparse.Namespace
    now: float

    @property
    def has_grants(self) -> bool:
        """Whether this is the map that the grants are in."""
        return self.place == self.settings.map

    @property
    def text(self) -> str:
        """The path of the text file that the map is made from, "" if there is none."""
        return self.settings.source(self.place)

    @property
    def until(self) -> float:
        """When to give up waiting for a lock, by time.monotonic()."""
        return time.monotonic() + PATIENCE

    def host(self, verb: str) -> Site:
        """Return the host, for a `with`; raise UsageError if the grants are in another map, StampError."""
        if not self.has_grants:
            raise command.UsageError(f"{verb}: grants are in the map of {self.options.conf}, not in {self.place}")
        return site(self.settings, self.now)

    @contextmanager
    def host_if_any(self) -> Iterator[Site | None]:
        """Give the host in a `with`, None if no stamps go with this map, or there are none at all."""
        if self.has_grants and os.path.lexists(self.settings.stamps):
            with site(self.settings, self.now) as host:
                yield host
        else:
            yield None
