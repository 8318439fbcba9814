"""popips/revoke.py and denials.py: what the admin does to a grant by hand."""

from __future__ import annotations

from tests.model import maps
from tests.model.move import move
from tests.model.settle import Job, settle
from tests.model.world import NEVER, Known, Move, World, put, release, sync_stamps


def deny(world: World, me: int, known: Known) -> list[Move]:
    """deny(): the list first, and then the grant's end; who makes a grant after that sees the list."""
    (address,) = known
    version = world.version._replace(denials=world.version.denials + 1)
    listed = world._replace(denied=world.denied | {address}, version=version)
    if not world.host.has("deny writes its list before it ends the grant"):
        return make_sound(world, me, (address, world.version.conf, write_list))
    return [(listed, make_sound, (address, world.version.conf, "denied"))]


def write_list(world: World, me: int, known: Known) -> list[Move]:
    """Write it too late."""
    (address,) = known
    version = world.version._replace(denials=world.version.denials + 1)
    listed = world._replace(denied=world.denied | {address}, version=version)
    return [(listed._replace(shut=world.shut | {address}), "denied", ())]


def undeny(world: World, me: int, known: Known) -> list[Move]:
    """lift(): take the address off the list."""
    version = world.version._replace(denials=world.version.denials + 1)
    return [(world._replace(denied=world.denied - {known[0]}, version=version), "allowed", ())]


def end(world: World, me: int, known: Known) -> list[Move]:
    """end(): end one grant; the next login makes it anew."""
    return make_sound(world, me, (known[0], world.version.conf, "ended"))


def make_sound(world: World, me: int, known: Known) -> list[Move]:
    """make_sound(): have records as popips.conf says by now."""
    return move(world, me, (known[1], (settle_one, known)))


def settle_one(world: World, me: int, known: Known) -> list[Move]:
    """Take the writers' lock and settle the address, as one that is barred."""
    address, conf, word = known
    number = world.host.settings[conf].map
    if world.locks[number] is not None:
        return []
    world = maps.writer(world, me, number)._replace(waived=put(world.waived, address, world.now))
    if world.made != conf and world.host.has("only the settings that the records were made by change anything"):
        return [(release(world, me), "changed", ())]
    job = Job(conf, (address,), (withdraw, (address, word)), denied=frozenset([address]))
    return settle(world, me, job)


def withdraw(world: World, me: int, known: Known) -> list[Move]:
    """requests.withdraw(): the logins until now are over, too; and so that no power cut brings them back, sync()."""
    address, word = known
    if world.host.has("end withdraws the requests"):
        world = world._replace(requests=frozenset(one for one in world.requests if one.address != address))
    if world.host.has("end syncs the stamps"):
        world = sync_stamps(world)
    world = world._replace(promises=put(world.promises, address, NEVER), ended=put(world.ended, address, world.now))
    if word == "denied":
        world = world._replace(shut=world.shut | {address})
    return [(release(world, me), word, (address,) if callable(word) else ())]
