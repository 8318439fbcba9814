"""A map of its own: popips makes it, changes it in place, and says so where it is not what it left."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popips.maps import Failed, Full, MapError, Records, Unsound, database, journal
from popips.maps.libdb import DBError
from popips.maps.seal import Seal
from tests.maps.files import Files, deleting, nothing, putting, soon

A, B = "192.0.2.10", "192.0.2.11"


def test_it_is_made_as_makemap_makes_it(own: Files) -> None:
    own.rebuild(A)
    assert own.records() == {A: "RELAY"}
    state = own.db.stat()
    assert (state.st_mode & 0o7777, state.st_uid, state.st_gid) == (0o640, 0, own.folder.stat().st_gid)
    assert subprocess.run(["db5.3_verify", own.db], capture_output=True).returncode == 0


def test_it_keeps_its_file_its_owner_and_its_mode(own: Files) -> None:
    own.rebuild(A)
    own.db.chmod(0o644)
    os.chown(own.db, 0, 12)
    before = own.db.stat()
    own.rebuild(B)
    own.put(A)
    after = own.db.stat()
    for field in ("st_ino", "st_mode", "st_uid", "st_gid"):
        assert getattr(before, field) == getattr(after, field)


def damage(files: Files) -> None:
    content = bytearray(files.db.read_bytes())
    content[16:4000] = os.urandom(3984)
    files.db.write_bytes(content)


def be_of_another_version(files: Files) -> None:
    content = bytearray(files.db.read_bytes())
    content[16] += 9
    files.db.write_bytes(content)


def be_of_another_type(files: Files) -> None:
    kind = "btree" if files.kind == "hash" else "hash"
    subprocess.run(["makemap", kind, str(files.db)], input=b"x y\n", check=True, stderr=subprocess.DEVNULL)


SPOILT: list[Callable[[Files], object]] = [
    lambda files: files.db.unlink(),
    damage,
    be_of_another_version,
    be_of_another_type,
    lambda files: os.truncate(files.db, 3000),
    lambda files: os.truncate(files.db, 0),
]


@pytest.mark.parametrize("spoil", SPOILT)
@pytest.mark.parametrize("mark", [False, True], ids=["", "sealed"])
def test_what_is_no_sound_map_is_unsound_and_can_be_made_anew(
    own: Files, spoil: Callable[[Files], object], mark: bool
) -> None:
    own.rebuild(A)
    spoil(own)
    if mark and own.db.exists():  # by whoever thinks that the seal is all there is
        with own.writer() as writer:
            writer._journal.seal = Seal(writer._state())  # type: ignore[attr-defined]
    with own.writer() as writer:
        with pytest.raises(Unsound):
            writer.change(putting(B), nothing)
        writer.rebuild([(A.encode(), b"RELAY"), (B.encode(), b"RELAY")])
        writer.change(deleting(A), nothing)
    assert own.records() == {B: "RELAY"}


def asking(records: Records) -> None:
    records.get(b"x")


def test_damage_deep_in_the_map_is_unsound(own: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    own.rebuild(A)
    for error in (DBError(-30985, "DB_PAGE_NOTFOUND"), SystemError("error return without exception set")):

        def fail(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(database.Records, "get", fail)
        with own.writer() as writer, pytest.raises(Unsound, match="popips-expire rebuilds it"):
            writer.change(asking, nothing)


def test_a_map_that_is_made_from_a_text_is_not_taken_for_ones_own(own: Files) -> None:
    own.build("198.51.100.7\tREJECT\n")
    before = own.db.read_bytes()
    with own.writer() as writer:
        with pytest.raises(Unsound):
            writer.change(putting(A), nothing)
        with pytest.raises(MapError, match="name another"):
            writer.rebuild([])
    assert own.db.read_bytes() == before


def test_what_found_no_room_is_never_written(own: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the writer has the map open, from the change before, and libdb has the new records in memory."""
    own.rebuild()

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with own.writer() as writer:
        writer.change(putting(A), nothing)
        with monkeypatch.context() as patch, pytest.raises(Full):
            patch.setattr("popips.maps.own._take_room", fail)
            writer.change(putting(*(f"172.16.0.{n}" for n in range(9))), nothing)
        writer.change(putting(B), nothing)
    assert own.records() == dict.fromkeys((A, B), "RELAY")


def test_the_map_is_locked_while_libdb_changes_it(own: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    own.rebuild()
    tried = []

    def try_to_read(*_: object) -> None:
        with own.db.open("rb") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        tried.append(True)

    monkeypatch.setattr("popips.maps.own._take_room", try_to_read)
    own.put(A)
    assert tried == [True]


def test_what_the_system_refuses_does_not_make_it_unsound(own: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or each login would make a map of a million anew, just when there is no memory for it."""
    own.rebuild(A)

    def fail(*_: object) -> None:
        raise DBError(24, "Too many open files")

    monkeypatch.setattr(database.Records, "get", fail)
    with own.writer() as writer, pytest.raises(Failed, match="Too many open files"):
        writer.change(asking, nothing)
    assert own.is_sealed()


def test_what_others_put_in_a_turn_of_theirs_is_not_lost(own: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the writer has had the map open before."""
    own.rebuild()
    sleep = time.sleep
    with own.writer() as writer:
        for number in range(5):
            writer.change(putting(f"192.0.2.{number}"), nothing)
            monkeypatch.setattr(time, "sleep", lambda _, number=number: own.put(f"198.51.100.{number}"))
            writer.give_way(soon())
            monkeypatch.setattr(time, "sleep", sleep)
    assert len(own.records()) == 10


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 400)), max_size=60), st.sampled_from(["hash", "btree"]))
@settings(max_examples=25, deadline=None)
def test_any_row_of_changes_leaves_what_a_dictionary_would(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[bool, int]], kind: str
) -> None:
    files = Files(tmp_path_factory.mktemp("own"), kind, own=True)
    model: dict[str, str] = {}
    files.rebuild()
    with files.writer() as writer:
        for is_put, number in changes:
            key = f"10.0.{number // 256}.{number % 256}"
            writer.change((putting if is_put else deleting)(key), nothing)
            model = {**model, key: "RELAY"} if is_put else {k: v for k, v in model.items() if k != key}
        assert writer.sealed()
    assert files.records() == model


def test_nothing_of_it_goes_through_the_journal(own: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal.Journal, "keep", lambda *_: pytest.fail("a journal for a map of its own"))
    own.rebuild(A)
    own.put(B)


def test_what_must_be_on_the_disk_is_brought_there_before_the_map_changes(own: Files) -> None:
    own.rebuild(A)
    before, seen = own.db.read_bytes(), []
    with own.writer() as writer:
        writer.change(putting(B), lambda: seen.append(own.db.read_bytes()))
    assert seen == [before]


def test_the_mta_may_read_it_until_it_is_written(own: Files) -> None:
    own.rebuild(A)
    read = []

    def look() -> None:
        with own.db.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            read.append(file.read())

    before = own.db.read_bytes()
    with own.writer() as writer:
        writer.change(deleting(A), look)
    assert read == [before]
    assert own.records() == {}


def test_a_step_sees_what_it_has_changed(own: Files) -> None:
    own.rebuild(A)
    seen = []

    def step(records: Records) -> None:
        records.delete(A.encode())
        records.put(B.encode(), b"RELAY")
        seen.append((records.get(A.encode()), records.get(B.encode()), list(records.items())))

    with own.writer() as writer:
        writer.change(step, nothing)
    assert seen == [(None, b"RELAY", [(B.encode(), b"RELAY")])]


def test_what_others_change_before_it_is_written_is_no_map_of_ours(own: Files) -> None:
    own.rebuild(A)
    with own.writer() as writer, pytest.raises(Unsound):
        writer.change(putting(B), lambda: damage(own))
    with own.writer() as writer, pytest.raises(Unsound):
        writer.change(putting(B), nothing)


def test_its_lock_is_free_between_changes(own: Files) -> None:
    own.rebuild(A)
    with own.writer() as writer:
        writer.change(putting(B), nothing)
        assert own.get(B) == "RELAY"
        assert 0 < writer.held < 60
