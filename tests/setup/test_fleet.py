"""A set-up is not taken back while its host tells others of logins: the end of its grants would be told as well."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from popips import configuration
from popips.db import main
from popips.probe import fleet, units
from popips.probe.machine import Machine
from popips.setup import apply, record
from popips.setup.step import Run, Step, Write
from tests.elsewhere import SHARE
from tests.setup import driver
from tests.test_fleet_told import told as fleet_of


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


def test_a_set_up_that_fails_in_a_fleet_ends_no_grant(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end, stop = ("sh", "-c", f"touch {host / 'ended'}", "end", "--all"), ("touch", str(host / "stopped"))
    steps: list[Step] = [
        Write("expirer", str(host / "cron"), "x\n", before_undo=(end, stop)),
        Run("dovecot", ("false",)),
    ]
    monkeypatch.setattr(units, "processes", processes("popips-share"))
    with pytest.raises(apply.Failed):
        apply.apply(steps, record.Record(), print)
    assert [(host / name).exists() for name in ("ended", "stopped", "cron")] == [False, True, False]
    monkeypatch.setattr(units, "processes", processes())
    with pytest.raises(apply.Failed):
        apply.apply(steps, record.Record(), print)
    assert (host / "ended").exists()


def test_popips_share_counts_by_what_it_writes_however_it_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By python3 -I, for instance: then its process bears that one's name."""
    monkeypatch.setattr(units, "processes", processes())
    conf, told = tmp_path / "popips.conf", tmp_path / "from"
    monkeypatch.setattr(configuration, "PATH", str(conf))
    tmp_path.chmod(0o755)
    told.mkdir(mode=0o755)
    found = []
    for share, written in ((SHARE, 0.0), (SHARE, 1000.0), ("none", 0.0)):
        conf.write_text(f"share = {share}\nshare_from = {told}\n")
        (told / ".fleet").write_text(json.dumps(fleet_of(time.time() - written)))
        found.append(fleet.is_joined(Machine()))
    assert found == [True, False, False]


def test_a_host_that_keeps_its_logins_to_itself_needs_no_such_step(
    host: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "processes", processes())
    assert undo(capfd) == (0, "")
    assert not (host / driver.FRESH).exists()
