"""Whether anybody but popips has changed a map is told by the map itself, whatever its mtime says."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from popips.maps import Unsound, seal
from popips.maps.base import Base
from popips.maps.seal import Seal
from tests.maps.files import NOW, Files, deleting, nothing, putting


def test_a_map_that_was_never_looked_at_is_not_sealed_by_a_change(either: Files) -> None:
    either.put("192.0.2.10")
    assert not either.is_sealed()
    assert either.look() == {b"192.0.2.10": b"RELAY"}
    assert either.is_sealed()


def test_the_changes_of_popips_leave_the_seal_whole(either: Files) -> None:
    either.look()
    with either.writer() as writer:
        for step in (putting("192.0.2.10"), putting("192.0.2.10"), deleting("192.0.2.10"), deleting("192.0.2.99")):
            writer.change(step, nothing)
            assert writer.sealed()
        writer.show()
        assert writer.sealed()
    assert either.is_sealed()


def keeping_its_mtime(change: Callable[[Files], object]) -> Callable[[Files], object]:
    """By someone who sets the mtime back: only the rest of the map tells."""

    def changed(files: Files) -> None:
        before = files.db.stat()
        change(files)
        os.utime(files.db, ns=(before.st_atime_ns, before.st_mtime_ns))

    return changed


def copied(files: Files) -> None:
    shutil.copy2(files.db, files.folder / "new.db")
    os.rename(files.folder / "new.db", files.db)


OTHERS: list[tuple[str, Callable[[Files], object]]] = [
    ("makemap", lambda files: files.makemap("192.0.2.1 REJECT\n")),
    ("makemap of the same records", lambda files: files.makemap("192.0.2.10 RELAY\n")),
    ("makemap -o", lambda files: files.makemap("192.0.2.1 REJECT\n", "-o")),
    ("another file of that name", copied),
    ("mtime set back", lambda files: files.set_mtime(NOW - 500)),
    ("mtime set ahead", lambda files: files.set_mtime(NOW + 500)),
    ("emptied", lambda files: os.truncate(files.db, 0)),
    ("cut", lambda files: os.truncate(files.db, 8000)),
    ("missing", lambda files: files.db.unlink()),
    ("journal gone", lambda files: files.journal.unlink()),
    ("journal emptied", lambda files: os.truncate(files.journal, 0)),
    ("journal is garbage", lambda files: files.journal.write_bytes(b"\xff \n" * 9000)),
]


@pytest.mark.parametrize("how", [lambda change: change, keeping_its_mtime], ids=["", "and mtime as it was"])
@pytest.mark.parametrize("change", [case[1] for case in OTHERS], ids=[case[0] for case in OTHERS])
def test_whatever_others_do_to_a_map_breaks_its_seal(
    own: Files, change: Callable[[Files], object], how: object
) -> None:
    own.rebuild("192.0.2.10")
    assert own.is_sealed()
    assert callable(how)
    try:
        how(change)(own)
    except FileNotFoundError:
        assert not own.db.exists()
    assert not own.is_sealed()
    with own.writer() as writer, pytest.raises(Unsound):
        writer.change(putting("192.0.2.11"), nothing)
    with own.writer() as writer, pytest.raises(Unsound):
        writer.look(lambda records: None)
    own.rebuild("192.0.2.10")
    own.put("192.0.2.11")
    assert (own.records(), own.is_sealed()) == (dict.fromkeys(("192.0.2.10", "192.0.2.11"), "RELAY"), True)


def test_a_touched_journal_seals_nothing(own: Files) -> None:
    own.rebuild("192.0.2.10")
    own.makemap("192.0.2.1 RELAY\n")
    state = own.db.stat()
    os.utime(own.journal, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert not own.is_sealed()


@pytest.mark.parametrize("whole_seconds", [True, False])
def test_makemap_within_the_second_of_a_grant_is_seen_where_times_are_whole_seconds(
    tmp_path: Path, mount: Callable[..., None], whole_seconds: bool
) -> None:
    mount("mkfs.ext4", "-q", "-I", "128" if whole_seconds else "256")
    files = Files(tmp_path)
    files.makemap("192.0.2.1 RELAY\n")
    files.look()
    before = files.db.stat()
    for _ in range(100):  # until both have fallen into one second
        files.makemap("192.0.2.2 REJECT\n")
        after = files.db.stat()
        if whole_seconds and (after.st_mtime_ns, after.st_ctime_ns) != (before.st_mtime_ns, before.st_ctime_ns):
            files.makemap("192.0.2.1 RELAY\n")
            files.look()
            before = files.db.stat()
            continue
        break
    assert (before.st_ctime_ns % 10**9 == 0) == whole_seconds
    assert (before.st_ino, before.st_size) == (after.st_ino, after.st_size)
    assert not files.is_sealed()


def test_in_another_boot_no_seal_holds(own: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power failure may have undone what was not on the disk."""
    own.rebuild("192.0.2.10")
    for boot in ("another", ""):
        (own.folder / "boot_id").write_text(boot)
        monkeypatch.setattr(seal, "BOOT_ID", str(own.folder / "boot_id"))
        assert not own.is_sealed()
    monkeypatch.setattr(seal, "BOOT_ID", "/nowhere")
    own.rebuild("192.0.2.10")
    assert not own.is_sealed()


@pytest.mark.parametrize("dies_in", ["_move", "_renew"])
@pytest.mark.parametrize("kind", ["hash", "own"])
def test_killed_before_it_is_sealed_again_a_map_is_not(tmp_path: Path, kind: str, dies_in: str) -> None:
    files = Files(tmp_path, own=kind == "own")
    if kind == "own":
        files.rebuild()
    files.look()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(Base, dies_in, lambda *words, **more: 1 / 0)
        files.put("192.0.2.10")
    assert not files.is_sealed()


def test_a_seal_is_read_back_as_it_was_written() -> None:
    for made in (Seal("1:2:3:4:5f"), Seal("1:2:3:4:5f", "6:7:8:9", False)):
        assert Seal.unpack(made.pack() + bytes(4000)) == made
    assert Seal.unpack(b"") is None
    assert Seal.unpack(made.pack()[:-10]) is None
