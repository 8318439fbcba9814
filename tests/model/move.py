"""popips/move.py: moves all grants, when popips.conf names another map, key or value than they were made by."""

from __future__ import annotations

from tests.model import maps
from tests.model.settle import leave_lock
from tests.model.world import Known, Move, World, addresses, record, slot, sync_records, unsettle


def move(world: World, me: int, known: Known) -> list[Move]:
    """move(): have records as popips.conf says by now. A run does that, and popips-db; maybe both at once."""
    conf, then = known
    if world.made == conf or not world.host.has("changed settings move the grants"):
        return [(world, *then)]
    made = world.made
    if not world.host.has("the new settings are kept once the old records have gone"):
        world = world._replace(made=conf)
    return [(world, take_out, (conf, made, then))]


def take_out(world: World, me: int, known: Known) -> list[Move]:
    """_empty(): with the writers' lock of the old map, unsettle all stamps, so that the next run looks at them; ..."""
    conf, made, then = known
    old = world.host.settings[made]
    if world.host.has("move takes the old map's lock"):
        if world.locks[old.map] not in (None, me):
            return []
        world = maps.writer(world, me, old.map)
    if world.made not in (made, conf) and world.host.has("move asks once more under the lock"):
        return [(leave_lock(world, me), move, (conf, then))]
    for a in addresses(world) if world.host.has("move unsettles the stamps") else ():
        world = unsettle(world, a)
    return [(world, empty, known)]


def empty(world: World, me: int, known: Known) -> list[Move]:
    """... take their records out."""
    conf, made, then = known
    old = world.host.settings[made]
    if world.host.own:
        nothing = tuple((slot(world, old, a), None) for a in addresses(world))
        return maps.rebuild(world, me, old.map, nothing, (keep, (conf, then)))
    names = [a for a, one in enumerate(world.stamps) if one and record(world, old, a) == old.value]
    changes = tuple((slot(world, old, a), None) for a in names)
    return maps.change(maps.Change(world.builds[old.map], old, changes, (keep, (conf, then)), (empty, known)), world)


def keep(world: World, me: int, known: Known) -> list[Move]:
    """form.keep(): only then may the new settings make records."""
    conf, then = known
    if world.host.has("the emptied map is synced before the new settings are kept"):
        world = sync_records(world)
    return [(leave_lock(world._replace(made=conf), me), *then)]
