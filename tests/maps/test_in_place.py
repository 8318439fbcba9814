"""What is written is what sendmail's own tools read, and it is written in place."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popips.maps import MapError, Records, database, kinds
from popips.maps.journal import is_idle
from popips.maps.libdb import DBError
from tests.maps.files import Files, deleting, many, nothing, putting, soon, text_of


def test_makemap_and_db_dump_read_what_was_put(either: Files) -> None:
    either.build("192.0.2.1 REJECT\n")
    either.put("ipv6:2001:db8:0:0:0:0:0:10")
    assert either.records() == {"192.0.2.1": "REJECT", "ipv6:2001:db8:0:0:0:0:0:10": "RELAY"}
    dump = subprocess.run(["db5.3_dump", "-p", str(either.db)], check=True, capture_output=True, text=True).stdout
    assert " ipv6:2001:db8:0:0:0:0:0:10\n RELAY\n" in dump
    assert subprocess.run(["db5.3_verify", str(either.db)], capture_output=True).returncode == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 400)), max_size=60), st.sampled_from([0, 150, 2000]))
@settings(max_examples=25, deadline=None)
def test_any_row_of_changes_leaves_what_a_dictionary_would(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[bool, int]], static: int
) -> None:
    files = Files(tmp_path_factory.mktemp("site"))
    model = many(static)
    files.build(text_of(model))
    with files.writer() as writer:
        for is_put, number in changes:
            key = f"10.0.{number // 256}.{number % 256}"

            writer.change((putting if is_put else deleting)(key), nothing)
            if is_put:
                model[key] = "RELAY"
            else:
                model.pop(key, None)
    assert files.records() == model


def test_putting_so_many_that_buckets_split_loses_none(either: Files) -> None:
    static = many(2000)
    either.build(text_of(static))
    size = either.db.stat().st_size
    new = {f"172.16.{n // 256}.{n % 256}": "RELAY" for n in range(3000)}
    either.put(*new)
    assert either.db.stat().st_size > size
    assert either.records() == static | new


def test_nul_terminated_keys_are_recognised_and_followed(files: Files) -> None:
    files.build("192.0.2.1 REJECT\n", "-N")
    assert files.get("192.0.2.1") == "REJECT"
    files.put("192.0.2.10")
    dump = subprocess.run(["db5.3_dump", "-p", str(files.db)], check=True, capture_output=True, text=True).stdout
    assert " 192.0.2.10\\00\n RELAY\\00\n" in dump
    files.delete("192.0.2.1")
    with kinds.reader(files.place, soon()) as records:
        assert dict(records.items()) == {b"192.0.2.10": b"RELAY"}


def test_a_map_with_duplicate_keys_has_them_replaced_and_deleted_together(files: Files) -> None:
    files.build("192.0.2.1 REJECT\n192.0.2.1 OK\n192.0.2.2 OK\n", "-d")
    files.put("192.0.2.1")
    assert files.records() == {"192.0.2.1": "RELAY", "192.0.2.2": "OK"}


def test_a_limit_runs_while_libdb_does_and_only_then(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pager, or a cold disk with many stamps, may keep whoever reads for longer than libdb ever takes."""
    files.build("192.0.2.1 REJECT\n192.0.2.2 OK\n")
    armed: list[int] = []
    monkeypatch.setattr(database, "alarm", armed.append)

    def ran() -> bool:
        """Whether a limit ran since the last time, and runs no more."""
        told = armed[:1] == [database.LIBDB_LIMIT] and armed[-1] == 0
        armed.clear()
        return told

    def step(records: Records) -> None:
        assert ran()  # to open it
        for _ in records.items():
            assert ran()
        armed.clear()
        records.get(b"192.0.2.1")
        assert ran()
        records.put(b"192.0.2.3", b"RELAY")
        assert ran()
        records.delete(b"192.0.2.3")
        assert ran()

    files.change(step)
    assert ran()  # to write, and to close it


def test_a_map_that_goes_round_in_a_circle_comes_to_an_end() -> None:
    class Circle:
        def cursor(self) -> Circle:
            return self

        def first(self) -> tuple[bytes, bytes]:
            return b"192.0.2.1", b"REJECT"

        next = first

    with pytest.raises(DBError, match="more records than bytes"):
        list(database.Records(Circle(), b"", 10).items())


def test_owner_group_mode_and_inode_stay(files: Files) -> None:
    os.chown(files.db, 0, 12)
    files.db.chmod(0o660)
    before = files.db.stat()
    files.put("192.0.2.10")
    after = files.db.stat()
    assert [getattr(after, f) for f in FIXED] == [getattr(before, f) for f in FIXED]


FIXED = ("st_ino", "st_uid", "st_gid", "st_mode", "st_nlink")


def test_a_step_that_changes_nothing_leaves_the_file_alone(files: Files) -> None:
    files.put("192.0.2.10")
    before = files.db.stat()
    files.put("192.0.2.10")
    files.delete("192.0.2.99")
    assert files.db.stat().st_mtime_ns == before.st_mtime_ns


def test_a_cursor_that_fails_without_a_word_means_a_damaged_map(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """As bsddb3's does on some bad pages: SystemError, error return without exception set."""

    def fail(*_: object) -> None:
        raise SystemError("error return without exception set")

    monkeypatch.setattr(database.Records, "__init__", fail)
    with pytest.raises(MapError, match=r"damaged, or of a version"):
        files.put("192.0.2.10")
    with pytest.raises(MapError, match=r"damaged, or of a version"):
        files.get("192.0.2.10")


def test_what_fails_in_a_step_is_not_told_of_the_map(tmp_path: Path) -> None:
    """A full disk of the stamps, for instance."""

    def fail(records: Records) -> None:
        records.put(b"192.0.2.10", b"RELAY")
        raise OSError(28, "No space left on device", "192.0.2.10")

    def refuse() -> None:
        raise OSError(28, "No space left on device")

    for own in (False, True):
        files = Files(tmp_path, own=own)
        if own:
            files.text.unlink()
            files.rebuild()
        with files.writer() as writer:
            with pytest.raises(OSError, match=r"\[Errno 28\] .*: '192\.0\.2\.10'"):
                writer.change(fail, nothing)
            with pytest.raises(OSError, match="Errno 28"):
                writer.change(putting("192.0.2.10"), refuse)
        assert files.records() == {}
        assert is_idle(files.place)
