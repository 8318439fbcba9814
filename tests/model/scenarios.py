"""Who meets whom: SMALL is explored by `make test`, all of it by `python -m tests.model --all`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.model import lane, outside, requests, revoke, run
from tests.model.explore import Process, Result, explore
from tests.model.world import Host, Settings, World, start

LOGIN, OTHER = (lane.renewed, (0,)), (lane.renewed, (1,))  # a login from the first address, and from the second
LONG = (requests.leave, (0,))  # one that takes the long way, whatever its stamp is
RUN = (run.run, ())
DENY, UNDENY, END = (revoke.deny, (0,)), (revoke.undeny, (0,)), (revoke.end, (0,))
EDIT, BUILD = (outside.edit, (0,)), (outside.build, ())
CONF, WINDOW, HALF, CUT = (
    (step, ()) for step in (outside.configure, outside.pass_window, outside.pass_half, outside.cut)
)

ONE = ("-", "n", "s", "d", "u")  # how the stamp of one address may be, see world.start()
VALUE = (Settings(value="ours"), Settings(value="new"))
KEY = (Settings(place=0), Settings(place=1))
MAP = (Settings(map=0, place=0), Settings(map=1, place=1), Settings(map=2, place=2))
PLAIN, OWN, TIMED, CROWD = Host(), Host(own=True), Host(ticks=True), Host(crowd=True)
LIMITED = Host(most=1, ticks=True)


@dataclass(frozen=True)
class Scenario:
    """Processes that start at once in a world, and the worlds that they start in, by their stamps."""

    mortal: tuple[Process, ...] = ()  # popips' own: each may be killed at each of its steps
    others: tuple[Process, ...] = ()
    host: Host = PLAIN
    stamps: tuple[str, ...] = ONE
    static: bool = False  # one more world: no stamps, and a static record on the first address
    power: bool = False  # keep account of what a power cut may lose

    def worlds(self, host: Host) -> list[World]:
        """Return the worlds that it starts in."""
        found = [start(host, stamps, "", self.power) for stamps in self.stamps]
        where = "text" if BUILD in self.others else "map"
        static = start(host, "-" * len(self.stamps[0]), where, self.power)
        return [*found, static] if self.static else found


def explored(scenario: Scenario, without: str = "") -> Result:
    """Explore a scenario from each of its worlds, until the first fault; without: guards, joined by " + "."""
    states = 0
    for world in scenario.worlds(replace(scenario.host, without=frozenset(filter(None, without.split(" + "))))):
        result = explore(world, (*scenario.mortal, *scenario.others), len(scenario.mortal))
        states += result.states
        if result.fault:
            return replace(result, states=states)
    return Result(states)


SMALL = {
    "a login and a run": Scenario((LOGIN, RUN), static=True),
    "a login, a run and a rebuild": Scenario((LOGIN, RUN), (BUILD,), static=True),
    "a login, a run and the window": Scenario((LOGIN, RUN), (WINDOW,)),
    "two logins": Scenario((LOGIN, LOGIN), static=True),
    "two logins and the window": Scenario((LONG, LONG), (WINDOW,), stamps=("-", "s")),
    "two logins and half a window twice": Scenario((LOGIN, LONG), (HALF, HALF), stamps=("s",)),
    "two logins and a run": Scenario((LOGIN, LONG, RUN), stamps=("-", "s", "d")),
    "three logins": Scenario((LOGIN, LOGIN, LONG)),
    "two logins, a run, a rebuild and the window": Scenario((LOGIN, LONG, RUN), (BUILD, WINDOW), stamps=("s",)),
    "two runs, a login and a rebuild": Scenario((LOGIN, RUN, RUN), (BUILD,), stamps=("s", "d")),
    "an edit": Scenario((LOGIN, RUN), (EDIT, BUILD), stamps=("-", "s")),
    "a denial": Scenario((LOGIN, DENY, RUN), stamps=("-", "s", "n")),
    "a denial that is lifted": Scenario((LOGIN, DENY), (UNDENY,), TIMED, ("-", "s")),
    "a denial and the long way": Scenario((LONG, DENY, RUN), stamps=("s",)),
    "an end": Scenario((LOGIN, END), (), TIMED, ("-", "s")),
    "an end and a run": Scenario((LONG, END, RUN), (), TIMED, ("-", "s")),
    "an end and two logins": Scenario((LONG, LONG, END), (), TIMED, ("s",)),
    "an end between two logins": Scenario((), (LOGIN, LONG, END, HALF, HALF), stamps=("s",)),
    "max_per_user": Scenario((LOGIN, OTHER), (), LIMITED, ("s-", "--", "ss")),
    "max_per_user and a run": Scenario((LOGIN, RUN), (), LIMITED, ("s-", "ss", "sn")),
    "another value": Scenario((LOGIN, RUN), (CONF,), Host(VALUE), ("-", "s", "d")),
    "another key": Scenario((LOGIN, RUN), (CONF,), Host(KEY), ("-", "s", "d")),
    "another key, and a rebuild": Scenario((LONG, RUN), (CONF, BUILD), Host(KEY), ("s",)),
    "another key, and an end": Scenario((END, RUN), (CONF,), Host(KEY), ("s",)),
    "another map": Scenario((LOGIN, RUN), (CONF,), Host(MAP[:2]), ("-", "s", "d")),
    "another map, and another": Scenario((LONG,), (CONF, CONF), Host(MAP), ("-", "s")),
    "another map, and back": Scenario((LONG, RUN), (CONF, CONF), Host((*MAP[:2], MAP[0])), ("-", "s")),
    "another map, another, and an end": Scenario((END, RUN), (CONF, CONF), Host(MAP), ("s",)),
    "another map, and a denial": Scenario((LONG, DENY), (CONF,), Host(MAP[:2]), ("s",)),
    "another map of its own": Scenario((LOGIN, RUN), (CONF,), Host(MAP[:2], own=True), ("-", "s", "d")),
    "a map of its own": Scenario((LOGIN, RUN), (BUILD,), OWN),
    "a map of its own and the window": Scenario((LOGIN, RUN), (BUILD, WINDOW), OWN, ("-", "s", "d")),
    "a map of its own and a denial": Scenario((LOGIN, DENY), (BUILD,), OWN, ("s",)),
    "a power cut": Scenario((LOGIN, RUN), (CUT,), static=True, power=True),
    "a power cut and an end": Scenario((END,), (CUT,), TIMED, ("s", "d"), power=True),
    "a power cut and a map of its own": Scenario((LOGIN, RUN), (CUT,), OWN, power=True),
    "a power cut and another map": Scenario((RUN,), (CONF, CUT), Host(MAP[:2], own=True), ("s", "d"), power=True),
    "two addresses": Scenario((LOGIN, OTHER), stamps=("--", "sd", "-s"), static=True),
    "two addresses and a rebuild": Scenario((LONG, RUN), (BUILD,), stamps=("-s", "ds")),
    "two addresses and a run": Scenario((LONG, RUN), stamps=("sd", "du", "dn")),
    "a crowd": Scenario((LONG, LONG), (), CROWD, ("-",)),
    "a crowd and a run": Scenario((LONG, LONG, RUN), (), CROWD, ("-",)),
    "a crowd of three": Scenario((LONG, LONG, LONG), (), CROWD, ("s",)),
}

ALL = SMALL | {
    "three logins, a run and the window": Scenario((LOGIN, LONG, LONG, RUN), (WINDOW,), stamps=("s",)),
    "two logins, two runs and the window": Scenario((LOGIN, LONG, RUN, RUN), (WINDOW,), stamps=("d",)),
    "two logins, an edit and a rebuild": Scenario((LOGIN, LONG, RUN), (EDIT, BUILD), static=True),
    "a denial, lifted, with two logins and a run": Scenario((LOGIN, LONG, DENY, RUN), (UNDENY,), TIMED, ("-", "s")),
    "a denial and an end": Scenario((LOGIN, DENY, END, RUN), (), TIMED, ("-", "s")),
    "an end, two logins, a run and the window": Scenario((LOGIN, LONG, END, RUN), (WINDOW,), TIMED, ("s", "d")),
    "max_per_user, three logins and a run": Scenario((LOGIN, OTHER, LONG, RUN), (), LIMITED, ("s-", "ss", "--")),
    "max_per_user, a run and the window": Scenario((LOGIN, OTHER, RUN), (WINDOW,), LIMITED, ("s-", "ss", "sd")),
    "another value, two logins and the window": Scenario(
        (LOGIN, LONG, RUN), (CONF, WINDOW), Host(VALUE), ("-", "s", "d")
    ),
    "another key, two logins and a rebuild": Scenario((LOGIN, LONG, RUN), (CONF, BUILD), Host(KEY), ("-", "s", "d")),
    "two other maps, two logins and a run": Scenario((LOGIN, LONG, RUN), (CONF, CONF), Host(MAP), ("-", "s", "d")),
    "two other maps, a login, an end and a run": Scenario((LOGIN, END, RUN), (CONF, CONF), Host(MAP), ("s",)),
    "another map of its own, two logins": Scenario(
        (LOGIN, LONG, RUN), (CONF, BUILD), Host(MAP[:2], own=True), ("s", "d")
    ),
    "a map of its own, two logins": Scenario((LOGIN, LONG, RUN), (BUILD, WINDOW), OWN, ("-", "s", "d")),
    "a map of its own, max_per_user": Scenario((LOGIN, OTHER, RUN), (BUILD,), replace(LIMITED, own=True), ("s-", "ss")),
    "a power cut, two logins": Scenario((LOGIN, LONG, RUN), (CUT, WINDOW), static=True, power=True),
    "a power cut and a denial": Scenario((LOGIN, DENY, RUN), (CUT,), stamps=("-", "s"), power=True),
    "a power cut and two addresses": Scenario((LOGIN, OTHER, RUN), (CUT,), stamps=("-s", "sd"), power=True),
    "two addresses, a run and a rebuild": Scenario(
        (LOGIN, OTHER, RUN), (BUILD,), stamps=("-s", "sd", "su"), static=True
    ),
    "two addresses, a run and the window": Scenario((LOGIN, OTHER, RUN), (WINDOW,), stamps=("-s", "sd", "--")),
    "a crowd of three, and a run": Scenario((LONG, LONG, LONG, RUN), (), CROWD, ("-", "s")),
    "a crowd of four": Scenario((LONG, LONG, LONG, LONG), (), CROWD, ("-",)),
}
