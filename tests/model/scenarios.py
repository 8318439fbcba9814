"""Who meets whom: the scenarios that are explored, small ones for `make test`, big ones for `python -m tests.model --all`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from tests.model import explore, lane, outside, requests, revoke, run
from tests.model.world import Host, Settings, World, start

LOGIN, OTHER = (lane.renewed, (0,)), (lane.renewed, (1,))  # a login from the first address, and from the second
LONG = (requests.leave, (0,))  # one that takes the long way whatever its stamp says
RUN = (run.run, ())
DENY, DELETE, UNDENY = (revoke.deny, (0,)), (revoke.delete, (0,)), (revoke.undeny, (0,))
EDIT, BUILD = (outside.edit, (0,)), (outside.build, ())
CONF, WINDOW, CUT = (outside.configure, ()), (outside.pass_window, ()), (outside.cut, ())
HALF = (outside.pass_half, ())

ONE = ("-", "n", "s", "d", "u")  # how the stamp of one address may be, see world.start()
VALUE = (Settings(value="ours"), Settings(value="new"), Settings(value="newer"))
KEY = (Settings(place=0), Settings(place=1), Settings(place=2))
MAP = (Settings(map=0, place=0), Settings(map=1, place=1), Settings(map=2, place=2))


@dataclass(frozen=True)
class Scenario:
    """Processes that start at once in a world: popips' own, each of which may be killed, and others."""

    ours: tuple[explore.Process, ...]
    others: tuple[explore.Process, ...] = ()
    host: Host = Host()
    stamps: tuple[str, ...] = ONE
    static: bool = False  # begin with a static record on the first address, too
    power: bool = False  # keep account of what a power cut may lose

    def worlds(self, host: Host) -> list[World]:
        """Return the worlds that it starts from."""
        found = [start(host, stamps, "", self.power) for stamps in self.stamps]
        where = "text" if BUILD in self.others else "map"
        none = "-" * len(self.stamps[0])
        return [*found, start(host, none, where, self.power)] if self.static else found


SMALL: dict[str, Scenario] = {
    "a login and a run": Scenario((LOGIN, RUN), static=True),
    "a login, a run and a rebuild": Scenario((LOGIN, RUN), (BUILD,), static=True),
    "a login, a run and the window": Scenario((LOGIN, RUN), (WINDOW,)),
    "two logins": Scenario((LOGIN, LOGIN), static=True),
    "two logins and the window": Scenario((LONG, LONG), (WINDOW,), stamps=("-", "s")),
    "two logins and half a window twice": Scenario((LOGIN, LONG), (HALF, HALF), stamps=("s",)),
    "two logins and a run": Scenario((LOGIN, LONG, RUN), stamps=("-", "s", "d")),
    "two runs, a login and a rebuild": Scenario((LOGIN, RUN, RUN), (BUILD,), stamps=("s", "d")),
    "an edit": Scenario((LOGIN, RUN), (EDIT, BUILD), stamps=("-", "s")),
    "a denial": Scenario((LOGIN, DENY, RUN), stamps=("-", "s", "n")),
    "a denial that is lifted": Scenario((LOGIN, DENY), (UNDENY,), Host(ticks=True), stamps=("-", "s")),
    "a denial and a long way": Scenario((LONG, DENY, RUN), stamps=("s",)),
    "an end": Scenario((LOGIN, DELETE), host=Host(ticks=True), stamps=("-", "s")),
    "an end and a run": Scenario((LONG, DELETE, RUN), host=Host(ticks=True), stamps=("-", "s")),
    "an end between two logins": Scenario((LOGIN, LONG, DELETE), (HALF, HALF), stamps=("s",)),
    "an end and two logins": Scenario((LONG, LONG, DELETE), host=Host(ticks=True), stamps=("s",)),
    "max_per_user": Scenario((LOGIN, OTHER), host=Host(most=1, ticks=True), stamps=("s-", "--", "ss")),
    "max_per_user and a run": Scenario((LOGIN, RUN), host=Host(most=1, ticks=True), stamps=("s-", "ss", "sn")),
    "another value": Scenario((LOGIN, RUN), (CONF,), Host(VALUE[:2]), ("-", "s", "d")),
    "another key": Scenario((LOGIN, RUN), (CONF,), Host(KEY[:2]), ("-", "s", "d")),
    "another map": Scenario((LOGIN, RUN), (CONF,), Host(MAP[:2]), ("-", "s", "d")),
    "another map, and another": Scenario((LONG,), (CONF, CONF), Host(MAP), ("-", "s")),
    "another map, and back": Scenario((LONG, RUN), (CONF, CONF), Host((*MAP[:2], MAP[0])), ("-", "s")),
    "another map, another, and an end": Scenario((DELETE, RUN), (CONF, CONF), Host(MAP), ("s",)),
    "another map, and a denial": Scenario((LONG, DENY), (CONF,), Host(MAP[:2]), ("s",)),
    "another key, and a rebuild": Scenario((LONG, RUN), (CONF, BUILD), Host(KEY[:2]), ("s",)),
    "another map of its own": Scenario((LOGIN, RUN), (CONF,), Host(MAP[:2], own=True), ("-", "s", "d")),
    "another key, and an end": Scenario((DELETE, RUN), (CONF,), Host(KEY[:2]), ("s",)),
    "a map of its own": Scenario((LOGIN, RUN), (BUILD,), Host(own=True)),
    "a map of its own and the window": Scenario((LOGIN, RUN), (BUILD, WINDOW), Host(own=True), ("-", "s", "d")),
    "a map of its own and a denial": Scenario((LOGIN, DENY), (BUILD,), Host(own=True), ("s",)),
    "a power cut": Scenario((LOGIN, RUN), (CUT,), power=True, static=True),
    "a power cut and an end": Scenario((DELETE,), (CUT,), Host(ticks=True), ("s", "d"), power=True),
    "a power cut and a map of its own": Scenario((LOGIN, RUN), (CUT,), Host(own=True), power=True),
    "a power cut and another map": Scenario((RUN,), (CONF, CUT), Host(MAP[:2], own=True), ("s", "d"), power=True),
    "two addresses": Scenario((LOGIN, OTHER), stamps=("--", "sd", "-s"), static=True),
    "two addresses and a rebuild": Scenario((LONG, RUN), (BUILD,), stamps=("-s", "ds")),
    "two addresses and a run": Scenario((LONG, RUN), stamps=("sd", "du", "dn")),
    "a crowd": Scenario((LONG, LONG), host=Host(crowd=True), stamps=("-",)),
    "a crowd and a run": Scenario((LONG, LONG, RUN), host=Host(crowd=True), stamps=("-",)),
    "a crowd of three": Scenario((LONG, LONG, LONG), host=Host(crowd=True), stamps=("s",)),
}


def explored(scenario: Scenario, without: str = "") -> explore.Result:
    """Explore a scenario from each of its starts, until the first fault; without: guards to leave out, joined by " + "."""
    states = 0
    for world in scenario.worlds(replace(scenario.host, without=frozenset(filter(None, without.split(" + "))))):
        result = explore.explore(world, (*scenario.ours, *scenario.others), len(scenario.ours))
        states += result.states
        if result.fault:
            return replace(result, states=states)
    return explore.Result(states)
