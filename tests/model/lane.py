"""popips/lane.py and pam_hook/lane.sh: a login that finds its grant in order renews it, and that is all.

Whether .lane and .alive let it is not modelled: here they always do, which is the worst case.
"""

from __future__ import annotations

from tests.model import requests
from tests.model.world import Known, Move, World, promise, put_stamp, tick


def renewed(world: World, me: int, known: Known) -> list[Move]:
    """renewed(): open the stamp and look whether it is settled; else take the long way."""
    (address,) = known
    stamp = world.stamps[address]
    if stamp and stamp.settled:
        return [(world, write, (address, stamp.inode))]
    return [(world, requests.leave, known)]


def write(world: World, me: int, known: Known) -> list[Move]:
    """Write the stamp's line again: that moves its mtime, if the opened file still is the stamp."""
    address, inode = known
    stamp = world.stamps[address]
    world = tick(world)
    if stamp and stamp.inode == inode:
        world = put_stamp(world, address, stamp._replace(time=world.now))
    if not world.host.has("the lane looks a second time"):
        return [(promise(world, address, world.now), "renewed", ())]
    return [(world, look_again, (address, inode, world.now))]


def look_again(world: World, me: int, known: Known) -> list[Move]:
    """Believe it only if it is the same file still, and still settled."""
    address, inode, time = known
    stamp = world.stamps[address]
    same = stamp and (stamp.inode == inode or not world.host.has("the lane looks for the same file"))
    if same and stamp and (stamp.settled or not world.host.has("the lane looks for the settled bit again")):
        return [(promise(world, address, time), "renewed", ())]
    return [(world, requests.leave, (address,))]
