"""What is none of popips' doing: the admin at the map and its text, popips.conf, the clock, and the power."""

from __future__ import annotations

from itertools import product

from tests.model.world import NEVER, STATIC, WINDOW, Disk, Known, Move, World, addresses, put, put_records, slot

CUT = "cut"  # all others end with it


def edit(world: World, me: int, known: Known) -> list[Move]:
    """Write a record on an address into the text; the map has it when it is built."""
    version = world.version._replace(text=world.version.text + 1)
    return [(world._replace(text=world.text | {known[0]}, version=version), "edited", ())]


def build(world: World, me: int, known: Known) -> list[Move]:
    """makemap: the first map holds what its text says, and nothing else. It heeds only the map's own lock."""
    slots = {
        slot(world, settings, a) for settings in world.host.settings if settings.map == 0 for a in addresses(world)
    }
    changes = tuple((place, STATIC if place in world.text else None) for place in sorted(slots))
    world = put_records(world, changes)
    return [(world._replace(builds=put(world.builds, 0, world.builds[0] + 1)), "built", ())]


def configure(world: World, me: int, known: Known) -> list[Move]:
    """Change popips.conf."""
    return [(world._replace(version=world.version._replace(conf=world.version.conf + 1)), "configured", ())]


def pass_window(world: World, me: int, known: Known) -> list[Move]:
    """Let the window pass."""
    return [(world._replace(now=world.now + WINDOW), "passed", ())]


def pass_half(world: World, me: int, known: Known) -> list[Move]:
    """Let half of it pass."""
    return [(world._replace(now=world.now + WINDOW // 2), "passed", ())]


def cut(world: World, me: int, known: Known) -> list[Move]:
    """Cut the power: of each file there is what was synced, or something since. Nothing is sealed in another boot."""
    assert world.disk
    moves: list[Move] = []
    seals = (None,) * len(world.seals) if world.host.has("a seal is for one boot") else world.seals
    stamps_left = product(*(sorted(one, key=repr) for one in world.disk.stamps))
    records_left = product(*(sorted(one, key=repr) for one in world.disk.records))
    for stamps, records in product(stamps_left, records_left):
        disk = Disk(tuple(frozenset([one]) for one in stamps), tuple(frozenset([one]) for one in records))
        left = world._replace(stamps=stamps, records=records, disk=disk, seals=seals)
        left = left._replace(locks=(None,) * len(world.locks), running=None, promises=(NEVER,) * len(world.promises))
        moves.append((left, CUT, ()))
    return moves
