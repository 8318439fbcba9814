"""It opens again: what a map has lost comes back with the next run, whatever its times say."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.holds.disks import disk
from tests.holds.room import STATIC, Room

A, B, SIX, SIX_KEY = "198.51.100.10", "198.51.100.11", "2001:db8::10", "ipv6:2001:db8:0:0:0:0:0:10"
BOTH = {A: "RELAY", SIX_KEY: "RELAY"}


def times(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_atime_ns, status.st_mtime_ns


# ---- makemap within the second of a grant


@pytest.mark.parametrize("kind", ["whole seconds", "ext4"])
@pytest.mark.parametrize("rename", [False, True], ids=["in place", "by rename"])
@pytest.mark.parametrize("before", ["a login", "a login and a run"])
def test_a_rebuild_within_the_second_of_a_grant_is_seen(
    programs: Path, tmp_path: Path, kind: str, rename: bool, before: str
) -> None:
    with disk(tmp_path, kind, 24) as place:
        room = Room(programs, place / "host")
        room.expire()
        for _ in range(20):
            room.build(STATIC)
            room.age()
            room.expire()
            room.login(A)
            room.login(SIX)
            if "run" in before:
                room.expire()
            second = int(room.db.stat().st_mtime)
            room.build(STATIC, rename)
            if int(room.db.stat().st_mtime) == second:
                break
        else:
            raise AssertionError("the machine is too slow for two changes in one second")
        assert room.granted() == {}
        room.expire()
        assert room.granted() == BOTH


@pytest.mark.parametrize("rename", [False, True], ids=["in place", "by rename"])
def test_a_rebuild_and_a_login_within_one_second_leave_all_grants(programs: Path, tmp_path: Path, rename: bool) -> None:
    """The login after the rebuild must not make the map look as if nobody but popips had changed it."""
    with disk(tmp_path, "whole seconds", 24) as place:
        room = Room(programs, place / "host")
        room.login(A)
        room.login(SIX)
        room.expire()
        room.build(STATIC, rename)
        room.login(B)
        room.expire()
        assert room.granted() == BOTH | {B: "RELAY"}


# ---- a map whose time was set back, or kept


def rebuilt(room: Room) -> None:
    room.build(STATIC)


def rebuilt_by_rename(room: Room) -> None:
    room.build(STATIC, rename=True)


def of_a_backup(room: Room) -> None:
    """Put the map of before the grants in its place."""
    shutil.copyfile(room.folder / "empty.db", room.db)


def deleted_by_hand(room: Room) -> None:
    """Take a record out by libdb's own tools, into a map that is as long as before."""
    dumped = subprocess.run(["db5.3_dump", "-p", str(room.db)], check=True, capture_output=True, text=True).stdout
    lines = dumped.splitlines(True)
    at = next(number for number, line in enumerate(lines) if line.strip() == A)
    room.db.unlink()
    subprocess.run(["db5.3_load", str(room.db)], input="".join(lines[:at] + lines[at + 2 :]), text=True, check=True)


WAYS: dict[str, Callable[[tuple[int, int]], tuple[int, int]]] = {
    "kept to the nanosecond": lambda saved: saved,
    "set back by an hour": lambda saved: (saved[0], saved[1] - 3600 * 10**9),
    "set back to the epoch": lambda _: (0, 0),
    "ahead by a day": lambda saved: (saved[0], saved[1] + 86400 * 10**9),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("change", [rebuilt, rebuilt_by_rename, of_a_backup, deleted_by_hand])
def test_a_map_that_has_lost_grants_gets_them_back_whatever_its_time(
    room: Room, change: Callable[[Room], None], way: str
) -> None:
    shutil.copyfile(room.db, room.folder / "empty.db")
    room.login(A)
    room.login(SIX)
    room.expire()
    saved = times(room.db)
    change(room)
    os.utime(room.db, ns=WAYS[way](saved))
    assert A not in room.granted()
    room.expire()
    assert room.granted() == BOTH
    room.age()
    room.expire()
    assert (room.granted(), room.names()) == ({}, set())


@pytest.mark.parametrize("way", WAYS)
def test_a_login_after_the_change_does_not_hide_it(room: Room, way: str) -> None:
    """A new address is granted in between: a seal that did not hold before must not hold after it."""
    room.login(A)
    room.login(SIX)
    room.expire()
    saved = times(room.db)
    room.build(STATIC)
    os.utime(room.db, ns=WAYS[way](saved))
    room.login(B)
    room.expire()
    assert room.granted() == BOTH | {B: "RELAY"}


# ---- a map of its own


def emptied(room: Room) -> None:
    room.db.write_bytes(b"")


def cut(room: Room) -> None:
    os.truncate(room.db, room.db.stat().st_size // 2)


def cut_to_a_page(room: Room) -> None:
    os.truncate(room.db, 4096)


def made_anew_by_makemap(room: Room) -> None:
    subprocess.run(["makemap", "hash", str(room.db)], input=b"203.0.113.9 RELAY\n", check=True, stderr=-3)


def of_an_older_day(room: Room) -> None:
    shutil.copyfile(room.folder / "old.db", room.db)


def gone(room: Room) -> None:
    room.db.unlink()


def overwritten(room: Room) -> None:
    room.db.write_bytes(os.urandom(room.db.stat().st_size))


DAMAGE = [emptied, cut, cut_to_a_page, made_anew_by_makemap, of_an_older_day, gone, overwritten]


@pytest.mark.parametrize("marks", ["as they are", "touched", "map and marks of one time", "kept to the nanosecond"])
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("login", [False, True], ids=["a run", "a login and a run"])
def test_a_map_of_its_own_is_made_anew(own: Room, damage: Callable[[Room], None], marks: str, login: bool) -> None:
    own.expire()
    own.login(B)
    shutil.copyfile(own.db, own.folder / "old.db")
    own.admin(f"end {B}")
    own.login(A)
    own.login(SIX)
    own.expire()
    saved = times(own.db)
    damage(own)
    files = [path for path in own.folder.glob("access*") if path.exists()]
    for path in files:
        if marks == "touched" and path != own.db:
            os.utime(path)
        elif marks == "map and marks of one time":
            os.utime(path, (1_700_000_000, 1_700_000_000))
        elif marks == "kept to the nanosecond" and path == own.db:
            os.utime(path, ns=saved)
    if login:
        own.login("198.51.100.99")
    own.expire()
    assert own.records() == BOTH | ({"198.51.100.99": "RELAY"} if login else {})
    own.age()
    own.expire()
    assert (own.records(), own.names()) == ({}, set())


@pytest.mark.parametrize("lost", ["popips.conf.lane", "access.db.popips"])
def test_a_file_of_popips_own_that_is_lost_costs_no_grant(either: Room, lost: str) -> None:
    either.expire()
    either.login(A)
    either.login(SIX)
    either.expire()
    for path in either.folder.glob(lost):
        path.unlink()
    either.login(A)
    either.expire()
    assert either.granted() == BOTH


@pytest.mark.parametrize("lost", [".requests", ".granter", ".lane", ".seen", ".expire", ".alive", ".denied"])
@pytest.mark.parametrize("how", ["lost", "empty", "garbage", "a folder"])
def test_what_popips_keeps_in_the_stamp_folder_may_be_lost_or_garbage(room: Room, lost: str, how: str) -> None:
    """All but the denials: while a line of theirs cannot be read nobody gets a new grant, but nothing else stops."""
    room.login(A)
    room.login(SIX)
    room.expire()
    path = room.stamps / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if how == "a folder":
        path.mkdir()
    elif how != "lost":
        path.write_bytes(b"" if how == "empty" else b"\xff'\n$(exit 9)\0" * 20)
    room.build(STATIC)
    room.login(B)
    first = room.run()
    second = room.run()
    barred = lost == ".denied" and how not in ("lost", "empty")
    # a folder in the place of a file of popips' own, or the other way round, may need a hand: it has to be asked for
    if second.status:
        assert how == "a folder" or barred or lost == ".requests"
        assert str(path) in second.said, (first, second)
    if barred or not second.status:
        assert room.granted() == BOTH | ({} if barred else {B: "RELAY"})


def of_a_wrong_clock(room: Room) -> None:
    """A granter that was killed while the clock was ahead; by now its pid is that of another process."""
    (room.stamps / ".granter").write_text("1\n")
    os.utime(room.stamps / ".granter", (time.time() + 86400, time.time() + 86400))


def of_no_process(room: Room) -> None:
    (room.stamps / ".granter").write_text("9" * 30 + "\n")


def a_folder_for_a_mark(room: Room) -> None:
    (room.stamps / ".granter" / "something").mkdir(parents=True)


@pytest.mark.parametrize("odd", [of_a_wrong_clock, of_no_process, a_folder_for_a_mark])
def test_an_odd_mark_of_a_granter_keeps_logins_from_their_grants_for_one_run(
    room: Room, odd: Callable[[Room], None]
) -> None:
    room.login(A)
    room.expire()
    odd(room)
    room.login("198.51.100.11")
    room.expire()
    room.login("198.51.100.12")
    assert "198.51.100.12" in room.granted()
