"""popips/grant.py: whoever has the writers' lock deals with all requests that there are."""

from __future__ import annotations

from tests.model import maps, requests, run
from tests.model.settle import Job, settle
from tests.model.world import WINDOW, Known, Move, World, promise, release


def begin(world: World, me: int, known: Known) -> list[Move]:
    """grant(): Python, for a request that lies there."""
    request, conf = known
    return [(world, serve, (request, conf, ("done", ())))]


def serve(world: World, me: int, known: Known) -> list[Move]:
    """serve(): see what there is, as a hint for now, and be the granter."""
    request, conf, then = known
    early = None if world.host.has("denials are read under the lock") else world.denied
    if not world.requests:
        return [(world, *then)]
    return [(requests.mark(world, me), wait, (*known, world.requests, early))]


def wait(world: World, me: int, known: Known) -> list[Move]:
    """Writer: take the writers' lock; or see that others have dealt with the own request; or give up in time."""
    request, conf, then, batch, early = known
    number = world.host.settings[conf].map
    if request and not requests.is_there(world, request) and world.marker != me:
        return [(requests.told(world, request), *then)]
    if world.locks[number] is not None:
        return [(world, give_up, (request,))] if request else []
    return [(maps.writer(world, me, number), deal, known)]


def give_up(world: World, me: int, known: Known) -> list[Move]:
    """DEFERRED: take the own pid away, and leave the requests to the next run."""
    (request,) = known
    world = release(requests.unmark(world, me), me)
    if request and requests.is_there(world, request):
        world = promise(world, request.address, request.time)
    return [(world, "deferred", ())]


def deal(world: World, me: int, known: Known) -> list[Move]:
    """_dealt(): settle those that still lie there, with the denials as they are now."""
    request, conf, then, batch, early = known
    if world.made != conf and world.host.has("only the settings that the records were made by change anything"):
        return [(world, give_up, (request,))]
    there = batch & world.requests if world.host.has("requests are looked at again under the lock") else batch
    denied = world.denied if early is None else early
    asked = tuple(sorted(one for one in there if one.time > world.now - WINDOW and one.address not in denied))
    names = tuple(sorted({one.address for one in asked}))
    if not world.host.has("the request is removed last"):
        world = world._replace(requests=world.requests - batch)
    job = Job(conf, names, (limit, (known, asked, batch)), asked=asked, denied=denied)
    return [(world, settle, job)]


def limit(world: World, me: int, known: Known) -> list[Move]:
    """limits.surplus: end the oldest grants that are now more than one user may have."""
    (request, conf, then, batch, early), asked, there = known
    opened = tuple(one for one in asked if world.stamps[one.address] is not None)
    go_on = (remove, (request, conf, then, opened, batch))
    over = run.surplus(world, tuple(one.address for one in opened))
    if not over:
        return remove(world, me, go_on[1])
    return [(world, settle, Job(conf, tuple(name for name, _ in over), go_on, surplus=over))]


def remove(world: World, me: int, known: Known) -> list[Move]:
    """_done(): remove the requests that were dealt with, and give the lock back; their logins have been told."""
    request, conf, then, opened, batch = known
    for one in opened:
        if one in world.requests:
            world = promise(world, one.address, one.time)
    gone = frozenset(one[:2] for one in batch)
    world = world._replace(requests=frozenset(one for one in world.requests if one[:2] not in gone))
    return [(run.leave_lock(world, me), look_once_more, (request, conf, then))]


def look_once_more(world: World, me: int, known: Known) -> list[Move]:
    """Take the own pid away once nothing is left, and look once more after that."""
    if world.requests or world.marker != me:
        return [(world, serve, known)]
    return [(requests.unmark(world, me), serve, known)]
