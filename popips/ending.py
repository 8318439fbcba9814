"""Ends grants before their time, for `popips-db end`: the records of ours first, and then the stamps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice

from popips import upkeep
from popips.grants import rebuild, take_out
from popips.maps import Unsound
from popips.settings import Settings
from popips.stamps import Folder


def end(settings: Settings, names: list[str], now: float) -> Iterator[list[str]]:
    """End the grants of these addresses; give a batch of those that had one as soon as it has ended.

    Raise MapError or StampError.
    """
    wanted = dict.fromkeys(names)
    with Folder(settings.stamps) as folder:
        while batch := list(islice(wanted, upkeep.BATCH)):
            yield _taken_out(settings, folder, partial(filter, folder.get, batch), now)
            for name in batch:
                del wanted[name]


def end_all(settings: Settings, now: float) -> Iterator[list[str]]:
    """End all grants; otherwise as end(). Where there is none, the map need not be there."""
    with Folder(settings.stamps) as folder:
        size = upkeep.BATCH
        while size == upkeep.BATCH:
            ended = _taken_out(settings, folder, lambda: (name for name, _ in folder.scan()), now)
            size = len(ended)
            yield ended


def _taken_out(settings: Settings, folder: Folder, which: Callable[[], Iterable[str]], now: float) -> list[str]:
    """End the first grants of those that which tells: a batch, for logins wait for the map's lock meanwhile."""

    def batch() -> list[str]:
        return list(islice(which(), upkeep.BATCH))

    if not batch():
        return []
    try:
        return take_out(settings, folder, batch, now, time.monotonic() + upkeep.PATIENCE)
    except Unsound:
        rebuild(settings, folder, now, math.inf)
        return take_out(settings, folder, batch, now, time.monotonic() + upkeep.PATIENCE)
