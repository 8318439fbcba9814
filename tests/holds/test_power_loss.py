"""It closes after a power loss that takes with it all that was not synced."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.holds.disks import disk, lose_power
from tests.holds.kills import hit, points
from tests.holds.room import STATIC, Room

A, B, NEW = "198.51.100.10", "198.51.100.11", "198.51.100.12"


def ours(room: Room) -> set[str]:
    static = {} if "own_map" in room.settings else STATIC
    records = room.records()
    assert records.items() >= static.items()
    return set(records) - set(static)


@pytest.mark.parametrize("own", [False, True], ids=["access", "own"])
@pytest.mark.parametrize("deed", ["login", "run", "deny", "end", "many logins", "ins"])
def test_power_loss_leaves_no_record_without_a_stamp(programs: Path, tmp_path: Path, own: bool, deed: str) -> None:
    """At once after the deed, and killed in the middle of it, on a disk that writes late."""
    with disk(tmp_path, "delayed allocation", 24) as place:
        room = Room(programs, place / "host", **({"own_map": "yes"} if own else {}))
        room.expire()
        room.login(A)
        room.login(B, "bob")
        room.expire()
        synced(place)
        if deed == "run":
            room.age(A)
        commands = {
            "login": (room.command("popips-hook"), Room.pam(NEW)),
            "run": (room.command("popips-expire"), {}),
            "deny": (room.command("popips-db", "deny", A), {}),
            "end": (room.command("popips-db", "end", A), {}),
            "ins": (room.command("popips-db", "ins", NEW), {}),
        }
        if deed == "many logins":
            for number in range(20, 60):
                room.login(f"198.51.100.{number}")
        else:
            command, env = commands[deed]
            for point in points(room, command, env, most=4):
                hit(room, command, point, "KILL", env)
                after_power_loss(room, place, tmp_path)
            room.do(command, env=env)
        after_power_loss(room, place, tmp_path)
        room.age()
        room.expire()
        assert (ours(room), room.names()) == (set(), set())


@pytest.fixture
def late(programs: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Room]:
    """A room on a disk that writes late, with two grants that are on it."""
    with disk(tmp_path, "delayed allocation", 24) as place:
        room = Room(programs, place / "host")
        room.expire()
        room.login(A)
        room.login(B, "bob")
        room.expire()
        synced(place)
        yield room


@pytest.mark.parametrize("verb", ["end", "deny", "del"])
def test_what_the_admin_has_ended_does_not_come_back(late: Room, tmp_path: Path, verb: str) -> None:
    assert late.admin(f"{verb} {A}").status == 0
    after_power_loss(late, tmp_path / "disk", tmp_path)
    assert late.names() == {B}


def test_what_the_admin_has_put_on_a_grant_is_no_grant_again(late: Room, tmp_path: Path) -> None:
    assert late.admin(f"ins {A} RELAY").status == 0
    lose_power(tmp_path / "disk", tmp_path)
    late.expire()
    late.age()
    late.expire()
    assert (ours(late), late.names()) == ({A}, set())


def synced(place: Path) -> None:
    fd = os.open(place, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    os.sync()


def after_power_loss(room: Room, place: Path, folder: Path) -> None:
    """Cut the power, boot, and see that the first run makes records and stamps agree."""
    lose_power(place, folder)
    boot = folder / "boot_id"
    boot.write_text(f"{uuid4()}\n")
    room.binds["/proc/sys/kernel/random/boot_id"] = boot
    done = room.run()
    assert (done.status, ours(room)) == (0, room.names()), done.err
