"""popips/grant.py: whoever has the writers' lock deals with all requests that there are."""

from __future__ import annotations

from typing import NamedTuple

from tests.model import limits, maps, requests
from tests.model.settle import Job, leave_lock, settle
from tests.model.world import WINDOW, Known, Move, Request, Then, World, promise, release


class Serving(NamedTuple):
    """What serve() carries along."""

    own: Request | None  # None in a run
    conf: int
    then: Then
    batch: frozenset[Request] = frozenset()  # what lay there before the lock was taken
    denied: frozenset[int] | None = None  # read before the lock was taken, if that guard is left out


def grant(world: World, me: int, known: Known) -> list[Move]:
    """grant(): Python, for a request that lies there."""
    request, conf = known
    return serve(world, me, Serving(request, conf, ("done", ())))


def serve(world: World, me: int, known: Known) -> list[Move]:
    """serve(): see what there is, as a hint for now, and be the granter."""
    serving = Serving(*known)
    if not world.requests:
        return [(world, *serving.then)]
    early = None if world.host.has("denials are read under the lock") else world.denied
    return [(requests.mark(world, me), wait, serving._replace(batch=world.requests, denied=early))]


def wait(world: World, me: int, known: Known) -> list[Move]:
    """Writer: take the writers' lock; or see that others have dealt with the own request; or give up in time."""
    serving = Serving(*known)
    number = world.host.settings[serving.conf].map
    if serving.own and not requests.is_there(world, serving.own) and world.marker != me:
        return [(requests.told(world, serving.own), *serving.then)]
    if world.locks[number] is not None:
        return [(world, give_up, (serving.own,))] if serving.own else []
    return [(maps.writer(world, me, number), deal, serving)]


def give_up(world: World, me: int, known: Known) -> list[Move]:
    """DEFERRED: take the own pid away, and leave the requests to the next run."""
    (own,) = known
    world = release(requests.unmark(world, me), me)
    if own and requests.is_there(world, own):
        world = promise(world, own.address, own.time)
    return [(world, "deferred", ())]


def deal(world: World, me: int, known: Known) -> list[Move]:
    """_dealt(): settle those that still lie there, with the denials as they are now."""
    serving = Serving(*known)
    if world.made != serving.conf and world.host.has("only the settings that the records were made by change anything"):
        return [(world, give_up, (serving.own,))]
    there = serving.batch
    if world.host.has("requests are looked at again under the lock"):
        there &= world.requests
    denied = world.denied if serving.denied is None else serving.denied
    asked = tuple(sorted(one for one in there if one.time > world.now - WINDOW and one.address not in denied))
    names = tuple(sorted({one.address for one in asked}))
    if not world.host.has("the request is removed last"):
        world = world._replace(requests=world.requests - serving.batch)
    job = Job(serving.conf, names, (limit, (serving, asked)), asked=asked, denied=denied)
    return [(world, settle, job)]


def limit(world: World, me: int, known: Known) -> list[Move]:
    """surplus(): end the oldest grants that are now more than one user may have."""
    serving, asked = known
    opened = tuple(one for one in asked if world.stamps[one.address] is not None)
    over = limits.surplus(world, tuple(one.address for one in opened))
    if not over:
        return remove(world, me, (serving, opened))
    names = tuple(name for name, _ in over)
    return [(world, settle, Job(serving.conf, names, (remove, (serving, opened)), surplus=over))]


def remove(world: World, me: int, known: Known) -> list[Move]:
    """_done(): remove the requests that were dealt with, and give the lock back; their logins have been told."""
    serving, opened = known
    for one in opened:
        if one in world.requests:
            world = promise(world, one.address, one.time)
    gone = {one[:2] for one in serving.batch}
    world = world._replace(requests=frozenset(one for one in world.requests if one[:2] not in gone))
    return [(leave_lock(world, me), look_once_more, serving._replace(batch=frozenset()))]


def look_once_more(world: World, me: int, known: Known) -> list[Move]:
    """Take the own pid away once nothing is left, and look once more after that."""
    if world.requests or world.marker != me:
        return serve(world, me, known)
    return [(requests.unmark(world, me), serve, known)]
