"""Big maps: what a change costs, what is refused, and what happens where memory runs out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from popips.maps import Failed, MapError, database
from popips.maps.journal import is_idle
from popips.maps.libdb import DBError
from popips.maps.pages import SLICE, Change
from popips.maps.seal import Seal, state_of
from tests.maps.files import Files, many, text_of


def test_a_change_reads_a_big_map_in_big_slices(either: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    either.build(text_of(many(100_000)))
    reads: list[int] = []
    pread = os.pread

    def counted(fd: int, size: int, offset: int) -> bytes:
        reads.append(size)
        return pread(fd, size, offset)

    monkeypatch.setattr(os, "pread", counted)
    either.put("192.0.2.10")
    slices = either.db.stat().st_size // SLICE + 2
    assert len(reads) < 3 * slices + 40  # to copy, and to compare both; the rest are of what has changed
    monkeypatch.undo()
    assert either.get("192.0.2.10") == "RELAY"


def test_a_change_of_a_map_of_160_mb_needs_little_memory_of_its_own(files: Files) -> None:
    files.build(text_of(many(2000)))
    os.truncate(files.db, 160 << 20)
    program = f"""
import re, time
from popips.maps import Place, kinds
with kinds.writer(Place("hash", {str(files.db)!r}), "", time.time(), time.monotonic() + 60) as writer:
    writer.change(lambda records: records.put(b"192.0.2.10", b"RELAY"), lambda: None)
print(re.search("VmHWM: *\t *([0-9]+)", open("/proc/self/status").read())[1])
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 40 << 10  # KiB
    assert files.get("192.0.2.10") == "RELAY"


def test_a_map_of_two_gib_is_refused_with_a_clear_word(files: Files) -> None:
    os.truncate(files.db, 2 << 30)
    uses: list[Callable[[], object]] = [lambda: files.put("192.0.2.10"), lambda: files.get("192.0.2.10")]
    for use in uses:
        with pytest.raises(MapError, match=r"access\.db: too big to be copied .*own_map = yes"):
            use()


@pytest.mark.parametrize("size", [160 << 20, (2 << 30) + 4096])
def test_a_map_of_its_own_may_be_of_any_size(own: Files, size: int) -> None:
    own.rebuild("192.0.2.10")
    os.truncate(own.db, size)
    with own.writer() as writer:
        # as if it had grown by changes
        with writer._locked() as fd:  # type: ignore[attr-defined]
            writer._journal.seal = Seal(state_of(fd))  # type: ignore[attr-defined]
        writer.change(lambda records: records.put(b"192.0.2.11", b"RELAY"), lambda: None)
        writer.change(lambda records: records.delete(b"192.0.2.10"), lambda: None)
        assert writer.sealed()
    assert own.records() == {"192.0.2.11": "RELAY"}


def out_of_memory(*_: object, **__: object) -> None:
    raise MemoryError


SHORT: list[tuple[str, Callable[[pytest.MonkeyPatch], None]]] = [
    ("copying", lambda patch: patch.setattr(database, "copy_file", out_of_memory)),
    ("opening", lambda patch: patch.setattr(database, "habit", out_of_memory)),
    ("changing", lambda patch: patch.setattr(database.Records, "put", out_of_memory)),
    ("comparing", lambda patch: patch.setattr(Change, "between", out_of_memory)),
    ("packing", lambda patch: patch.setattr(Change, "pack", out_of_memory)),
    ("checking", lambda patch: patch.setattr(Change, "not_begun", out_of_memory)),
    ("writing", lambda patch: patch.setattr("popips.maps.pages.write_all", once(out_of_memory))),
    ("in libdb", lambda patch: patch.setattr(database.Records, "put", no_memory)),
]


def no_memory(*_: object) -> None:
    raise DBError(12, "Cannot allocate memory")


def once(fail: Callable[..., None]) -> Callable[..., None]:
    from popips.files import write_all

    calls: list[int] = []

    def failing(fd: int, data: bytes, offset: int) -> None:
        calls.append(1)
        if len(calls) == 2:
            fail()
        write_all(fd, data, offset)

    return failing


@pytest.mark.parametrize("where", [case[1] for case in SHORT], ids=[case[0] for case in SHORT])
def test_where_memory_runs_out_the_change_fails_and_the_map_is_as_it_was(
    files: Files, where: Callable[[pytest.MonkeyPatch], None]
) -> None:
    before = files.db.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        where(patch)
        with pytest.raises(Failed, match=r"access\.db.*memory|access\.db.*Cannot allocate"):
            files.put("192.0.2.10")
    assert files.db.read_bytes() == before
    assert is_idle(files.place)
    files.put("192.0.2.10")


@pytest.mark.parametrize("megabytes", [32, 48, 64, 96, 128, 512])
def test_under_a_limit_of_memory_a_change_works_or_fails_cleanly(files: Files, megabytes: int) -> None:
    files.build(text_of(many(20_000)))
    program = f"""
import resource, sys, time
from popips.maps import MapError, Place, in_place, kinds
resource.setrlimit(resource.RLIMIT_AS, ({megabytes} << 20,) * 2)
try:
    with kinds.writer(Place("hash", {str(files.db)!r}), "", time.time(), time.monotonic() + 60) as writer:
        writer.change(lambda records: records.put(b"192.0.2.10", b"RELAY"), lambda: None)
except MapError as error:
    sys.exit(str(error))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode in (0, 1)
    assert "Traceback" not in done.stderr
    assert done.stderr == "" or "access.db" in done.stderr
    put = {"192.0.2.10": "RELAY"} if done.returncode == 0 else {}
    assert files.records() == many(20_000) | put
