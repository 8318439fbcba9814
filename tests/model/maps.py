"""popips.maps: how a change gets into a map. Each function is a step; the writer that takes it has the writers' lock."""

from __future__ import annotations

from typing import Optional

from tests.model.world import (
    DEAD,
    TORN,
    Journal,
    Known,
    Move,
    Settings,
    Then,
    World,
    die,
    put,
    put_records,
    sealed,
    sync_records,
    sync_stamps,
)

Changes = tuple[tuple[int, Optional[str]], ...]


def writer(world: World, me: int, number: int) -> World:
    """kinds.writer: have the writers' lock of a map, and finish what a dead writer has left in the journal."""
    journal = world.journals[number]
    world = world._replace(locks=put(world.locks, number, me))
    if not journal:
        return world
    fits = journal.build == world.builds[number] or not world.host.has("the journal is for one build")
    if fits:
        world = sync_records(put_records(world, journal.changes))._replace(seals=put(world.seals, number, None))
    return world._replace(journals=put(world.journals, number, None))


def change(world: World, settings: Settings, changes: Changes, then: Then, again: Then) -> list[Move]:
    """Writer.change: put or delete these records, and go on; again: where to look at the map anew, if it is another."""
    if not changes:
        return [(world, *then)]
    first = write_pages if world.host.own else write_journal
    return [(world, first, (settings, changes, then, again, world.builds[settings.map]))]


def write_journal(world: World, me: int, known: Known) -> list[Move]:
    """in_place: write down what will change, and have it and the stamps on the disk before anything does."""
    settings, changes, _, _, build = known
    if world.host.has("secure: the stamps are synced before the map changes"):
        world = sync_stamps(world)
    if world.host.has("the journal is written first"):
        journal = Journal(build, changes)
        world = world._replace(journals=put(world.journals, settings.map, journal))
    return [(world, write_pages, known)]


def write_pages(world: World, me: int, known: Known) -> list[Move]:
    """Change the map under its own lock, if it is still the one that was read. Who is killed here leaves half a page."""
    settings, changes, then, again, build = known
    number = settings.map
    if build != world.builds[number] and not world.host.own and world.host.has("the map is compared under its lock"):
        return [(world._replace(journals=put(world.journals, number, None)), *again)]
    seal = (
        world.builds[number] if sealed(world, number) or not world.host.has("a change seals if the seal held") else None
    )
    world = world._replace(seals=put(world.seals, number, None))
    torn = put_records(world, tuple((place, TORN) for place, _ in changes))
    whole = put_records(world, changes)
    return [(whole, sync, (number, seal, then)), (die(torn, me), DEAD, ())]


def sync(world: World, me: int, known: Known) -> list[Move]:
    """Have the map's content on the disk; a map of its own can be made anew, and is not waited for."""
    if not world.host.own and world.host.has("the map is synced before its journal is done with"):
        world = sync_records(world)
    return [(world, seal_change, known)]


def seal_change(world: World, me: int, known: Known) -> list[Move]:
    """Mark the journal as done with; seal what this writer left, if the map was sealed before."""
    number, seal, then = known
    world = world._replace(journals=put(world.journals, number, None), seals=put(world.seals, number, seal))
    return [(world, *then)]


def look(world: World, number: int) -> World:
    """Writer.look: the map as it is now, under its own lock, is what is sealed."""
    return world._replace(seals=put(world.seals, number, world.builds[number]))
