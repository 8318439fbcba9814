"""What popips.conf says and this host has not: a run, or a login, would fail on it."""

from __future__ import annotations

import grp
import os
from collections.abc import Iterator

from follower import formats
from popips.settings import Settings


def wrong(settings: Settings) -> Iterator[str]:
    """Return what is wrong, each with the setting and the cure."""
    if settings.only_group:
        try:
            grp.getgrnam(settings.only_group)
        except KeyError:
            yield f"{settings.path}: only_group: there is no group {settings.only_group}: groupadd makes it"
    if settings.follow_pattern:
        try:
            formats.own(settings.follow_pattern, settings.path)
        except formats.FormatError as error:
            yield str(error)
    if settings.drop and not os.path.isdir(settings.drop):
        yield f"{settings.path}: drop: there is no folder {settings.drop}; make it: install -d -m 0711 {settings.drop}"
