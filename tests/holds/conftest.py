"""One room for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.holds.room import Room


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose name says nothing: messages that name files in it are searched for words."""
    return tmp_path_factory.mktemp("here")


@pytest.fixture
def room(programs: Path, tmp_path: Path) -> Room:
    return Room(programs, tmp_path / "host")


@pytest.fixture
def own(programs: Path, tmp_path: Path) -> Room:
    """A room with a map that holds nothing but grants."""
    return Room(programs, tmp_path / "host", own_map="yes")


@pytest.fixture(params=["access", "own"])
def either(programs: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Room:
    return Room(programs, tmp_path / "host", **({"own_map": "yes"} if request.param == "own" else {}))
