"""A file with an address for its name is a stamp, whatever became of it; nothing else in the folder is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from popips import stamps
from popips.fate import EXPIRE, PUT, SETTLE
from popips.grant import GRANTED, RENEWED
from tests.conftest import Site

A, B = "192.0.2.10", "192.0.2.11"


@pytest.mark.parametrize("content", ["", "\n", "nonsense", "a b c", "\xff\xfe", "a b\nc d e f\n", "x" * 5000])
def test_a_stamp_made_by_hand_is_a_grant_whatever_it_holds(site: Site, content: str) -> None:
    (site.stamps / A).write_text(content)
    os.utime(site.stamps / A, (site.now, site.now))
    assert site.expire() == {PUT: [A]}
    assert site.records() == {A: "RELAY"}
    site.pass_window()
    assert site.expire() == {EXPIRE: [A]}
    assert site.records() == {}


@pytest.mark.parametrize("mode", range(0o000, 0o1000, 0o033), ids=oct)
def test_a_stamp_restored_with_another_mode_stays_ours(site: Site, mode: int) -> None:
    site.login(A)
    (site.stamps / A).chmod(mode)
    assert set(site.expire()) <= {SETTLE}
    assert site.login(A) == RENEWED
    site.pass_window()
    assert site.expire() == {EXPIRE: [A]}
    assert (site.records(), site.names()) == ({}, set())


def test_a_stamp_from_the_future_counts_as_made_now(site: Site) -> None:
    site.login(A)
    os.utime(site.stamps / A, (site.now + 86400, site.now + 86400))
    site.expire()
    assert (site.stamps / A).stat().st_mtime == site.now
    site.pass_window()
    assert site.expire() == {EXPIRE: [A]}


def make_folder(path: Path) -> None:
    path.mkdir()


def make_link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_foreign(path: Path) -> None:
    path.touch()
    os.chown(path, 12345, 12345)


def make_hard_link(path: Path) -> None:
    path.touch()
    os.link(path, path.parent.parent / "link")


ODD = [make_folder, make_link, make_fifo, make_foreign, make_hard_link]


@pytest.mark.parametrize("make", ODD)
def test_whatever_stands_in_a_stamps_place_its_record_never_becomes_the_admins(
    site: Site, make: Callable[[Path], None]
) -> None:
    site.login(A)
    (site.stamps / A).unlink()
    make(site.stamps / A)
    assert site.login(A) == RENEWED
    site.pass_window()
    site.now += 10 * 365 * 86400
    assert site.expire() == {EXPIRE: [A]}
    assert (site.records(), site.names()) == ({}, set())


@pytest.mark.parametrize("make", [make_folder, make_link, make_fifo])
def test_what_is_no_file_in_a_stamps_place_is_due(site: Site, make: Callable[[Path], None]) -> None:
    site.login(A)
    (site.stamps / A).unlink()
    make(site.stamps / A)
    assert site.expire() == {EXPIRE: [A]}
    assert (site.records(), site.names()) == ({}, set())


def test_a_folder_in_a_stamps_place_that_is_not_empty_stops_no_run(site: Site) -> None:
    site.login(A)
    site.login(B)
    (site.stamps / A).unlink()
    (site.stamps / A / "within").mkdir(parents=True)
    site.pass_window()
    assert site.expire() == {EXPIRE: [B]}
    assert (site.records(), site.names()) == ({}, {A})


def test_a_folder_in_a_stamps_place_that_is_not_empty_keeps_no_login_from_its_grant(either: Site) -> None:
    """It is put out of the way: or else the logins of all others would wait with the one from its address."""
    (either.stamps / A / "within").mkdir(parents=True)
    assert (either.login(A), either.login(B)) == (GRANTED, GRANTED)
    assert either.expire() == {"foreign": [f"{A}.odd-{either.now:.0f}"]}
    assert set(either.records()) == {A, B}
    assert (either.stamps / f"{A}.odd-{either.now:.0f}" / "within").is_dir()


@pytest.mark.parametrize("make", ODD)
def test_a_foreign_file_in_the_stamp_folder_is_reported_and_left_alone(
    site: Site, make: Callable[[Path], None]
) -> None:
    make(site.stamps / "README")
    before = (site.stamps / "README").lstat()
    assert site.expire() == {"foreign": ["README"]}
    assert (site.stamps / "README").lstat() == before


@pytest.mark.parametrize("name", ["192.0.2.010", "2001:DB8::10", "::ffff:192.0.2.10", "192.0.2.10 ", "x", ".hidden"])
def test_a_name_that_is_no_canonical_address_is_no_stamp(site: Site, name: str) -> None:
    (site.stamps / name).touch()
    assert site.expire() == {"foreign": [name]}
    assert site.records() == {}


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o720, 0o702, 0o1777])
def test_a_stamp_folder_that_others_may_write_to_is_refused(site: Site, mode: int) -> None:
    site.stamps.chmod(mode)
    for work in (lambda: site.login(A), site.expire):
        with pytest.raises(stamps.StampError, match=r"others may write to it; if it is popips' own"):
            work()
    assert (site.names(), site.records()) == (set(), {})


@pytest.mark.parametrize("what", ["missing", "link", "file"])
def test_a_stamp_folder_that_is_none_is_refused(site: Site, what: str) -> None:
    shutil.rmtree(site.stamps)
    if what == "link":
        (site.folder / "elsewhere").mkdir(mode=0o700)
        site.stamps.symlink_to("elsewhere")
    elif what == "file":
        site.stamps.touch()
    for work in (lambda: site.login(A), site.expire):
        with pytest.raises(stamps.StampError, match=r"install -d -m 0700|name that in popips.conf"):
            work()
    assert site.records() == {}


def test_no_more_of_a_file_is_read_than_was_asked_for(site: Site) -> None:
    path = site.stamps / ".register"
    path.write_bytes(bytes(range(256)) * 1000)
    with site.host as host:
        for most in (1, 100_000, 256_000, 1 << 20):
            assert host.folder.read(".register", most) == path.read_bytes()[:most]
