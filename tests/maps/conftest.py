"""Maps to test with."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.maps.files import Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A hash map of the admin's."""
    return Files(tmp_path)


@pytest.fixture(params=["hash", "btree"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    """A map of the admin's, of either type."""
    return Files(tmp_path, request.param)


@pytest.fixture(params=["hash", "btree"])
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    """A map of popips' own that is not there yet."""
    return Files(tmp_path, request.param, own=True)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Put a file system of its own on tmp_path: mount("mkfs.ext4", OPTION ...), or mount("tmpfs")."""

    def mounted(*words: str, megabytes: int = 4) -> None:
        if words == ("tmpfs",):
            command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(tmp_path)]
        else:
            image = tmp_path.with_name(f"{tmp_path.name}.image")
            with image.open("wb") as file:
                file.truncate(megabytes << 20)
            subprocess.run([*words, str(image)], check=True, capture_output=True)
            command = ["mount", "-o", "loop", str(image), str(tmp_path)]
        subprocess.run(command, check=True)

    yield mounted
    subprocess.run(["umount", "-l", str(tmp_path)], capture_output=True)
