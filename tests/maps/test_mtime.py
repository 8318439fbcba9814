"""Connections that have the map open see each change by its mtime, and make(1) sees each edit of the text."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from popips.maps import Writer
from popips.maps.seal import AHEAD, SECOND, moved
from tests.maps.files import NOW, Files, nothing, putting

S, H = SECOND, SECOND // 2
N = 1_800_000_000 * S  # now


@pytest.mark.parametrize(
    ("old", "text", "ahead", "expected", "why"),
    [
        (N - 100 * S, 0, 0, N, "the clock is ahead of the map"),
        (N - 1, 0, 0, N, "sendmail compares whole seconds: this is another one"),
        (N, 0, 0, N, "in the same second, it stays: show() moves it on"),
        (N + 10 * S, 0, 0, N + 10 * S, "so it does where it is ahead of the clock"),
        (N, 0, AHEAD, N + S, "where there is no text, it may be ahead"),
        (N + 10 * S, 0, AHEAD, N + 11 * S, "by many"),
        (N + 59 * S + H, 0, AHEAD, N + 60 * S, "but only by a minute"),
        (N + 60 * S, 0, AHEAD, N + 60 * S, "but only by a minute"),
        (N + 3600 * S, 0, 0, N, "one from the future comes back"),
        (N + 3600 * S, 0, AHEAD, N, "one from the future comes back"),
        (N - 100 * S, N - 200 * S, 0, N, "a text that is older is built"),
        (N - 100 * S, N - 100 * S, 0, N, "so is one of the same time"),
        (N - 100 * S, N - 50 * S, 0, N - 99 * S, "an edit waits: on by a second, that many may follow"),
        (N - 100 * S + 7, N - 50 * S, 0, N - 99 * S, "on by a whole second"),
        (N - 100 * S, N - 99 * S, 0, N - 100 * S, "no second is left that is older than the text"),
        (N, N + H, 0, N, "nor here"),
        (N - 100 * S, N + 3600 * S, 0, N - 99 * S, "a text from the future"),
    ],
)
def test_the_mtime_of_a_changed_map(old: int, text: int, ahead: int, expected: int, why: str) -> None:
    assert moved(old, N, text, ahead) == expected, why
    if old < text:
        assert moved(old, N, text, ahead) < text


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that are made; the clock moves on by them at once."""
    made: list[float] = []
    monotonic, slept = time.monotonic, [0.0]

    def sleep(seconds: float) -> None:
        made.append(seconds)
        slept[0] += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + slept[0])
    return made


def change(writer: Writer, number: int) -> None:
    writer.change(putting(f"192.0.2.{number}"), nothing)


def mtime(files: Files) -> float:
    return files.db.stat().st_mtime - NOW


def test_a_change_in_another_second_is_seen_at_once(either: Files, pauses: list[float]) -> None:
    either.set_mtime(NOW - 1)
    os.utime(either.text, (NOW - 9, NOW - 9))
    either.look()
    with either.writer() as writer:
        change(writer, 10)
        assert 0 <= mtime(either) < 0.9
        pauses.clear()
        assert_shown_by_nothing(writer, either, pauses)


def assert_shown_by_nothing(writer: Writer, files: Files, pauses: list[float]) -> None:
    before = files.db.stat()
    writer.show()
    after = files.db.stat()
    assert (after.st_mtime_ns, after.st_ctime_ns, pauses) == (before.st_mtime_ns, before.st_ctime_ns, [])


def test_a_second_change_in_one_second_is_shown_in_the_next_and_the_seal_holds(
    either: Files, pauses: list[float]
) -> None:
    either.set_mtime(NOW)
    os.utime(either.text, (NOW - 9, NOW - 9))
    either.look()
    with either.writer() as writer:
        writer.show()  # what others did in this second
        seen = mtime(either)
        for number in range(3):
            change(writer, number)
            assert mtime(either) == seen
        pauses.clear()
        writer.show()
        assert len(pauses) == 1 and 0 < pauses[0] <= 1
        assert int(mtime(either)) == int(seen) + 1
        assert writer.sealed()
        pauses.clear()
        assert_shown_by_nothing(writer, either, pauses)


def test_a_change_that_was_not_sealed_is_shown_though_the_map_was_looked_at_since(files: Files) -> None:
    files.set_mtime(NOW)
    with files.writer() as writer:
        change(writer, 1)
        seen = mtime(files)
        writer.look(lambda records: None)
        assert (writer.sealed(), mtime(files)) == (True, seen)
        writer.show()
        assert int(mtime(files)) == int(seen) + 1


def test_others_have_their_turn_while_it_waits(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files.set_mtime(NOW)
    with files.writer() as writer:
        change(writer, 1)
        sleep = time.sleep

        def put_meanwhile(seconds: float) -> None:
            monkeypatch.setattr(time, "sleep", sleep)
            sleep(seconds)
            files.put("192.0.2.2")

        monkeypatch.setattr(time, "sleep", put_meanwhile)
        writer.show()
    assert files.records() == {"192.0.2.1": "RELAY", "192.0.2.2": "RELAY"}


def test_where_the_seal_is_broken_the_map_is_shown(files: Files, pauses: list[float]) -> None:
    """Whoever died before it was noted may have changed the map without a word."""
    files.set_mtime(NOW - 100)
    with files.writer() as writer:
        writer.show()
    assert 0 <= mtime(files) < 0.9
    assert pauses == []


def test_each_change_of_a_map_of_its_own_is_seen_at_once(own: Files, pauses: list[float]) -> None:
    own.rebuild()
    seen = [mtime(own)]
    with own.writer() as writer:
        for number in range(5):
            change(writer, number)
            seen.append(mtime(own))
        pauses.clear()
        assert_shown_by_nothing(writer, own, pauses)
    assert [int(time) for time in seen] == list(range(6))


def is_built(files: Files) -> bool:
    """Whether make(1) thinks that the map is newer than its text."""
    (files.folder / "Makefile").write_text("access.db: access\n\tfalse\n")
    return subprocess.run(["make", "-q", "-C", files.folder, "access.db"], capture_output=True).returncode == 0


@pytest.mark.parametrize("edited", [0.001, 0.5, 1, 2.5, 5])
def test_while_an_edit_waits_changes_are_shown_and_make_still_sees_the_edit(
    files: Files, pauses: list[float], edited: float
) -> None:
    files.build("192.0.2.1 REJECT\n")
    files.set_mtime(NOW - 10)
    os.utime(files.text, (NOW - 20, NOW - 20))
    assert is_built(files)
    files.look()
    os.utime(files.text, (NOW - 10 + edited,) * 2)
    for number in range(8):
        before = mtime(files)
        with files.writer() as writer:
            change(writer, number)
            writer.show()
        assert mtime(files) >= int(before) + 1
        assert not is_built(files)
        assert files.is_sealed()
    assert files.text.stat().st_mtime <= NOW + 2
    assert pauses == []
