"""What takes records out needs no room that it does not have; what finds no room leaves the map as it was."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from popips.maps import Full
from popips.maps.journal import is_idle
from tests.maps.files import Files, deleting, many, nothing, putting, text_of

SYSTEMS = {"tmpfs": ("tmpfs",), "ext4": ("mkfs.ext4", "-q")}


@pytest.fixture(params=SYSTEMS)
def small(request: pytest.FixtureRequest, mount: Callable[..., None]) -> None:
    """A small file system on tmp_path."""
    mount(*SYSTEMS[request.param], megabytes=8)


@pytest.fixture(params=["hash", "btree", "own hash", "own btree"])
def map_there(request: pytest.FixtureRequest, small: None, tmp_path: Path) -> Files:
    return Files(tmp_path, request.param.split()[-1], own=request.param.startswith("own"))


def fill(folder: Path) -> None:
    """Leave no room, for a byte or a new file."""
    with (folder / "filler").open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 512, 1):
            try:
                while True:
                    file.write(bytes(size))
                    os.fsync(file.fileno())
            except OSError as error:
                assert error.errno == errno.ENOSPC


def take_out(files: Files, keys: list[str]) -> None:
    """Delete the records as a run does: fewer at once where there is no room for many."""
    batch = 500
    with files.writer() as writer:
        while keys:
            try:
                writer.change(deleting(*keys[:batch]), nothing)
                del keys[:batch]
            except Full:
                assert batch > 1
                batch //= 2


@pytest.mark.parametrize("due", [3, 20, 600, 4000])
def test_records_are_taken_out_on_a_full_disk(map_there: Files, due: int) -> None:
    files, ours = map_there, [f"172.16.{n // 256}.{n % 256}" for n in range(due)]
    static = {} if files.place.own else many(2000)
    if files.place.own:
        files.rebuild()
    else:
        files.build(text_of(static))
    files.put(*ours)
    files.look()
    fill(files.folder)
    take_out(files, ours)
    assert files.records() == static
    assert files.is_sealed()


@pytest.mark.parametrize("kind", ["hash", "btree"])
def test_the_room_for_it_is_there_before_the_first_change(small: None, tmp_path: Path, kind: str) -> None:
    """As on a host whose disk fills up behind an upgrade, say."""
    files = Files(tmp_path, kind)
    files.build(text_of(many(2000)))
    files.look()
    fill(files.folder)
    take_out(files, list(many(600)))
    assert len(files.records()) == 1400


def test_where_there_is_no_room_nothing_is_changed_and_later_it_is(map_there: Files) -> None:
    files, more = map_there, [f"172.16.{n // 256}.{n % 256}" for n in range(4000)]
    if files.place.own:
        files.rebuild(*many(200))
    else:
        files.build(text_of(many(200)))
    files.look()
    before = files.db.read_bytes()
    fill(files.folder)
    for _ in range(2):
        with files.writer() as writer, pytest.raises(Full, match="No space left on device"):
            writer.change(putting(*more), nothing)
        assert files.db.read_bytes() == before
        assert files.is_sealed()
        assert is_idle(files.place)
    if files.place.own:
        with pytest.raises(Full):
            files.rebuild(*more)
        assert files.db.read_bytes() == before
        files.rebuild("192.0.2.10")
    (files.folder / "filler").unlink()
    files.put(*more)
    assert files.records().items() >= dict.fromkeys(more, "RELAY").items()


def test_a_map_that_cannot_grow_gets_its_old_bytes_back(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files.build(text_of(many(2000)))
    before = files.db.read_bytes()
    pwrite = os.pwrite
    refused: list[int] = []

    def full(fd: int, data: bytes, offset: int) -> int:
        if os.fstat(fd).st_ino == files.db.stat().st_ino and offset == 8192 and not refused:  # of the last, in a row
            assert pwrite(fd, data[:512], offset)
            refused.append(offset)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(Full):
        files.put(*(f"172.16.{n // 256}.{n % 256}" for n in range(4000)))
    assert files.db.read_bytes() == before
    assert is_idle(files.place)
