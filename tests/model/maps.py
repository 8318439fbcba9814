"""popips/maps: how a change gets into a map. Who takes these steps has the writers' lock."""

from __future__ import annotations

from typing import NamedTuple, Union

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

Records = tuple[tuple[int, Union[str, None]], ...]  # what there is to be, None for nothing


class Change(NamedTuple):
    """What a writer is at."""

    build: int  # which build of the map it has read
    settings: Settings
    records: Records
    then: Then
    again: Then  # where to look at the map anew, if it is another by now


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


def change(change: Change, world: World) -> list[Move]:
    """Writer.change: put or delete records."""
    if not change.records:
        return [(world, *change.then)]
    return [(world, write_pages if world.host.own else write_journal, change)]


def write_journal(world: World, me: int, known: Known) -> list[Move]:
    """in_place: write down what will change, and have it and the stamps on the disk before anything does."""
    change = Change(*known)
    if world.host.has("secure: the stamps are synced before the map changes"):
        world = sync_stamps(world)
    if world.host.has("the journal is written first"):
        journal = Journal(change.build, change.records)
        world = world._replace(journals=put(world.journals, change.settings.map, journal))
    return [(world, write_pages, change)]


def write_pages(world: World, me: int, known: Known) -> list[Move]:
    """Change the map under its own lock, if it is still what was read. Who is killed here leaves half a page."""
    change, has = Change(*known), world.host.has
    number = change.settings.map
    is_other = change.build != world.builds[number] and not world.host.own
    if is_other and has("the map is compared under its lock"):
        return [(world._replace(journals=put(world.journals, number, None)), *change.again)]
    held = sealed(world, number) or not has("a change seals if the seal held")
    seal = world.builds[number] if held else None
    world = world._replace(seals=put(world.seals, number, None))
    torn = put_records(world, tuple((place, TORN) for place, _ in change.records))
    return [(put_records(world, change.records), sync, (number, seal, change.then)), (die(torn, me), DEAD, ())]


def sync(world: World, me: int, known: Known) -> list[Move]:
    """Have the map's content on the disk; a map of its own can be made anew, and is not waited for."""
    if not world.host.own and world.host.has("the map is synced before its journal is done with"):
        world = sync_records(world)
    return [(world, seal_change, known)] if world.disk else seal_change(world, me, known)


def seal_change(world: World, me: int, known: Known) -> list[Move]:
    """Mark the journal as done with; seal what this writer left, if the map was sealed before."""
    number, seal, then = known
    world = world._replace(journals=put(world.journals, number, None), seals=put(world.seals, number, seal))
    return [(world, *then)]


def look(world: World, number: int) -> World:
    """Writer.look: the map as it is now, under its own lock, is what is sealed."""
    return world._replace(seals=put(world.seals, number, world.builds[number]))


def rebuild(world: World, me: int, number: int, records: Records, then: Then) -> list[Move]:
    """Writer.rebuild: write a map of its own anew, and seal it. Who is killed here leaves half of it."""
    world = world._replace(seals=put(world.seals, number, None))
    torn = put_records(world, tuple((place, TORN) for place, _ in records))
    return [(look(put_records(world, records), number), *then), (die(torn, me), DEAD, ())]
