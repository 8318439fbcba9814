"""No order of steps breaks the protocol; and each guard of it is needed: without it, a scenario turns red."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.model.guards import GUARDS
from tests.model.scenarios import ALL, SMALL, explored

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs/reliability.md"


@pytest.mark.parametrize("name", SMALL)
def test_nothing_breaks_it(name: str) -> None:
    result = explored(SMALL[name])
    assert (result.fault, result.trace) == ("", [])


@pytest.mark.parametrize("guard", GUARDS)
def test_without_a_guard_something_breaks(guard: str) -> None:
    scenario, fault = GUARDS[guard]
    assert explored(SMALL[scenario], guard).fault == fault


def test_each_guard_is_in_the_table() -> None:
    asked = {guard for path in HERE.glob("*.py") for guard in re.findall(r'\bhas\("([^"]+)"\)', path.read_text())}
    assert asked == {guard for guards in GUARDS for guard in guards.split(" + ")}


def test_the_big_scenarios_can_be_started() -> None:
    for scenario in ALL.values():
        assert scenario.worlds(scenario.host)


def test_the_page_on_reliability_has_the_table_of_guards() -> None:
    lines = ["| taken out | scenario that turns red | fault |", "| --- | --- | --- |"]
    lines += [f"| {guard} | {scenario} | {fault} |" for guard, (scenario, fault) in GUARDS.items()]
    assert re.findall(r"(?ms)^\| taken out \| scenario .*?(?=\n\n)", PAGE.read_text()) == ["\n".join(lines)]
