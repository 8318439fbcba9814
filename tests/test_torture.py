"""A small share of `make torture`: every row of its table, at a size for every day."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture import (
    Row,
    crowd,
    fail,
    full,
    fuzz,
    inside,
    kill,
    power,
    powerloss,
    scarce,
    scenarios,
    signals,
    sockets,
    stop,
    whole,
)
from tests.torture.fuzz import Target
from tests.torture.ground import Where
from tests.torture.scenarios import Scenario


def stands(row: Row) -> None:
    assert row.faults == []
    assert (row.lost, row.open) == (0, 0)
    assert row.survived == row.cases > 0


def each(chosen: list[Scenario]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("scenario", chosen, ids=lambda scenario: scenario.name)


@pytest.fixture
def where(programs: Path) -> Where:
    return Where(programs)


@each(scenarios.SCENARIOS)
def test_killed_at_system_calls(where: Where, scenario: Scenario) -> None:
    stands(kill.run(where, scenario, 200, most=8, most_again=2))


@each(fail.CHOSEN)
def test_failing_calls(where: Where, scenario: Scenario) -> None:
    stands(fail.run(where, scenario, 200, most=16))


@each(stop.CHOSEN)
def test_stopped_while_others_act(where: Where, scenario: Scenario) -> None:
    stands(stop.run(where, scenario, 200, most=60))


@each(whole.SCENARIOS)
def test_killed_anywhere_in_sh_loader_or_interpreter(where: Where, scenario: Scenario) -> None:
    stands(whole.kill(where, scenario, most=10))


@each(whole.SCENARIOS)
def test_any_call_of_sh_loader_or_interpreter_fails(where: Where, scenario: Scenario) -> None:
    stands(whole.fail(where, scenario, most=20))


@pytest.mark.parametrize("what", scarce.SCARCE)
def test_too_little_of_what_a_host_has(where: Where, what: str) -> None:
    stands(scarce.run(where, what, 200, most=4))


@pytest.mark.parametrize("disk", full.DISKS)
def test_a_full_disk(programs: Path, disk: str) -> None:
    stands(inside.on_disk(programs, disk, "full", disk, 1))


@each(scenarios.SCENARIOS)
def test_power_loss(where: Where, scenario: Scenario) -> None:
    stands(powerloss.run(where, scenario, 200, cuts=6))


@each(power.CHOSEN)
def test_power_loss_with_delayed_allocation(programs: Path, scenario: Scenario) -> None:
    stands(inside.on_disk(programs, "delayed allocation", "power", scenario.name, 200, 2))


def test_a_file_system_of_whole_seconds(programs: Path) -> None:
    stands(inside.on_disk(programs, "whole seconds", "seconds", 1))


@each(scenarios.AS_A_WHOLE)
def test_maps_that_are_made_as_a_whole(programs: Path, scenario: Scenario) -> None:
    mta = scenario.mta
    stands(inside.by_mta(programs, mta, inside.NO_DISK, "kill", scenario.name, 200, 5, 1))
    stands(inside.by_mta(programs, mta, inside.NO_DISK, "fail", scenario.name, 200, 8))
    stands(inside.by_mta(programs, mta, "delayed allocation", "power", scenario.name, 200, 2))


@pytest.mark.parametrize("target", fuzz.TARGETS, ids=lambda target: target.name)
def test_hostile_input(target: Target) -> None:
    stands(fuzz.run(target, 20_000))


def test_hostile_clients_of_popips_mapd(where: Where) -> None:
    stands(sockets.run(where, 60_000, crowd=2500))


def test_many_at_once(programs: Path) -> None:
    for row in crowd.run(programs, processes=4, logins=30, window=0.25):
        stands(row)


def test_signals() -> None:
    stands(signals.run(5))
