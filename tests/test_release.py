"""What a release is made of: the same files make the same source and wheel, and the source holds all of them."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

import popips
from tests import checkout
from tests.box import ROOT

SOURCE, WHEEL = f"popips-{popips.__version__}.tar.gz", f"popips-{popips.__version__}-py3-none-any.whl"
BY_ANOTHER = (
    "umask 077; export TZ=Pacific/Auckland LC_ALL=C.UTF-8; "
    "find . -path ./.venv -prune -o -exec touch -h {} +; touch .venv/made",
    2,
)
BY_ONE = ("umask 022; export TZ=UTC", 1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folders in which two people, each in his own clone, at his own time, have made the files."""
    folders = []
    for habits, number in (BY_ONE, BY_ANOTHER):
        clone = tmp_path_factory.mktemp(f"clone{number}") / ("x" * number)
        checkout.copy(clone)
        (clone / ".venv").mkdir()
        for part in ("bin", "lib", "pyvenv.cfg"):
            (clone / ".venv" / part).symlink_to(ROOT / ".venv" / part)
        (clone / ".venv/made").touch()
        done = subprocess.run(["sh", "-ec", f"{habits}; make -s dist"], cwd=clone, capture_output=True, text=True)
        assert set(done.stdout.split()) == {f"build/{SOURCE}", f"build/{WHEEL}"}, done
        folders.append(clone / "build")
    return folders


@pytest.mark.parametrize("name", [SOURCE, WHEEL])
def test_source_and_wheel_are_the_same_to_the_byte_each_time(made: list[Path], name: str) -> None:
    one, other = (hashlib.sha256((folder / name).read_bytes()).hexdigest() for folder in made)
    assert one == other


def test_the_source_holds_all_that_the_repository_does(made: list[Path]) -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:  # tried from the source of a release, which is no repository
        files = {os.path.relpath(path, ROOT) for path in ROOT.glob("popips/**/*.py")}
    else:
        files = set(listed.stdout.split())
    with tarfile.open(made[0] / SOURCE) as tar:
        held = {member.name.partition("/")[2]: member for member in tar if member.isfile()}
    assert files - set(held) == set()
    assert [name for name in held if name.startswith((".git/", ".venv/", "build/"))] == []
    assert held["tests/lab/box.sh"].mode == 0o755 and held["README.md"].mode == 0o644


def test_the_wheel_holds_the_programs_and_nothing_of_the_tests(made: list[Path]) -> None:
    with zipfile.ZipFile(made[0] / WHEEL) as wheel:
        names = wheel.namelist()
    assert "follower/formats/courier.conf" in names and "popips/db/main.py" in names
    assert [name for name in names if re.match(r"(tests|bench|man|docs)/", name)] == []
