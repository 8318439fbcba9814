"""The text that the admin edits counts as he wrote it, and popips knows what the map says of it already."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from popips.maps import MapError
from popips.maps.text import FUTURE, Text
from tests.maps.files import NOW, Files, nothing, putting

LINES = [
    (b"192.0.2.1 REJECT\n", {b"192.0.2.1": b"REJECT"}),
    (b"Connect:Host.Example\t550 Go away \n", {b"connect:host.example": b"550 Go away"}),
    (b"# 192.0.2.1 REJECT\n\n  \n", {}),
    (b"192.0.2.1 OK\n192.0.2.1 REJECT\n", {b"192.0.2.1": b"OK"}),
    (b"192.0.2.1\n", {b"192.0.2.1": b""}),
    (b"192.0.2.1 REJECT", {b"192.0.2.1": b"REJECT"}),
    (b"\xff\xfe\0 x\n", {b"\xff\xfe\0": b"x"}),
]


@pytest.mark.parametrize(("content", "said"), LINES)
@pytest.mark.parametrize("postfix", [False, True])
def test_a_text_says_what_makemap_and_postmap_read(
    tmp_path: Path, content: bytes, said: dict[bytes, bytes], postfix: bool
) -> None:
    (tmp_path / "access").write_bytes(content)
    assert Text(str(tmp_path / "access"), postfix).records() == said


def test_a_line_that_goes_on_is_one_to_postmap_and_none_to_makemap(tmp_path: Path) -> None:
    (tmp_path / "access").write_bytes(b"192.0.2.1 550\n  go away\n")
    assert Text(str(tmp_path / "access"), True).records()[b"192.0.2.1"] == b"550 go away"
    assert Text(str(tmp_path / "access"), False).records()[b"192.0.2.1"] == b"550"


def test_it_is_read_again_whenever_it_is_another(tmp_path: Path) -> None:
    path = tmp_path / "access"
    path.write_bytes(b"192.0.2.1 REJECT\n")
    os.utime(path, (NOW, NOW))
    text = Text(str(path), False)
    before = text.records()[b"192.0.2.1"], text.identity
    path.write_bytes(b"192.0.2.1 ACCEPT\n")  # of the same size
    os.utime(path, (NOW, NOW))
    assert (text.records()[b"192.0.2.1"], text.identity != before[1]) == (b"ACCEPT", True)
    path.rename(tmp_path / "moved")  # as an editor does for a moment
    assert text.records()[b"192.0.2.1"] == b"ACCEPT"
    with pytest.raises(MapError, match="set static_source"):
        Text(str(path), False).records()


@pytest.mark.parametrize(("ahead", "told"), [(-100, False), (FUTURE - 1, False), (FUTURE + 1, True)])
def test_a_text_from_the_future_is_told_of(tmp_path: Path, ahead: float, told: bool) -> None:
    path = tmp_path / "access"
    path.touch()
    os.utime(path, (NOW + ahead, NOW + ahead))
    assert bool(Text(str(path), False).from_the_future(NOW)) == told
    assert Text("", False).from_the_future(NOW) == ""


# ---- whether the map says what it says


def agrees(files: Files) -> bool:
    with files.writer() as writer:
        return writer.agrees()


def test_a_map_that_says_all_of_the_text_agrees_with_it_as_long_as_neither_is_changed_by_others(files: Files) -> None:
    files.build("192.0.2.1 REJECT\nConnect:Host.Example\t550 Go away \n")
    assert not agrees(files)  # nobody has looked
    files.look()
    assert agrees(files)
    files.put("192.0.2.10")
    assert agrees(files)
    with files.writer() as writer:
        writer.show()
    assert agrees(files)


def aged(files: Files) -> None:
    files.text.write_text("192.0.2.9 OK\n")
    os.utime(files.text, (1, 1))


def put_back(files: Files) -> None:
    (files.folder / "old").write_text("192.0.2.9 REJECT\n")
    os.utime(files.folder / "old", (1, 1))
    os.rename(files.folder / "old", files.text)


EDITS: list[tuple[str, Callable[[Files], object]]] = [
    ("written", lambda files: files.text.write_text("192.0.2.1 REJECT\n192.0.2.2 REJECT\n")),
    ("of the same size", lambda files: files.text.write_text("192.0.2.9 REJECT\n")),
    ("with an older mtime", aged),
    ("an older file put back", put_back),
    ("the map built of another", lambda files: files.makemap("192.0.2.1 OK\n")),
    ("the map built of less", lambda files: files.makemap("")),
]


@pytest.mark.parametrize("edit", [case[1] for case in EDITS], ids=[case[0] for case in EDITS])
def test_an_edit_that_is_not_built_is_known_by_what_it_says(files: Files, edit: Callable[[Files], object]) -> None:
    files.build("192.0.2.1 REJECT\n")
    files.look()
    edit(files)
    assert not agrees(files)
    files.put("192.0.2.10")
    files.look()
    assert not agrees(files)
    files.makemap(files.text.read_text())
    assert not agrees(files)
    files.look()
    assert agrees(files)


def test_a_missing_text_agrees_with_nothing(files: Files) -> None:
    files.look()
    files.text.unlink()
    assert not agrees(files)


def test_a_text_that_is_known_is_not_read_for_a_change(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files.build("192.0.2.1 REJECT\n")
    files.look()
    monkeypatch.setattr(Text, "_read", lambda self: pytest.fail("read"))
    with files.writer() as writer:
        assert writer.agrees()
        writer.change(putting("192.0.2.10"), nothing)
        writer.look(lambda records: None)
        assert writer.agrees()
