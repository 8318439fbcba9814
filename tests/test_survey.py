"""One look at the stamp folder misses no stamp, however the folder is halved."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from popips.stamps import NEVER, OWN_FILES, SETTLED, StampFailed, survey
from popips.stamps.folder import Folder

NOW, WINDOW = 1_800_000_000.0, 900.0
AGES = {"live": 60.0, "due": WINDOW + 1, "unsettled": 60.0, "ahead": -120.0, "told": WINDOW + 1, "foreign": 60.0}
ONE = survey.Bound(processes=1)


@pytest.fixture(params=["/tmp", "/dev/shm"], ids=["disk", "tmpfs"])
def path(request: pytest.FixtureRequest) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="popips-", dir=request.param) as name:
        yield Path(name)


def fill(path: Path, count: int) -> dict[str, list[str]]:
    """Make files of each kind by turns; give the names under the list in which they belong."""
    made: dict[str, list[str]] = {kind: [] for kind in AGES}
    for number in range(count):
        kind = list(AGES)[number % len(AGES)]
        name = f"198.51.{number >> 8}.{number & 255}"
        name = {"told": NEVER + name, "foreign": name + "~"}.get(kind, name)
        file = path / name
        file.touch()
        file.chmod(0o600 if kind in ("unsettled", "foreign") else SETTLED)
        os.utime(file, (NOW - AGES[kind],) * 2)
        made[kind].append(name)
    return made


def look(path: Path, bound: survey.Bound = survey.WHOLE) -> survey.Survey:
    with Folder(str(path)) as folder:
        return survey.survey(folder, NOW - WINDOW, NOW + 60, bound)


@pytest.mark.parametrize("bound", [survey.WHOLE, ONE], ids=["two processes", "one"])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 300, 3000])
def test_each_file_is_seen_once(path: Path, count: int, bound: survey.Bound) -> None:
    made = fill(path, count)
    for name in OWN_FILES:
        (path / name).touch()
    found = look(path, bound)
    assert found.is_whole
    assert found.live == len(made["live"]) + len(made["unsettled"]) + len(made["ahead"])
    for kind in survey.LISTS:
        assert sorted(getattr(found, kind)) == sorted(made[kind]), kind


@pytest.mark.parametrize("middle", [(0, "gone"), (1 << 62, "gone"), (1, "gone"), (0, "")])
def test_no_file_is_missed_where_the_middle_has_moved(
    path: Path, middle: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first half ends at a name; without it, it ends at the folder's end, and there is no second half."""
    monkeypatch.setattr(survey, "_middle", lambda folder: middle)
    made = fill(path, 3000)
    found = look(path)
    for kind in survey.LISTS:
        assert sorted(getattr(found, kind)) == sorted(made[kind]), kind


def test_a_half_that_cannot_be_read_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(path, 30)
    monkeypatch.setattr(survey, "_middle", lambda folder: (-1, "gone"))
    with pytest.raises(StampFailed, match="cannot be read"):
        look(path)


@pytest.mark.parametrize("odd", ["folder", "link", "fifo"])
def test_what_is_no_plain_file_is_due_whatever_its_time(path: Path, odd: str) -> None:
    if odd == "folder":
        (path / "192.0.2.10").mkdir()
    elif odd == "link":
        (path / "192.0.2.10").symlink_to("x")
    else:
        os.mkfifo(path / "192.0.2.10")
    found = look(path)
    assert (found.live, found.due) == (0, ["192.0.2.10"])


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o644, 0o755, 0o701, 0o4700])
def test_a_stamp_of_another_mode_is_live_and_looked_at(path: Path, mode: int) -> None:
    (path / "192.0.2.10").touch()
    (path / "192.0.2.10").chmod(mode)
    os.utime(path / "192.0.2.10", (NOW, NOW))
    found = look(path)
    assert (found.live, found.unsettled) == (1, ["192.0.2.10"])


@pytest.mark.parametrize("processes", [1, 2])
def test_a_look_that_finds_more_than_it_may_says_so_and_the_next_goes_on(path: Path, processes: int) -> None:
    made = set(fill(path, 600)["due"])
    seen: set[str] = set()
    while True:
        found = look(path, survey.Bound(names=10, processes=processes))
        assert len(found.due) + len(found.unsettled) <= 10 * processes
        seen.update(found.due)
        for name in (*found.due, *found.unsettled):
            (path / name).unlink()
        if found.is_whole:
            break
    assert seen == made


def test_a_look_that_takes_too_long_says_so(path: Path) -> None:
    fill(path, 6000)
    assert not look(path, survey.Bound(seconds=0.0, processes=1)).is_whole
