"""What must hold wherever all have ended: at once, after the next run, and once the window is over."""

from __future__ import annotations

from tests.model import run
from tests.model.world import DEAD, STATIC, TORN, WINDOW, Known, Step, World, addresses, is_due, record

RUNNER = 9  # the number of the process that does the next run
HANGS = "the next run does not come to an end"
OPEN = "denied, and open"


def next_run(world: World) -> World | None:
    """Return the world after another run, alone; None if that hangs."""
    step: Step | str = run.run
    known: Known = ()
    while not isinstance(step, str):
        moves = [move for move in step(world, RUNNER, known) if move[1] != DEAD]
        if not moves:
            return None
        world, step, known = moves[0]
    return world


def faults(world: World, was_static: bool) -> list[str]:
    """Return what is wrong with a world in which all have ended; was_static: whether there was a static record."""
    now = world.host.settings[world.version.conf]
    open_now = [a for a in addresses(world) if record(world, now, a) == now.value]
    found = [OPEN for a in open_now if a in world.denied & world.shut]
    after = next_run(world)
    if after is None:
        return [*found, HANGS]
    found += of_records(after) + of_grants(after) + of_logins(world, after)
    if any(was == STATIC != value for was, value in zip(world.records, after.records)):
        found.append("a static record is lost")
    if was_static and STATIC not in after.records:
        found.append("a static record is lost")
    late = next_run(after._replace(now=after.now + WINDOW))
    if late is None:
        return [*found, HANGS]
    if any(late.stamps) or any(is_ours(late, value) for value in late.records):
        found.append("open for ever")
    return found


def of_logins(world: World, after: World) -> list[str]:
    """Return what is wrong after a run with what logins were told, and with what the admin was."""
    found = []
    now = world.host.settings[world.version.conf]
    for a in addresses(world):
        told, stamp = world.promises[a], after.stamps[a]
        is_void = a in world.denied | world.text or told <= max(world.waived[a], world.now - WINDOW)
        others = [one.time for b, one in enumerate(after.stamps) if one and b != a]
        is_one_too_many = world.host.most and any(time >= told for time in others)
        if not (is_void or is_one_too_many or record(after, now, a) in (now.value, STATIC)):
            found.append("told yes, and not open after a run")
        if stamp and stamp.time <= world.ended[a] and world.host.ticks:
            found.append("ended by the admin, and came back")
    return found


def is_ours(world: World, value: str | None) -> bool:
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
        found.append(OPEN)
    if any(a in after.text for a in open_now):
        found.append("the text says otherwise, and open")
    if after.host.most and len(open_now) > after.host.most:
        found.append("more than max_per_user")
    return found
