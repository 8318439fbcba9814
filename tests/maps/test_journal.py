"""A writer that dies leaves a map that the next one finishes or forgets; nothing of others is lost."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popips.maps import Failed, Records
from popips.maps.journal import DONE, LEFT, ROOM, Journal, is_idle
from popips.maps.lock import Wait
from popips.maps.pages import MAGIC, Change
from tests.maps.files import Files, many, nothing, putting, soon, text_of


def test_between_changes_the_journal_is_done_with_and_roots_own(files: Files) -> None:
    files.put("192.0.2.10")
    assert files.journal.stat().st_mode & 0o777 == DONE
    assert is_idle(files.place)


def test_of_a_big_change_little_stays_in_the_journal(files: Files) -> None:
    files.change(putting(*(f"198.18.0.{number}" for number in range(200)), value="x" * 900))
    assert files.journal.stat().st_size == ROOM


def test_only_its_mode_says_that_a_change_is_done(files: Files) -> None:
    files.put("192.0.2.10")
    kept = Journal(files.place, Wait(soon()))
    done = kept.left()
    Path(kept.path).chmod(LEFT)
    assert (done, bool(kept.left())) == (None, True)


def test_a_writer_that_dies_while_it_keeps_a_change_leaves_none(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes, or those of the change before, must not be taken for one that was begun."""
    files.put("192.0.2.10")
    monkeypatch.setattr("popips.maps.journal.os.fchmod", lambda fd, mode: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        files.put("192.0.2.11")
    assert is_idle(files.place)


class Killed(BaseException):
    pass


def die(*_: object) -> None:
    raise Killed


DEATHS: list[tuple[str, Callable[[pytest.MonkeyPatch], None]]] = [
    ("before a byte is written", lambda patch: patch.setattr(Change, "write", die)),
    ("before all are written", lambda patch: patch.setattr(Change, "write", half)),
    ("after they are written", lambda patch: patch.setattr(Journal, "clear", die)),
]


def half(change: Change, fd: int) -> None:
    for offset, _, new in change.chunks[len(change.chunks) // 2 :]:
        os.pwrite(fd, new, offset)
    raise Killed


def splits(records: Records) -> None:
    for n in range(400):
        records.put(b"172.16.0.%d.%d" % (n // 256, n % 256), b"RELAY")


@pytest.mark.parametrize("death", [death for _, death in DEATHS], ids=[name for name, _ in DEATHS])
def test_the_next_writer_finishes_or_forgets_what_a_dead_one_began(
    files: Files, death: Callable[[pytest.MonkeyPatch], None]
) -> None:
    static = many(2000)
    files.build(text_of(static))
    with pytest.MonkeyPatch.context() as patch:
        death(patch)
        with pytest.raises(Killed), files.writer() as writer:
            writer.change(splits, nothing)
    assert not is_idle(files.place)
    files.put("192.0.2.10")
    after = files.records()
    assert after.items() >= static.items()
    assert len(after) - len(static) in (1, 401)
    assert is_idle(files.place)


def test_what_could_not_be_brought_to_the_disk_is_written_again(files: Files) -> None:
    def fail(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Failed, match=r"access\.db: cannot be written: Input"):
        patch.setattr(os, "fdatasync", fail)
        files.put("192.0.2.10")
    assert not is_idle(files.place)
    with files.writer():
        assert is_idle(files.place)
    assert files.records() == {"192.0.2.10": "RELAY"}


def test_what_a_dead_writer_left_is_never_put_over_an_admins_rebuild(files: Files) -> None:
    files.build(text_of(many(2000)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Change, "write", half)
        with pytest.raises(Killed), files.writer() as writer:
            writer.change(splits, nothing)
    rebuilt = text_of({"198.51.100.1": "REJECT"} | many(2000))
    files.build(rebuilt)
    files.put("192.0.2.10")
    assert files.records() == {"198.51.100.1": "REJECT", "192.0.2.10": "RELAY"} | many(2000)


def test_a_torn_journal_means_that_nothing_was_begun(files: Files) -> None:
    files.put("192.0.2.10")
    files.journal.write_bytes(MAGIC + b"half of something")
    files.put("192.0.2.11")
    assert files.records() == {"192.0.2.10": "RELAY", "192.0.2.11": "RELAY"}


CONTENT = st.binary(max_size=9000) | st.integers(0, 80).map(lambda n: b"a page  " * 512 * n)  # many slices, too


@contextmanager
def change_between(old: bytes, new: bytes) -> Iterator[tuple[int, Change | None]]:
    """An open file with the old content, and what differs in the new one."""
    with TemporaryFile() as before, TemporaryFile() as after:
        for file, content in ((before, old), (after, new)):
            file.write(content)
            file.flush()
        yield before.fileno(), Change.between(before.fileno(), after.fileno())


@given(CONTENT, CONTENT)
def test_a_change_is_read_back_as_it_was_written(old: bytes, new: bytes) -> None:
    with change_between(old, new) as (_, change):
        if change is None:
            assert old == new
            return
        assert Change.unpack(change.pack()) == change
        assert Change.unpack(change.pack() + b"of another") == change
        assert Change.unpack(change.pack()[:-1]) is None
        assert change.chunks[0][0] == 0


@given(CONTENT, CONTENT, st.integers(0, 400_000), st.binary(max_size=5000))
def test_a_change_turns_the_old_bytes_into_the_new_ones(old: bytes, new: bytes, at: int, patch: bytes) -> None:
    for after in (new, old[:at] + patch + old[at + len(patch) :]):
        with change_between(old, after) as (fd, change):
            if change:
                assert change.not_begun(fd)
                change.write(fd)
            assert os.pread(fd, len(after) + 1, 0) == after
