from dataclasses import replace
from tests.model.explore import Result, explore
from tests.model.scenarios import Scenario


def explored(scenario: Scenario, without: str = "") -> Result:
    """Explore a scenario from each of its starts, until the first fault; without: the guard that is left out."""
    states = 0
    for world in scenario.worlds(replace(scenario.host, without=frozenset(filter(None, without.split(" + "))))):
        result = explore(world, (*scenario.ours, *scenario.others), len(scenario.ours))
        states += result.states
        if result.fault:
            return Result(states, result.fault, result.trace)
    return Result(states)
