"""A small share of `make torture`: every row of its table, at a size for every day."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture import Row, crowd, fail, fuzz, kill, powerloss, stop
from tests.torture.fuzz import Target
from tests.torture.kill import Scenario


def stands(row: Row) -> None:
    assert row.faults == []
    assert (row.lost, row.open) == (0, 0)
    assert row.survived == row.cases > 0


@pytest.mark.parametrize("scenario", kill.SCENARIOS, ids=lambda scenario: scenario.name)
def test_killed_at_system_calls(programs: Path, scenario: Scenario) -> None:
    stands(kill.run(programs, scenario, 200, most=12, most_again=3))


@pytest.mark.parametrize("scenario", fail.CHOSEN, ids=lambda scenario: scenario.name)
def test_failing_calls(programs: Path, scenario: Scenario) -> None:
    stands(fail.run(programs, scenario, 200, most=25))


@pytest.mark.parametrize("scenario", stop.CHOSEN, ids=lambda scenario: scenario.name)
def test_stopped_while_others_act(programs: Path, scenario: Scenario) -> None:
    stands(stop.run(programs, scenario, 200))


def test_a_full_disk(programs: Path) -> None:
    stands(fail.full_disk(programs))


@pytest.mark.parametrize("scenario", kill.SCENARIOS, ids=lambda scenario: scenario.name)
def test_power_loss(programs: Path, scenario: Scenario) -> None:
    stands(powerloss.run(programs, scenario, 200, cuts=20))


@pytest.mark.parametrize("target", fuzz.TARGETS, ids=lambda target: target.name)
def test_hostile_input(target: Target) -> None:
    stands(fuzz.run(target, 20_000))


def test_many_at_once(programs: Path) -> None:
    for row in crowd.run(programs, processes=4, logins=30, window=0.25):
        stands(row)


def test_signals() -> None:
    stands(crowd.signals(5))
