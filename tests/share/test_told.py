"""What popips-share leaves in share_from, and what it takes away there."""

from __future__ import annotations

from pathlib import Path

from share.ledger import Event
from share.told import Told

NOW = 1_800_000_000.0
DUE = NOW - 900


def test_what_is_due_goes_and_what_is_of_the_future_is_of_now(tmp_path: Path) -> None:
    told = Told(str(tmp_path / "from"))
    for name, time in (("192.0.2.1", DUE), ("192.0.2.2", NOW), ("192.0.2.3", NOW + 3600)):
        told.put(name, Event(time, True, "alice", "imap", "pop1"))
    told.sweep(DUE, NOW, {})  # the clock was an hour ahead, and has been put right
    there = {path.name: path.stat().st_mtime for path in (tmp_path / "from").glob("192.*")}
    assert there == {"192.0.2.2": NOW, "192.0.2.3": NOW}
    assert told.live == {"pop1": 2}


def test_files_that_are_none_of_its_own_stay(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "access.db").write_text("the admin's")  # by a mistake in share_from
    Told(str(tmp_path)).close()
    assert (tmp_path / "access.db").read_text() == "the admin's"
