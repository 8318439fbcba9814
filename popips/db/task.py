"""What a verb of popips-db gets: the settings, the map to work on, and the words of the command line."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from popips import command, progress
from popips.maps import Place
from popips.revoke import Edited
from popips.settings import Settings
from popips.site import Site, site

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

    def site(self) -> Site:
        """Return the host, for a `with`; raise StampError if its stamp folder cannot be used."""
        return site(self.settings, time.time(), progress=progress.of(PROGRAM))

    @contextmanager
    def map(self) -> Iterator[Edited]:
        """Return the map for changes by hand, in a `with`; raise StampError."""
        text = self.settings.source(self.place)
        if self.has_grants and os.path.lexists(self.settings.stamps):
            with self.site() as site:
                yield Edited(self.place, text, time.time(), site)
        else:
            yield Edited(self.place, text, time.time())

    def needs_grants(self, verb: str) -> None:
        """Raise UsageError if this is another map than the one that the grants are in."""
        if not self.has_grants:
            raise command.UsageError(f"{verb}: grants are in the map of {self.options.conf}, not in {self.place}")
