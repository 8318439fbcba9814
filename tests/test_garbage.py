"""Whatever became of popips' own files: a login goes on, and what is due ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from popips.grant import DEFERRED, GRANTED, REFUSED
from popips.stamps import LANE, NEW, OWN_FILES, REQUESTS, SEEN, StampError
from tests.conftest import Site

A, B = "192.0.2.10", "192.0.2.11"


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(b"\xff\0'unterminated\n\n")


def much(path: Path) -> None:
    path.write_bytes(b"x y\n" * 100_000)


def folder(path: Path) -> None:
    path.mkdir()


def full_folder(path: Path) -> None:
    (path / "192.0.2.9-1" / "within").mkdir(parents=True)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def link_to_nothing(path: Path) -> None:
    path.symlink_to("nothing")


def read_only(path: Path) -> None:
    path.touch(0o400)


KINDS = [empty, garbage, much, folder, fifo, link, link_to_nothing, read_only]
NAMES = sorted(name for name in OWN_FILES if not name.endswith(NEW))
CASES = [*product([*NAMES, f"{SEEN}{NEW}", f"{LANE}{NEW}"], KINDS), (REQUESTS, full_folder)]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_whatever_is_in_a_files_place_a_login_goes_on_and_what_is_due_ends(
    site: Site, name: str, kind: Callable[[Path], None]
) -> None:
    site.login(A)
    site.expire()
    path = site.stamps / name
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    kind(path)
    os.utime(path, (1, 1), follow_symlinks=False)
    before = Path("/etc/passwd").read_bytes()
    assert site.login(B) in (GRANTED, DEFERRED, REFUSED)
    site.pass_window()
    try:
        site.expire()
    except StampError as error:
        assert f"{site.stamps}/{name.removesuffix('.new')}" in str(error)
    assert A not in site.records()
    assert A not in site.names()
    assert Path("/etc/passwd").read_bytes() == before
