"""What must hold wherever all have ended: at once, after the next run, and once the window is over."""

from __future__ import annotations

from typing import Optional

from tests.model import run
from tests.model.world import DEAD, NEVER, STATIC, TORN, WINDOW, Step, World, addresses, is_due, record

RUNNER = 9  # the number of the process that does the next run
HANGS = "the next run does not come to an end"


def next_run(world: World) -> Optional[World]:
    """Return the world after another run, alone; None if that hangs."""
    step: Step | str = run.run
    known: tuple = ()  # type: ignore[type-arg]
    while not isinstance(step, str):
        moves = [move for move in step(world, RUNNER, known) if move[1] != DEAD]
        if not moves:
            return None
        world, step, known = moves[0]
    return world


def faults(world: World, was_static: bool) -> list[str]:
    """Return what is wrong with a world in which all have ended."""
    now = world.host.settings[world.version.conf]
    found = []
    for a in world.denied:
        if world.ended[a] != NEVER and record(world, now, a) == now.value:
            found.append("denied, and open")
    after = next_run(world)
    if after is None:
        return [*found, HANGS]
    found += of_records(after) + of_grants(after)
    if (
        any(was == STATIC != value for was, value in zip(world.records, after.records))
        or was_static
        and STATIC not in after.records
    ):
        found.append("a static record is lost")
    for a in addresses(world):
        told, stamp = world.promises[a], after.stamps[a]
        excused = (
            a in world.denied | world.text or told <= world.waived[a] or record(after, now, a) in (now.value, STATIC)
        )
        if told > world.now - WINDOW and not excused:
            later = [one.time for b, one in enumerate(after.stamps) if one and b != a]
            if not (world.host.most and any(time >= told for time in later)):
                found.append("told yes, and not open after a run")
        if stamp and stamp.time <= world.ended[a] and world.host.ticks:
            found.append("ended by the admin, and came back")
    late = next_run(after._replace(now=after.now + WINDOW))
    if late is None:
        return [*found, HANGS]
    if any(late.stamps) or any(is_ours(late, value) for value in late.records):
        found.append("open for ever")
    return found


def is_ours(world: World, value: Optional[str]) -> bool:
    """Whether a record has the value of a grant by any settings."""
    return value in [settings.value for settings in world.host.settings]


def of_records(after: World) -> list[str]:
    """Return what is wrong with the map after a run."""
    found = []
    size = len(after.stamps)
    now = after.host.settings[after.version.conf]
    for slot, value in enumerate(after.records):
        if value == TORN:
            found.append("the map is not sound")
        if is_ours(after, value) and after.stamps[slot % size] is None:
            found.append("a record without a stamp")
        elif is_ours(after, value) and (slot // size, value) != (now.place, now.value):
            found.append("a record by other settings")
    return found


def of_grants(after: World) -> list[str]:
    """Return what is wrong with the grants after a run."""
    found = []
    now = after.host.settings[after.version.conf]
    open_now = [a for a in addresses(after) if record(after, now, a) == now.value]
    for a, stamp in enumerate(after.stamps):
        if stamp and not is_due(after, stamp) and a not in {*after.denied, *after.text, *open_now}:
            found.append("a live stamp without a record")
    if any(a in after.denied for a in open_now):
        found.append("denied, and open")
    if any(a in after.text for a in open_now):
        found.append("the text says otherwise, and open")
    if after.host.most and len(open_now) > after.host.most:
        found.append("more than max_per_user")
    return found
