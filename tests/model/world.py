"""All that the protocol hangs on, as one value; and the few ways in which a step may change it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Union

WINDOW = 100  # how long a grant lasts; World.now counts in the same unit, and each write of a time adds one
NEVER = -1  # a time before all others

STATIC = "static"  # a record of the admin's
TORN = "torn"  # what a writer leaves of a page when it dies; whole again when its journal is finished


class Settings(NamedTuple):
    """What popips.conf says of records: in which map, at which of the places for a key, and of what value."""

    map: int = 0
    place: int = 0
    value: str = "ours"


@dataclass(frozen=True, eq=False)
class Host:
    """What stays the same while a scenario is explored."""

    settings: tuple[Settings, ...] = (Settings(),)  # as popips.conf says at first, and after each change of it
    own: bool = False  # a map of its own, without a journal
    most: int = 0  # max_per_user; all logins are one user's
    crowd: bool = False  # sh leaves the requests, and looks at .granter
    ticks: bool = False  # whether it counts which login was the later one
    without: frozenset[str] = frozenset()  # the guards that are left out

    def has(self, guard: str) -> bool:
        """Whether the guard is there."""
        return guard not in self.without


class Stamp(NamedTuple):
    """STAMPS/ADDRESS; inode: whether it is the same file that somebody has open."""

    inode: int
    time: int
    settled: bool


class Request(NamedTuple):
    """STAMPS/.requests/ADDRESS-PID."""

    address: int
    pid: int
    time: int


class Journal(NamedTuple):
    """What a writer is about to change, and which build of the map it is for."""

    build: int
    changes: tuple[tuple[int, str | None], ...]


class Version(NamedTuple):
    """How often each of these has been changed; STAMPS/.seen holds that of the last whole run."""

    text: int = 0
    denials: int = 0
    conf: int = 0


class Disk(NamedTuple):
    """What a power cut may leave: for each stamp and each record all that it was since it was last synced."""

    stamps: tuple[frozenset[Stamp | None], ...]
    records: tuple[frozenset[str | None], ...]


class World(NamedTuple):
    """A state. Addresses, maps and processes are numbers; a record's is place * addresses + address."""

    host: Host
    stamps: tuple[Stamp | None, ...]
    records: tuple[str | None, ...]
    text: frozenset[int]  # addresses on which the map's text has a record
    locks: tuple[int | None, ...]  # for each map who has its writers' lock
    builds: tuple[int, ...]  # for each map how often somebody else has changed it
    seals: tuple[int | None, ...]  # for each map the build that was sealed
    journals: tuple[Journal | None, ...]
    requests: frozenset[Request] = frozenset()
    denied: frozenset[int] = frozenset()
    version: Version = Version()
    seen: Version | None = Version()
    made: int = 0  # STAMPS/.made-by: which of the settings the records were made by
    marker: int | None = None  # STAMPS/.granter
    dead: frozenset[int] = frozenset()  # killed; kept only where sh asks for it
    running: int | None = None  # who has the lock on .expire
    now: int = WINDOW * 2
    inode: int = 1  # of the next stamp
    promises: tuple[int, ...] = (NEVER, NEVER)  # for each address the time of the latest login that was told yes
    ended: tuple[int, ...] = (NEVER, NEVER)  # when the admin has ended it: no login until then counts any more
    shut: frozenset[int] = frozenset()  # a denial of it has come to its end
    waived: tuple[int, ...] = (NEVER, NEVER)  # when the admin began to end it: promises until then are void
    disk: Disk | None = None


Known = tuple[Any, ...]  # what a process carries from step to step
Step = Callable[["World", int, Known], list[Any]]  # of moves; the int is the process
Move = tuple[World, Union[Step, str], Known]  # a word: how it has ended
Then = tuple[Union[Step, str], Known]  # where to go on

DEAD = "dead"


def start(host: Host, stamps: str, static: str = "", power: bool = False) -> World:
    """Return the world in which each address has its stamp, by letter, or none (-).

    n: new, its record to be put; s: settled, with its record; d: due, the same; u: due and unsettled, without one.
    static: "map" for a static record on the first address, "text" for one that the text says, too.
    """
    letters = {
        "-": None,
        "n": Stamp(0, WINDOW * 2, False),
        "s": Stamp(0, WINDOW * 2, True),
        "d": Stamp(0, WINDOW, True),
    }
    letters["u"] = Stamp(0, WINDOW, False)
    files = tuple(letters.get(letter) for letter in stamps)
    first = tuple(host.settings[0].value if stamp and stamp.settled else None for stamp in files)
    records = (
        *(put(first, 0, STATIC) if static else first),
        *(None,) * max(one.place for one in host.settings) * len(files),
    )
    maps = 1 + max(one.map for one in host.settings)
    disk = Disk(tuple(frozenset([one]) for one in files), tuple(frozenset([one]) for one in records)) if power else None
    text = frozenset([0]) if static == "text" else frozenset[int]()
    return World(host, files, records, text, (None,) * maps, (0,) * maps, (0,) * maps, (None,) * maps, disk=disk)


# ---- to look


def is_due(world: World, stamp: Stamp) -> bool:
    """Whether the grant's window is over."""
    return stamp.time <= world.now - WINDOW


def slot(world: World, settings: Settings, address: int) -> int:
    """Return the number of the address's record by these settings."""
    return settings.place * len(world.stamps) + address


def record(world: World, settings: Settings, address: int) -> str | None:
    """Return the address's record by these settings."""
    return world.records[slot(world, settings, address)]


def sealed(world: World, number: int) -> bool:
    """Whether nobody but popips has changed the map since it was sealed."""
    return world.seals[number] == world.builds[number]


def addresses(world: World) -> range:
    """Return all addresses."""
    return range(len(world.stamps))


# ---- to change


def put(values: tuple[Any, ...], place: int, value: object) -> tuple[Any, ...]:
    """Return the tuple with another value at this place."""
    return (*values[:place], value, *values[place + 1 :])


def put_stamp(world: World, address: int, stamp: Stamp | None) -> World:
    """Make, change or remove a stamp; a power cut may leave the one before it."""
    if world.disk:
        kept = put(world.disk.stamps, address, world.disk.stamps[address] | {stamp})
        world = world._replace(disk=world.disk._replace(stamps=kept))
    return world._replace(stamps=put(world.stamps, address, stamp))


def put_records(world: World, changes: tuple[tuple[int, str | None], ...]) -> World:
    """Change records; a power cut may leave those before it, or half a page."""
    for place, value in changes:
        if world.disk:
            kept = put(world.disk.records, place, world.disk.records[place] | {value, TORN})
            world = world._replace(disk=world.disk._replace(records=kept))
        world = world._replace(records=put(world.records, place, value))
    return world


def sync_stamps(world: World) -> World:
    """Bring the stamps to the disk."""
    if not world.disk:
        return world
    return world._replace(disk=world.disk._replace(stamps=tuple(frozenset([one]) for one in world.stamps)))


def sync_records(world: World) -> World:
    """Bring the maps' content to the disk."""
    if not world.disk:
        return world
    return world._replace(disk=world.disk._replace(records=tuple(frozenset([one]) for one in world.records)))


def unsettle(world: World, address: int) -> World:
    """Take the settled bit from a stamp, if there is one."""
    stamp = world.stamps[address]
    return put_stamp(world, address, stamp._replace(settled=False)) if stamp else world


def settle(world: World, address: int) -> World:
    """Note that the record of a stamp is there."""
    stamp = world.stamps[address]
    return put_stamp(world, address, stamp._replace(settled=True)) if stamp else world


def tick(world: World) -> World:
    """Let the clock go on, where the order of logins counts."""
    return world._replace(now=world.now + 1) if world.host.ticks else world


def promise(world: World, address: int, time: int) -> World:
    """Note that a login of this time was told yes."""
    latest = max(time, world.promises[address])
    return world._replace(promises=put(world.promises, address, latest))


def release(world: World, me: int) -> World:
    """Give back all locks that a process has, as its end does."""
    running = None if world.running == me else world.running
    return world._replace(locks=tuple(None if one == me else one for one in world.locks), running=running)


def die(world: World, me: int) -> World:
    """Be killed: the kernel gives the locks back, and nothing else is cleared up."""
    dead = world.dead | {me} if world.host.crowd else world.dead
    return release(world, me)._replace(dead=dead)
