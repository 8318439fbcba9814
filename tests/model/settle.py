"""popips/settle.py: brings addresses to their fate, under the writers' lock, in one change of the map."""

from __future__ import annotations

from typing import NamedTuple

from popips import fate
from tests.model import maps
from tests.model.limits import Counted
from tests.model.world import (
    NEVER,
    Known,
    Move,
    Request,
    Stamp,
    Then,
    World,
    addresses,
    is_due,
    put,
    put_stamp,
    record,
    sealed,
    slot,
    unsettle,
)
from tests.model.world import settle as settled


class Job(NamedTuple):
    """What settle() is to do: addresses, the login that is to be dealt with for some, and who is barred."""

    conf: int  # which settings
    names: tuple[int, ...]
    then: Then
    asked: tuple[Request, ...] = ()
    denied: frozenset[int] = frozenset()
    surplus: Counted = ()  # grants that are more than max_per_user, each with the time by which it was counted


def settle(world: World, me: int, known: Known) -> list[Move]:
    """settle(): ask for the fate of each; a map of its own is made anew before, if that is needed."""
    job = Job(*known)
    is_sound = not world.host.own or sealed(world, world.host.settings[job.conf].map)
    if not is_sound and world.host.has("a map of its own is made anew if in doubt"):
        return rebuild(world, job.conf, job.denied, (settle, job))
    fates = tuple((name, fate_of(world, job, name)) for name in job.names)
    if any(what in fate.ENDING for _, what in fates):
        return [(world, unsettle_all, (job, fates))]
    return step(world, me, (job, fates))


def unsettle_all(world: World, me: int, known: Known) -> list[Move]:
    """Unsettle the stamps of the grants that are to end: from now on no login in the fast lane is told yes."""
    job, fates = known
    for name, what in fates:
        if what in fate.ENDING and name in job.denied:
            world = world._replace(promises=put(world.promises, name, NEVER))
        if what in fate.ENDING and world.host.has("a grant's stamp is unsettled before it ends"):
            world = unsettle(world, name)
    return [(world, step, known)]


def step(world: World, me: int, known: Known) -> list[Move]:
    """Look once more at those that are to end; make the stamps of those that are put, then change all the records."""
    job, before = known
    settings = world.host.settings[job.conf]
    looks = world.host.has("its time is looked at again")
    fates = tuple((a, fate_of(world, job, a) if what in fate.ENDING and looks else what) for a, what in before)
    changes: list[tuple[int, str | None]] = []
    for name, what in fates:
        if what in fate.ENDING and record(world, settings, name) == settings.value:
            changes.append((slot(world, settings, name), None))
        if what in fate.ENDING and not world.host.has("the stamp goes after the record"):
            world = put_stamp(world, name, None)
        if what == fate.PUT:
            changes.append((slot(world, settings, name), settings.value))
        if what in (fate.PUT, fate.RENEW) and world.host.has("the stamp is made before the record"):
            world = stamp(world, job, name, what)
    build = world.builds[settings.map]
    return maps.change(maps.Change(build, settings, tuple(changes), (finish, (job, fates)), (settle, job)), world)


def stamp(world: World, job: Job, name: int, what: str) -> World:
    """_stamp(): make the stamp, unsettled, or set its time, which never goes back."""
    time = max((one.time for one in job.asked if one.address == name), default=0)
    there = world.stamps[name]
    if there is None:
        made = put_stamp(world, name, Stamp(world.inode, time, not world.host.has("a stamp is made unsettled")))
        return made._replace(inode=world.inode + 1)
    if world.host.has("a stamp's time never goes back"):
        time = max(time, there.time)
    return put_stamp(world, name, there._replace(time=time, settled=there.settled and what != fate.PUT))


def finish(world: World, me: int, known: Known) -> list[Move]:
    """Settle the stamps whose records are there now, and remove those whose records have gone."""
    job, fates = known
    for name, what in fates:
        if what in fate.OPENING:
            if world.stamps[name] is None and what != fate.SETTLE:
                world = stamp(world, job, name, what)
            world = settled(world, name)
        elif what in fate.ENDING:
            world = put_stamp(world, name, None)
    return [(world, *job.then)]


def fate_of(world: World, job: Job, name: int) -> str:
    """Site.case() and fate(): the one decision, which is popips' own."""
    has, there = world.host.has, world.stamps[name]
    stamp = fate.NONE
    if there:
        stamp = fate.DUE if is_due(world, there) else fate.SETTLED if there.settled else fate.LIVE
    named = name in world.text and has("the text counts")
    asked = any(one.address == name for one in job.asked)
    return fate.fate(fate.Case(stamp, whose(world, job.conf, name), named, asked, is_barred(world, job, name)))


def whose(world: World, conf: int, name: int) -> str:
    """Site._record(): whose record the map has on the address."""
    settings = world.host.settings[conf]
    there = record(world, settings, name)
    if there is None:
        return fate.NONE
    if world.stamps[name] and there == settings.value:
        return fate.OURS
    if world.host.has("a static record is the admin's"):
        return fate.ADMINS
    return fate.OURS if world.stamps[name] else fate.NONE


def leave_lock(world: World, me: int) -> World:
    """Give the writers' locks back, and keep that on .expire."""
    return world._replace(locks=tuple(None if one == me else one for one in world.locks))


def is_barred(world: World, job: Job, name: int) -> bool:
    """Bars: the denials, or a limit, which counts only while the stamp has the time by which it was counted."""
    if name in job.denied and world.host.has("denials bar"):
        return True
    there = world.stamps[name]
    for counted, time in job.surplus:
        if counted == name and there and (there.time == time or not world.host.has("a limit looks at the time again")):
            return True
    return False


def rebuild(world: World, conf: int, denied: frozenset[int], then: Then) -> list[Move]:
    """rebuild(): what is due or barred is unsettled, ..."""
    out = frozenset(a for a, there in enumerate(world.stamps) if there and (a in denied or is_due(world, there)))
    return [(world, unsettle_out, (conf, denied, out, then))] if out else survey(world, 0, (conf, denied, out, then))


def unsettle_out(world: World, me: int, known: Known) -> list[Move]:
    """... so that no login in the fast lane is told yes, ..."""
    _, denied, out, _ = known
    for name in out:
        if name in denied:
            world = world._replace(promises=put(world.promises, name, NEVER))
        if world.host.has("rebuild unsettles what it leaves out"):
            world = unsettle(world, name)
    return [(world, survey, known)]


def survey(world: World, me: int, known: Known) -> list[Move]:
    """... and look at its time again."""
    conf, denied, out, then = known
    out = frozenset(a for a in out if a in denied or not (there := world.stamps[a]) or is_due(world, there))
    names = tuple(a for a, there in enumerate(world.stamps) if there and a not in out)
    return [(world, copy, (conf, names, then))]


def copy(world: World, me: int, known: Known) -> list[Move]:
    """Writer.rebuild: write the new map over the old one, and seal it. Who is killed here leaves half of it."""
    conf, names, then = known
    settings = world.host.settings[conf]
    changes = tuple((slot(world, settings, a), settings.value if a in names else None) for a in addresses(world))
    return maps.rebuild(world, me, settings.map, changes, (settle_all, (names, then)))


def settle_all(world: World, me: int, known: Known) -> list[Move]:
    """Settle them."""
    names, then = known
    for name in names:
        world = settled(world, name)
    return [(world, *then)]
