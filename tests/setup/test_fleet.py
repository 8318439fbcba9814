"""A set-up is not taken back while its host tells others of logins: the end of its grants would be told as well."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from popips.db import main
from popips.probe import units
from popips.setup import record
from tests.setup import driver


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host that is set up."""
    made = tmp_path / "host"
    made.mkdir()
    (made / driver.EDITED).write_text("a = b\n")
    assert driver.main("apply", made) == 0
    monkeypatch.setattr(record, "Record", lambda: driver.record(made))
    return made


def processes(*names: str) -> Callable[..., dict[str, list[int]]]:
    return lambda machine, wanted: {name: [4711] if name in names else [] for name in wanted}


def undo(capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    status = main.main(["setup", "--undo", "--json"])
    said = capfd.readouterr()
    failed = json.loads(said.out)["failed"]
    return status, "".join(failed)


def test_a_host_of_a_fleet_leaves_it_before_its_set_up_is_taken_back(
    host: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "processes", processes("popips-share"))
    status, failed = undo(capfd)
    assert (status, "systemctl disable --now popips-share.service" in failed) == (1, True)
    assert (host / driver.FRESH).exists()


def test_a_host_that_keeps_its_logins_to_itself_needs_no_such_step(
    host: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "processes", processes())
    assert undo(capfd) == (0, "")
    assert not (host / driver.FRESH).exists()
