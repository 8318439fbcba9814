"""popips/run.py: requests first, then the grants that are due or not settled, then all, if that is needed."""

from __future__ import annotations

from typing import NamedTuple

from popips import fate
from tests.model import grant, limits, maps
from tests.model.move import move
from tests.model.settle import Job, fate_of, leave_lock, rebuild, settle
from tests.model.world import Known, Move, Version, World, addresses, is_due, sealed


class Run(NamedTuple):
    """What a run carries along."""

    saw: Version  # what was there before it was read
    conf: int
    denied: frozenset[int]
    is_known: bool = False  # that nobody else has changed anything since the last run


def run(world: World, me: int, known: Known) -> list[Move]:
    """alone() and saw(): one run at a time; and what is there is noted before it is read."""
    if world.running is not None:
        return []
    return [(world._replace(running=me), read, (world.version,))]


def read(world: World, me: int, known: Known) -> list[Move]:
    """Read popips.conf and the denials; then move() what was made by other settings."""
    (saw,) = known
    this = Run(saw, world.version.conf, world.denied)
    return move(world, me, (this.conf, (serve, this)))


def serve(world: World, me: int, known: Known) -> list[Move]:
    """serve(): deal with what waits."""
    this = Run(*known)
    return grant.serve(world, me, grant.Serving(None, this.conf, (begin, this)))


def begin(world: World, me: int, known: Known) -> list[Move]:
    """holds() and begin(): if anybody else has changed anything since, seal the map as it is, and look at all."""
    this, has = Run(*known), world.host.has
    number = world.host.settings[this.conf].map
    if world.locks[number] is not None:
        return []
    world = maps.writer(world, me, number)
    same = world.seen == world.version or not has("a run knows what the last one saw")
    if same and (sealed(world, number) or not has("a run asks for the seal")):
        return [(leave_lock(world, me), due, this._replace(is_known=True))]
    if has("a run forgets what was seen before it seals"):
        world = world._replace(seen=None)
    if world.host.own:
        return rebuild(world, this.conf, this.denied, (due, this))
    if has("a run seals before it looks"):
        world = maps.look(world, number)
    return [(leave_lock(world, me), due, this)]


def due(world: World, me: int, known: Known) -> list[Move]:
    """Settle the stamps that are due, and those that are not settled."""
    this, world = Run(*known), leave_lock(world, me)
    names = tuple(a for a, one in enumerate(world.stamps) if one and (is_due(world, one) or not one.settled))
    return in_turns(world, Job(this.conf, names, (look_at_all, this), denied=this.denied))


def look_at_all(world: World, me: int, known: Known) -> list[Move]:
    """look_at_all(): settle all grants that are not as they should be; before the lock is taken, that is a hint."""
    this = Run(*known)
    if this.is_known or world.host.own:
        return keep(world, me, this)
    job = Job(this.conf, (), (keep, this), denied=this.denied)
    names = tuple(a for a in addresses(world) if fate_of(world, job, a) != fate.LEAVE)
    return in_turns(world, job._replace(names=names))


def keep(world: World, me: int, known: Known) -> list[Move]:
    """seen.keep(): note what was there when the run began; then the limits."""
    this, has = Run(*known), world.host.has
    if not this.is_known:
        world = world._replace(seen=this.saw if has("what is kept was there when the run began") else world.version)
    if not this.is_known and not has("a run seals before it looks"):
        world = maps.look(world, world.host.settings[this.conf].map)
    over = limits.surplus(world) if has("a run keeps the limit") else ()
    return in_turns(world, Job(this.conf, tuple(name for name, _ in over), (end, ()), surplus=over))


def end(world: World, me: int, known: Known) -> list[Move]:
    """Let the next run begin."""
    return [(leave_lock(world, me)._replace(running=None), "ran", ())]


def in_turns(world: World, job: Job) -> list[Move]:
    """turns.in_turns(): settle with the lock, which others may have before and after that."""
    if not job.names:
        return [(world, *job.then)]
    return [(world, turn, job._replace(then=(give_way, job.then)))]


def turn(world: World, me: int, known: Known) -> list[Move]:
    """Take the writers' lock; a run whose settings the records were not made by comes to nothing."""
    job = Job(*known)
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
