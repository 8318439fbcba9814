"""Settles many addresses in batches, and lets other writers, which are logins, have the lock in between."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from popips.maps import Full
from popips.policy import Bars
from popips.settle import settle
from popips.site import Site

BATCH = 500  # addresses that are settled with one change of the map
HOLD = 0.0005  # seconds that the lock of a map of its own is to be held at once
LEAST, LARGEST = 10, 100  # addresses that are settled with one change of that
TURN = 0.05  # seconds after which other writers may have theirs
Thing = TypeVar("Thing")


def batches(things: Iterable[Thing]) -> Iterator[list[Thing]]:
    """Return so many addresses, or logins, at a time as one change of the map is made for."""
    left = iter(things)
    while batch := list(islice(left, BATCH)):
        yield batch


def in_turns(site: Site, names: Iterable[str], bars: Bars) -> Iterator[dict[str, str]]:
    """Settle the addresses, and return the fates of each batch as soon as they are done.

    Raise MapError or StampError; what was done until then is whole. Where the disk is full, smaller batches are tried.
    """
    left = site.followed("grants settled", names)
    batch = list(islice(left, BATCH))
    if not batch:
        return
    is_own = site.form.place.own
    size = LEAST if is_own else len(batch)  # for how long the lock is held is known only after the first
    with site.writer() as writer:
        turn = time.monotonic() + TURN
        while batch:
            now = batch[:size]
            began = time.monotonic()
            try:
                fates = settle(site, writer, now, {}, bars)
            except Full:
                if size == 1:
                    raise
                size //= 2
                continue
            yield fates
            batch = batch[len(now) :]
            if is_own and writer.held:
                free = time.monotonic() - began - writer.held
                if free < writer.held:  # flock(2) hands nothing over: taken again at once, it would never be theirs
                    time.sleep(writer.held - free)
                size = max(LEAST, min(LARGEST, int(len(now) * min(2.0, HOLD / writer.held))))
            batch += islice(left, max(0, max(size, BATCH) - len(batch)))
            if batch and time.monotonic() > turn:
                writer.give_way(time.monotonic() + site.wait)
                turn = time.monotonic() + TURN
