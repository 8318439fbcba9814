"""popips/run.py, and move.py: requests first, then the grants that are due or unsettled, then all, if that is needed."""

from __future__ import annotations

from popips import fate
from tests.model import grant, maps
from tests.model.settle import Counted, Job, fate_of, rebuild, settle
from tests.model.world import (
    Known,
    Move,
    Then,
    World,
    addresses,
    is_due,
    put_records,
    record,
    sealed,
    slot,
    sync_records,
)


def run(world: World, me: int, known: Known) -> list[Move]:
    """alone() and saw(): one run at a time; and what is there is noted before it is read."""
    if world.running is not None:
        return []
    return [(world._replace(running=me), load, (world.version,))]


def load(world: World, me: int, known: Known) -> list[Move]:
    """Read popips.conf and the denials; then move() what was made by other settings."""
    (saw,) = known
    job = (saw, world.version.conf, world.denied)
    return move(world, me, (world.version.conf, (requests, job)))


def requests(world: World, me: int, known: Known) -> list[Move]:
    """serve(): deal with what waits."""
    _, conf, _ = known
    return grant.serve(world, me, (None, conf, (begin, known)))


def begin(world: World, me: int, known: Known) -> list[Move]:
    """holds() and begin(): if anybody else has changed anything since, seal the map as it is, and look at all."""
    saw, conf, denied = known
    settings = world.host.settings[conf]
    if world.locks[settings.map] is not None:
        return []
    world = maps.writer(world, me, settings.map)
    same = world.seen == world.version or not world.host.has("a run knows what the last one saw")
    if same and (sealed(world, settings.map) or not world.host.has("a run asks for the seal")):
        return [(leave_lock(world, me), due, (*known, True))]
    if world.host.has("a run forgets what was seen before it seals"):
        world = world._replace(seen=None)
    if world.host.own:
        return rebuild(world, conf, denied, (due, (*known, False)))
    if world.host.has("a run seals before it looks"):
        world = maps.look(world, settings.map)
    return [(leave_lock(world, me), due, (*known, False))]


def due(world: World, me: int, known: Known) -> list[Move]:
    """in_turns(): settle the stamps that are due and those that are not settled."""
    world = leave_lock(world, me)
    names = tuple(a for a, one in enumerate(world.stamps) if one and (is_due(world, one) or not one.settled))
    return in_turns(world, known[1], names, known[2], (look_at_all, known))


def look_at_all(world: World, me: int, known: Known) -> list[Move]:
    """look_at_all(): settle all grants that are not as they should be; before the lock this is a hint."""
    _, conf, denied, is_known = known
    if is_known or world.host.own:
        return keep(world, me, known)
    job = Job(conf, (), (keep, known), denied=denied)
    names = tuple(a for a in addresses(world) if fate_of(world, job, a) != fate.LEAVE)
    return in_turns(world, conf, names, denied, (keep, known))


def keep(world: World, me: int, known: Known) -> list[Move]:
    """seen.keep(): note what was there when the run began."""
    saw, conf, _, is_known = known
    if not is_known:
        world = world._replace(
            seen=saw if world.host.has("what is kept is what was there at the start") else world.version
        )
        if not world.host.has("a run seals before it looks"):
            world = maps.look(world, world.host.settings[conf].map)
    over = surplus(world) if world.host.has("a run keeps the limit") else ()
    return in_turns(world, conf, tuple(name for name, _ in over), frozenset(), (end, ()), over)


def end(world: World, me: int, known: Known) -> list[Move]:
    """Let the next run begin."""
    return [(leave_lock(world, me)._replace(running=None), "ran", ())]


def in_turns(
    world: World, conf: int, names: tuple[int, ...], denied: frozenset[int], then: Then, over: Counted = ()
) -> list[Move]:
    """in_turns(): settle these with the lock, which others may have before and after that."""
    if not names:
        return [(world, *then)]
    return [(world, turn, Job(conf, names, (give_way, then), denied=denied, surplus=over))]


def turn(world: World, me: int, job: Known) -> list[Move]:
    """Take the writers' lock; nothing of it is done by other settings than the records were made by."""
    assert isinstance(job, Job)
    number = world.host.settings[job.conf].map
    if world.locks[number] is not None:
        return []
    world = maps.writer(world, me, number)
    if world.made != job.conf and world.host.has("only the settings that the records were made by change anything"):
        return end(world, me, ())
    return settle(world, me, job)


def give_way(world: World, me: int, then: Known) -> list[Move]:
    """Give the writers' lock back."""
    return [(leave_lock(world, me), *then)]


def leave_lock(world: World, me: int) -> World:
    """Give back the writers' locks, and keep that on .expire."""
    return world._replace(locks=tuple(None if one == me else one for one in world.locks))


def surplus(world: World, latest: tuple[int, ...] = ()) -> Counted:
    """limits.surplus(): the oldest grants that are more than max_per_user, each with its time."""
    most = world.host.most
    if not most:
        return ()
    by_time = world.host.has("a limit goes by the logins' times")
    found = [
        (a in latest and not by_time, one.time, a)
        for a, one in enumerate(world.stamps)
        if one and not is_due(world, one)
    ]
    return tuple((a, time) for _, time, a in sorted(found)[: max(0, len(found) - most)])


# ---- move.py


def move(world: World, me: int, known: Known) -> list[Move]:
    """move(): have records as popips.conf says by now. Who does that has the lock on .expire, a run or another."""
    conf, then = known
    if world.made == conf or not world.host.has("changed settings move the grants"):
        return [(world, *then)]
    made, world = world.made, world._replace(seen=None)
    if not world.host.has("the new settings are kept once the old records have gone"):
        world = world._replace(made=conf)
    return [(world, take_out, (conf, made, then))]


def take_out(world: World, me: int, known: Known) -> list[Move]:
    """_take_out(): with the writers' lock of the old map, take the records of all stamps out of it."""
    conf, made, then = known
    old = world.host.settings[made]
    if world.host.has("move takes the old map's lock"):
        if world.locks[old.map] not in (None, me):
            return []
        world = maps.writer(world, me, old.map)
    if world.host.own:
        emptied = put_records(world, tuple((slot(world, old, a), None) for a in addresses(world)), anew=True)
        return [(maps.look(emptied, old.map), keep_form, (conf, then))]
    names = [a for a, one in enumerate(world.stamps) if one and record(world, old, a) == old.value]
    changes = tuple((slot(world, old, a), None) for a in names)
    return maps.change(world, old, changes, (keep_form, (conf, then)), (take_out, known))


def keep_form(world: World, me: int, known: Known) -> list[Move]:
    """form.keep(): only then may the new settings make records."""
    conf, then = known
    if world.host.has("the emptied map is synced before the new settings are kept"):
        world = sync_records(world)
    return [(leave_lock(world._replace(made=conf), me), *then)]
