"""The locks of the MTA, whichever way it was built, and a map that changes while popips waits for one."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from popips.maps import Busy, NotNeeded, kinds, lock
from popips.maps.journal import Journal
from popips.maps.lock import Wait
from popips.maps.pages import Change
from tests.maps.files import NOW, Files, nothing, putting, soon


@pytest.mark.parametrize("how", ["flock", "fcntl"])
@pytest.mark.parametrize("shared", [False, True])
def test_the_locks_of_both_builds_of_sendmail_are_respected(files: Files, how: str, shared: bool) -> None:
    program = (
        f"import fcntl, sys; f = open({str(files.db)!r}, 'r+b');"
        f"fcntl.{'flock' if how == 'flock' else 'lockf'}(f, fcntl.LOCK_{'SH' if shared else 'EX'});"
        "print('locked', flush=True); sys.stdin.read()"
    )
    before = files.db.read_bytes()
    with subprocess.Popen(["python3", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout and other.stdin
        other.stdout.readline()
        now = time.monotonic()
        with pytest.raises(Busy), kinds.writer(files.place, "", NOW, now + 0.05) as writer:
            writer.change(putting("192.0.2.10"), nothing)
        if shared:
            assert files.get("192.0.2.10") is None
        else:
            with pytest.raises(Busy), kinds.reader(files.place, now + 0.05):
                pass
        other.stdin.close()
    assert files.db.read_bytes() == before
    files.put("192.0.2.10")
    assert files.get("192.0.2.10") == "RELAY"


def locked_by_another(path: Path) -> bool:
    """Whether the file is locked exclusively, by either kind of lock."""
    fd = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, lock._range(fcntl.F_RDLCK))
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def test_bytes_are_written_under_the_exclusive_lock_alone(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    write = Change.write

    def watched(change: Change, fd: int) -> None:
        seen.append(locked_by_another(files.db))
        write(change, fd)

    monkeypatch.setattr(Change, "write", watched)
    files.put("192.0.2.10")
    assert seen == [True]


@pytest.mark.parametrize("while_waiting_for", ["shared", "exclusive"])
def test_a_map_that_was_renamed_over_while_waiting_is_opened_again(
    files: Files, monkeypatch: pytest.MonkeyPatch, while_waiting_for: str
) -> None:
    take = lock._take
    renamed: list[int] = []

    def rename_meanwhile(fd: int, exclusive: bool, wait: Wait, path: str) -> None:
        if not renamed and path == str(files.db) and exclusive == (while_waiting_for == "exclusive"):
            # the same records and bytes, as by `cp -p` and mv: only the inode tells
            shutil.copy2(files.db, f"{files.folder}/new.db")
            os.rename(f"{files.folder}/new.db", files.db)
            renamed.append(1)
        take(fd, exclusive, wait, path)

    files.build("192.0.2.1 REJECT\n")
    monkeypatch.setattr(lock, "_take", rename_meanwhile)
    files.put("192.0.2.10")
    assert files.records() == {"192.0.2.1": "REJECT", "192.0.2.10": "RELAY"}


@pytest.mark.parametrize("rebuild", ["in place", "by rename"])
def test_a_map_that_was_rebuilt_before_the_commit_is_copied_again(
    files: Files, monkeypatch: pytest.MonkeyPatch, rebuild: str
) -> None:
    keep = Journal.keep
    rebuilt: list[int] = []

    def rebuild_meanwhile(self: Journal, change: Change) -> None:
        keep(self, change)
        if not rebuilt:
            rebuilt.append(1)
            if rebuild == "in place":
                files.build("192.0.2.1 REJECT\n")
            else:
                files.makemap("192.0.2.1 REJECT\n", to="new.db")
                os.rename(f"{files.folder}/new.db", files.db)

    monkeypatch.setattr(Journal, "keep", rebuild_meanwhile)
    files.put("192.0.2.10")
    assert files.records() == {"192.0.2.1": "REJECT", "192.0.2.10": "RELAY"}


def test_whoever_waits_for_the_writers_lock_is_asked_at_each_try_whether_he_still_needs_it(files: Files) -> None:
    asked: list[bool] = []

    def gone() -> bool:
        asked.append(len(asked) == 2)
        return asked[-1]

    with files.writer(), pytest.raises(NotNeeded):
        kinds.writer(files.place, "", NOW, soon(), gone)
    assert asked == [False, False, True]


def test_a_journal_that_was_removed_while_waiting_is_made_anew(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock of a file without a name keeps nobody out."""
    take = lock._take

    def remove_meanwhile(fd: int, exclusive: bool, wait: Wait, path: str) -> None:
        take(fd, exclusive, wait, path)
        monkeypatch.undo()
        files.journal.unlink()

    files.put("192.0.2.10")
    monkeypatch.setattr(lock, "_take", remove_meanwhile)
    with files.writer(), pytest.raises(Busy):
        kinds.writer(files.place, "", NOW, time.monotonic())


def test_whoever_waits_for_the_writers_lock_gets_his_turn(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        files.put("192.0.2.10")

    with files.writer() as writer:
        monkeypatch.setattr(time, "sleep", pause)
        writer.give_way(soon())
    assert pauses == [2 * lock.PAUSE]


@pytest.mark.parametrize(("mode", "told"), [(0o640, False), (0o644, True)])
def test_a_map_that_any_user_can_lock_is_told_of_where_the_lock_is_not_to_be_had(
    files: Files, mode: int, told: bool
) -> None:
    files.db.chmod(mode)
    with files.db.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Busy) as error, kinds.reader(files.place, time.monotonic()):
            pass
    assert (f"chmod o-r {files.db}" in str(error.value)) == told
