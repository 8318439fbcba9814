"""popips/requests.py and the hooks' sh: a login that nobody has looked at yet, and who waits for whom."""

from __future__ import annotations

from tests.model import grant
from tests.model.world import STATIC, Known, Move, Request, World, promise, tick


def leave(world: World, me: int, known: Known) -> list[Move]:
    """leave(): the request has a name of its own, of address and process."""
    (address,) = known
    world = tick(world)
    pid = me if world.host.has("a request has a name of its own") else 0
    request = Request(address, pid, world.now)
    others = frozenset(one for one in world.requests if (one.address, one.pid) != (address, pid))
    world = world._replace(requests=others | {request})
    return [(world, wait if world.host.crowd else grant.grant, (request, world.version.conf))]


def wait(world: World, me: int, known: Known) -> list[Move]:
    """In sh: look whether the request has gone; leave it to the granter, as long as one lives; else start Python.

    In the end of its time it leaves the request. Here that is no way out where nobody is at work: a login would be held
    up for nothing.
    """
    request, _ = known
    if not is_there(world, request):
        return [(told(world, request), "done", ())]
    if not is_alive(world, world.marker):
        return [(world, grant.grant, known)]
    if world.marker in world.dead:
        return []
    return [(promise(world, request.address, request.time), "deferred", ())]


def told(world: World, request: Request) -> World:
    """Take it that the login was granted: its request has gone, and nobody had a reason to refuse it."""
    name = request.address
    if world.version.denials or name in world.text or STATIC in world.records or world.waived[name] >= request.time:
        return world
    if world.ended[name] >= request.time:  # it was withdrawn
        return world
    return promise(world, name, request.time)


def is_there(world: World, request: Request | None) -> bool:
    """is_there(): whether nobody has dealt with the request of that name."""
    return request is None or any(one[:2] == request[:2] for one in world.requests)


# ---- .granter


def mark(world: World, me: int) -> World:
    """mark(): be the granter, unless another one lives that is."""
    return world if is_alive(world, world.marker) or not world.host.crowd else world._replace(marker=me)


def unmark(world: World, me: int) -> World:
    """unmark(): let who logs in from now on start a granter."""
    return world._replace(marker=None) if world.marker == me else world


def is_alive(world: World, pid: int | None) -> bool:
    """kill -0. A hook that has done its work may live on, as the server that it has become."""
    return pid is not None and (pid not in world.dead or not world.host.has("a dead granter is not waited for"))
