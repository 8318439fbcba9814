"""One look at the stamp folder misses no stamp, however the folder is halved."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from popips import survey
from popips.stamps import ASIDE, SETTLED, Folder, StampFailed

NOW, WINDOW = 1_800_000_000.0, 900.0
ANSWERS = {"live": 60.0, "due": WINDOW + 1, "unsettled": 60.0, "ahead": -120.0, "aside": WINDOW + 1, "foreign": 60.0}


@pytest.fixture(params=["/tmp", "/dev/shm"], ids=["disk", "tmpfs"])
def path(request: pytest.FixtureRequest) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="popips-", dir=request.param) as name:
        yield Path(name)


def fill(path: Path, count: int) -> dict[str, list[str]]:
    """Make files of each kind by turns; give the names under the list in which they belong."""
    made: dict[str, list[str]] = {kind: [] for kind in ANSWERS}
    for number in range(count):
        kind = list(ANSWERS)[number % len(ANSWERS)]
        name = f"198.51.{number >> 8}.{number & 255}"
        file = path / {"aside": ASIDE + name, "foreign": name + "~"}.get(kind, name)
        file.touch()
        file.chmod(0o600 if kind in ("unsettled", "foreign") else SETTLED)
        os.utime(file, (NOW - ANSWERS[kind],) * 2)
        made[kind].append(name + "~" if kind == "foreign" else name)
    return made


def look(path: Path, alone: bool = False) -> survey.Survey:
    with Folder(str(path)) as folder:
        return survey.survey(folder, NOW - WINDOW, NOW + 60, alone=alone)


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 300, 3000])
def test_each_file_is_seen_once(path: Path, count: int, alone: bool) -> None:
    made = fill(path, count)
    found = look(path, alone)
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
