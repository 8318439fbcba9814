"""It closes: whatever has become of a stamp, its record goes in time, and goes before it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.holds.disks import disk
from tests.holds.room import STATIC, Done, Room, addresses

A, B, SIX, SIX_KEY = "198.51.100.10", "198.51.100.11", "2001:db8::10", "ipv6:2001:db8:0:0:0:0:0:10"
KEYS = {A: A, SIX: SIX_KEY}


def linked(path: Path) -> None:
    os.link(path, path.parent.parent / f"backup-{path.name}")


def linked_and_read_only(path: Path) -> None:
    linked(path)
    path.chmod(0o400)


def given_away_and_read_only(path: Path) -> None:
    os.chown(path, 12345, 12345)
    path.chmod(0o400)


def replaced(path: Path) -> None:
    """Put another file in its place, with its time, as a backup does."""
    copy = path.parent.parent / "copy"
    shutil.copy2(path, copy)
    copy.rename(path)


def of_mode(mode: int) -> Callable[[Path], None]:
    return lambda path: path.chmod(mode)


MODES = (0, 0o400, 0o440, 0o500, 0o600, 0o644, 0o666, 0o700, 0o755, 0o777, 0o4700)
ODD: dict[str, Callable[[Path], object]] = {
    **{f"mode {mode:04o}": of_mode(mode) for mode in MODES},
    "a hard link, as by cp -al": linked,
    "a hard link, read only": linked_and_read_only,
    "another owner": lambda path: os.chown(path, 12345, 12345),
    "another owner, read only": given_away_and_read_only,
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"\xff\0" * 999),
    "another user's word": lambda path: path.write_text(f"{B} RELAY\nalice pop3 popips-hook\n"),
    "put back by a backup": replaced,
}


@pytest.mark.parametrize("address", [A, SIX])
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_stamp_keeps_its_address_ours(room: Room, odd: str, address: str) -> None:
    """Live: its record stays. Due: the record goes, then the stamp. Never the admin's."""
    room.login(address)
    room.expire()
    ODD[odd](room.stamps / address)
    told = room.run("-v")
    assert (told.status, room.granted(), room.names()) == (0, {KEYS[address]: "RELAY"}, {address})
    room.age(address)
    told_due = room.run("-v")
    assert (told_due.status, room.granted(), room.names()) == (0, {}, set())
    assert "static:" not in told.out + told_due.out
    assert f"removed: address={address} " in told_due.out


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_stamp_whose_user_logs_in_again_is_renewed_and_ends_with_its_window(room: Room, odd: str) -> None:
    room.login(A)
    room.age(A)
    ODD[odd](room.stamps / A)
    done = room.login(A)
    assert "static:" not in done.said and "refused:" not in done.said
    room.expire()
    assert (room.granted(), room.names()) == ({A: "RELAY"}, {A})
    room.age(A)
    room.expire()
    assert (room.granted(), room.names()) == ({}, set())


@pytest.mark.parametrize("odd", ["mode 0400", "another owner", "a hard link, as by cp -al", "empty"])
@pytest.mark.parametrize("verb", [f"end {A}", "end --all", f"del {A}", f"deny {A}"])
def test_the_admin_ends_the_grant_of_an_odd_stamp(room: Room, odd: str, verb: str) -> None:
    room.login(A)
    ODD[odd](room.stamps / A)
    assert room.admin(verb).status == 0
    assert (room.granted(), room.names()) == ({}, set())


def test_stamps_put_back_with_new_times_live_for_one_window(room: Room) -> None:
    room.login(A)
    room.login(SIX)
    shutil.copytree(room.stamps, room.folder / "backup")
    room.age()
    room.expire()
    for name in (A, SIX):
        shutil.copyfile(room.folder / "backup" / name, room.stamps / name)
    room.expire()
    assert room.granted() == {A: "RELAY", SIX_KEY: "RELAY"}
    room.age()
    room.expire()
    assert (room.granted(), room.names()) == ({}, set())


# ---- no stamp goes before its record


def gone(room: Room) -> None:
    room.db.rename(room.folder / "aside")


def damaged(room: Room) -> None:
    shutil.copy2(room.db, room.folder / "aside")
    room.db.write_bytes(room.db.read_bytes()[:512] + b"\xff" * 8192)


def a_folder(room: Room) -> None:
    gone(room)
    room.db.mkdir()


@pytest.mark.parametrize("hindrance", [gone, damaged, a_folder])
def test_no_stamp_goes_before_its_record(room: Room, hindrance: Callable[[Room], None]) -> None:
    room.login(A)
    room.login(B)
    room.age(A)
    hindrance(room)
    done = room.run("-v")
    assert done.status != 0
    assert "removed:" not in done.said
    assert room.names() == {A, B}
    if room.db.is_dir():
        room.db.rmdir()
    os.replace(room.folder / "aside", room.db)
    assert "removed: address=" + A in room.run("-v").out
    assert (room.granted(), room.names()) == ({B: "RELAY"}, {B})


@contextmanager
def immutable(path: Path) -> Iterator[None]:
    """Let nobody change or remove the file, root included, in a `with`."""
    subprocess.run(["chattr", "+i", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", str(path)], check=True)


@pytest.mark.parametrize("own", [False, True], ids=["access", "own"])
def test_a_stamp_that_may_not_be_changed_keeps_nobody_elses_grant_open_or_shut(
    programs: Path, tmp_path: Path, own: bool
) -> None:
    with disk(tmp_path, "ext4", 20) as place:
        room = Room(programs, place / "host", **({"own_map": "yes"} if own else {}))
        for address in (A, B):
            room.login(address)
        room.expire()
        room.age()
        with immutable(room.stamps / A):
            done = room.run()
            assert (done.status, {A, B} & room.records().keys(), room.names()) == (0, set(), {A})
            assert f"stuck: address={A} " in done.said and f"removed: address={B} " in done.said
            assert f"refused: address={A} " in (told := room.login(A).said) and "lsattr" in told
            assert f"granted: address={B} " in room.login(B).said
            assert {A, B} & room.records().keys() == {B}
        assert f"removed: address={A} " in room.run().said
        assert f"granted: address={A} " in room.login(A).said


def test_on_a_read_only_file_system_nothing_is_said_to_be_removed(room: Room) -> None:
    room.login(A)
    room.age(A)
    read_only = f'mount --bind {room.folder} {room.folder}; mount -o remount,ro,bind {room.folder}; exec "$@"'
    told = room.do(["sh", "-ec", read_only, "sh", *room.command("popips-expire", "-v")])
    assert told.status != 0
    assert "removed:" not in told.said
    assert (room.granted(), room.names()) == ({A: "RELAY"}, {A})


# ---- what looks like a grant and has no stamp


def orphaned(room: Room) -> None:
    """Two records are orphans: the third is the admin's, who put it by hand, and so is one with another value."""
    for address in (A, SIX):
        room.login(address)
    assert room.admin(f"ins {B} RELAY 198.51.100.12 OK").status == 0


def the_stamps(room: Room) -> None:
    for name in room.names():
        (room.stamps / name).unlink()


def the_stamp_folder(room: Room) -> None:
    shutil.rmtree(room.stamps)
    room.stamps.mkdir(mode=0o700)


def their_end_by_an_old_map(room: Room) -> None:
    """A backup of the map from before they ended is put in its place."""
    shutil.copy2(room.db, room.folder / "old")
    room.age()
    room.expire()
    os.replace(room.folder / "old", room.db)


def their_end_by_a_copied_map(room: Room) -> None:
    """The same, and over it: its inode stays."""
    shutil.copy2(room.db, room.folder / "old")
    room.age()
    room.expire()
    shutil.copyfile(room.folder / "old", room.db)


@pytest.mark.parametrize("lost", [the_stamps, the_stamp_folder, their_end_by_an_old_map, their_end_by_a_copied_map])
def test_an_orphan_is_told_once_and_ended_when_the_admin_says_so(room: Room, lost: Callable[[Room], None]) -> None:
    orphaned(room)
    kept = {B: "RELAY", "198.51.100.12": "OK"}
    lost(room)
    first, second = orphans_told(room.run()), orphans_told(room.run())
    assert A in first and (SIX in first or SIX_KEY in first)
    assert second == ""
    assert room.granted() == {A: "RELAY", SIX_KEY: "RELAY"} | kept  # a run ends nothing of which it is not sure
    if lost is the_stamp_folder:  # with it goes what is known of B
        del kept[B]
    else:
        assert B not in first
    assert room.admin("end --orphans").status == 0
    left = room.granted()
    assert A not in left and SIX_KEY not in left and left.items() >= kept.items()


def orphans_told(done: Done) -> str:
    return "\n".join(line for line in done.log if "orphan" in line)


def test_end_orphans_ends_nothing_else(room: Room) -> None:
    room.build({**STATIC, "203.0.113.1": "RELAY", "203.0.113": "RELAY"})
    assert room.admin("ins 203.0.113.2 RELAY 203.0.114 RELAY b.example RELAY connect:203.0.113.3 RELAY").status == 0
    room.login(A)
    before = room.records()
    assert "orphan" not in room.run("-v").said
    assert room.admin("end --orphans").status in (0, 1)
    assert (room.records(), room.names()) == (before, {A})


def test_what_the_admin_puts_is_no_orphan_after_all_grants_of_that_address(room: Room) -> None:
    """A grant made permanent, and one deleted and put again."""
    for address in (A, B):
        room.login(address)
        room.admin(f"ins {address} RELAY")
    room.admin(f"del {B}")
    room.login(B)
    (room.stamps / B).unlink()
    told = orphans_told(room.run())
    assert B in told and A not in told
    room.admin("end --orphans")
    assert room.granted() == {A: "RELAY"}


def test_an_orphan_whose_user_logs_in_is_not_taken_for_static_for_ever(room: Room) -> None:
    """A record without a stamp is the admin's until `end --orphans`; then the next login grants as ever."""
    room.login(A)
    (room.stamps / A).unlink()
    room.run()
    assert room.admin("end --orphans").status == 0
    room.login(A)
    room.age(A)
    room.expire()
    assert (room.granted(), room.names()) == ({}, set())


def test_many_due_leave_none(either: Room) -> None:
    names = addresses(1200)
    either.stamp(names)
    either.expire()
    assert len(either.granted()) == 1200
    either.age()
    either.expire()
    assert (either.granted(), either.names()) == ({}, set())


@pytest.mark.parametrize("waits", [False, True], ids=["no login waits", "a login waits"])
def test_grants_end_though_the_users_data_base_does_not_answer(room: Room, waits: bool) -> None:
    """As LDAP may: here nobody ever writes to the fifo that /etc/group is."""
    room.login(A)
    room.configure(only_group="mail")
    room.expire()
    room.age(A)
    silent = room.folder / "group"
    os.mkfifo(silent)
    room.binds["/etc/group"] = silent
    if waits:
        room.login(B)
    done = room.run()
    assert done.status == 0 and "only_group" in done.said and "getent" in done.said
    assert (room.granted(), room.names()) == ({}, set())
    room.binds.clear()
    assert [path.name.startswith(B) for path in room.requests()] == [True] * waits


def test_grants_end_though_a_file_of_never_cannot_be_removed(room: Room) -> None:
    """It stands before them in the run."""
    room.login(A)
    room.age(A)
    (room.stamps / ".never-127.0.0.1" / "something").mkdir(parents=True)
    os.utime(room.stamps / ".never-127.0.0.1", (0, 0))
    (room.stamps / ".never-nobody").touch()
    done = room.run()
    assert done.status == 0 and ".never-127.0.0.1" in done.said
    assert room.granted() == {}
