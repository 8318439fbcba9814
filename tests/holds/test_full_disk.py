"""It closes on a full disk: what ends grants needs no room that it does not have."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.holds.disks import disk, fill
from tests.holds.room import STATIC, Room, addresses

COUNTS = (3, 20, 600, 4000)
MEGABYTES = 40


def full(programs: Path, place: Path, count: int, **settings: str) -> tuple[Room, Path]:
    """Return a room on that disk with so many live grants, and what fills it to the last byte."""
    room = Room(programs, place / "host", **settings)
    if not settings:
        room.build(STATIC | {f"static.{n}": "REJECT" for n in range(500)})
    room.stamp(addresses(count))
    room.expire()
    assert len(room.names()) == count
    return room, fill(place)


def held(room: Room) -> dict[str, str]:
    """Return the records of grants; the admin's must all be there."""
    records = room.records()
    if "own_map" not in room.settings:
        assert len([key for key in records if key.startswith("static.") and records[key] == "REJECT"]) == 500
    return {key: value for key, value in records.items() if key.startswith("172.16.")}


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
@pytest.mark.parametrize("own", [False, True], ids=["access", "own"])
def test_what_is_due_goes_by_the_next_run(programs: Path, tmp_path: Path, kind: str, count: int, own: bool) -> None:
    with disk(tmp_path, kind, MEGABYTES) as place:
        room, _ = full(programs, place, count, **({"own_map": "yes"} if own else {}))
        room.age()
        done = room.run()
        assert (done.status, held(room), room.names()) == (0, {}, set()), done.err


@pytest.mark.parametrize("count", [20, 600])
@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_half_of_them_go_and_half_stay(programs: Path, tmp_path: Path, kind: str, count: int) -> None:
    with disk(tmp_path, kind, MEGABYTES) as place:
        room, _ = full(programs, place, count)
        names = addresses(count)
        room.age(*names[::2])
        assert room.run().status == 0
        assert (set(held(room)), room.names()) == (set(names[1::2]), set(names[1::2]))


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
@pytest.mark.parametrize("verb", ["end --all", "end {}", "del {}"])
def test_the_admin_ends_grants(programs: Path, tmp_path: Path, kind: str, verb: str) -> None:
    with disk(tmp_path, kind, MEGABYTES) as place:
        room, _ = full(programs, place, 20)
        ended = set(addresses(20)) if "all" in verb else {addresses(20)[3]}
        done = room.admin(verb.format(*ended))
        assert done.status == 0, done.err
        assert (set(held(room)), room.names()) == (set(addresses(20)) - ended, set(addresses(20)) - ended)


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_a_denial_is_made_or_it_is_said_that_it_is_not(programs: Path, tmp_path: Path, kind: str) -> None:
    """A list that cannot be written must not lose who was on it."""
    with disk(tmp_path, kind, MEGABYTES) as place:
        room = Room(programs, place / "host")
        assert room.admin("deny 198.51.100.0/24").status == 0
        room.login("192.0.2.9")
        filler = fill(place)
        done = room.admin("deny 192.0.2.9")
        if done.status == 0:
            assert room.granted() == {}
        else:
            assert str(room.stamps) in done.err and "Traceback" not in done.err
        listed = room.admin("deny").out
        assert "198.51.100.0/24" in listed and ("192.0.2.9" in listed) == (done.status == 0)
        filler.unlink()
        assert room.admin("deny 192.0.2.9").status == 0
        assert room.granted() == {}


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
@pytest.mark.parametrize("own", [False, True], ids=["access", "own"])
def test_logins_leave_no_record_without_a_stamp(programs: Path, tmp_path: Path, kind: str, own: bool) -> None:
    """New addresses and known ones: nobody is refused, and once there is room again all is as it should be."""
    with disk(tmp_path, kind, MEGABYTES) as place:
        room, filler = full(programs, place, 20, **({"own_map": "yes"} if own else {}))
        for address in [*addresses(30, "172.16")[18:], "172.16.9.9"]:
            room.login(address)
        known = set(addresses(20))
        assert known <= set(held(room)) <= room.names() | known
        room.run()
        assert set(held(room)) <= room.names()
        filler.unlink()
        room.expire()
        assert set(held(room)) == room.names() >= known
        room.age()
        room.expire()
        assert (held(room), room.names()) == ({}, set())


def test_stamps_that_filled_the_disk_themselves_go(programs: Path, tmp_path: Path) -> None:
    """All of a small disk's inodes: neither a file nor a block is left."""
    with disk(tmp_path, "tmpfs", MEGABYTES) as place:
        room = Room(programs, place / "host")
        room.login("192.0.2.9")
        room.expire()
        number = 0
        try:
            while True:
                (room.stamps / f"172.20.{number // 250}.{number % 250 + 1}").write_text("alice pop3 popips-hook\n")
                number += 1
        except OSError:
            fill_rest(place)
        assert number > 5000
        room.age()
        assert room.run().status == 0
        assert (room.granted(), room.names()) == ({}, set())


def fill_rest(place: Path) -> None:
    """Fill what is left, by a file that is there."""
    with (place / "host/access").open("ab", buffering=0) as file:
        try:
            while file.write(b"#" * 4095 + b"\n"):
                pass
        except OSError:
            pass
