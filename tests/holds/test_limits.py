"""A crowd: limits for each user and each network, one who floods, and many at once."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.box import CRON_ENVIRONMENT
from tests.holds.room import Room


def limited(programs: Path, folder: Path, **settings: str) -> Room:
    room = Room(programs, folder / "host", **settings)
    room.expire()
    room.login("203.0.113.7", "bob")
    room.login("2001:db8:7::7", "bob")
    return room


def even(room: Room) -> bool:
    """Whether each stamp has its record, and each record its stamp."""
    keys = {key.rpartition("ipv6:")[2] for key in room.granted()}
    long = {":".join(f"{int(part, 16):x}" for part in exploded(name)) if ":" in name else name for name in room.names()}
    return keys == long


def exploded(address: str) -> list[str]:
    """Return the eight parts of an IPv6 address."""
    head, found, tail = address.partition("::")
    first, last = head.split(":"), tail.split(":") if tail else []
    return first + ["0"] * (8 - len(first) - len(last)) + last if found else first


# limit; the addresses that log in, each another user's; how many of them have a grant afterwards
NETWORKS: dict[str, tuple[int, list[str], int]] = {
    "one /24": (3, [f"198.51.100.{n}" for n in range(1, 9)], 3),
    "two /24": (3, [f"198.51.{100 + n % 2}.{n}" for n in range(1, 11)], 6),
    "the ends of a /24": (1, ["198.51.100.1", "198.51.100.254", "198.51.101.1"], 2),
    "one /64": (3, [f"2001:db8::{n:x}:1" for n in range(1, 9)], 3),
    "one /64, all over it": (2, ["2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", "2001:db8:0:0:8000::1"], 2),
    "two /64 of one /48": (2, [f"2001:db8:0:{n % 2}::{n:x}" for n in range(1, 9)], 4),
    "IPv4 mapped": (2, [f"::ffff:198.51.100.{n}" for n in range(1, 6)], 2),
    "no limit": (0, [f"198.51.100.{n}" for n in range(1, 9)], 8),
    "fewer than the limit": (9, [f"198.51.100.{n}" for n in range(1, 9)], 8),
    "one address again and again": (1, ["198.51.100.1"] * 5, 1),
}


@pytest.mark.parametrize("case", NETWORKS)
def test_a_network_has_no_more_grants_than_max_per_network(programs: Path, tmp_path: Path, case: str) -> None:
    limit, logins, left = NETWORKS[case]
    room = limited(programs, tmp_path, max_per_network=str(limit))
    for number, address in enumerate(logins):
        room.login(address, f"user{number}")
        room.let_pass(2)
    assert len(room.names() - {"203.0.113.7", "2001:db8:7::7"}) == left
    room.expire()
    assert len(room.names()) == left + 2
    assert even(room)


def test_those_who_have_a_grant_keep_renewing_it_at_the_limit(programs: Path, tmp_path: Path) -> None:
    """A full network does not close the lane for its own members."""
    room = limited(programs, tmp_path, max_per_network="2")
    room.login("198.51.100.1", "carol")
    room.login("198.51.100.2", "dave")
    room.expire()
    assert not room.starts_python("198.51.100.1", "carol")
    assert not room.starts_python("198.51.100.2", "dave")
    assert {"198.51.100.1", "198.51.100.2"} <= room.names()


def test_what_has_ended_makes_room(programs: Path, tmp_path: Path) -> None:
    room = limited(programs, tmp_path, max_per_network="1")
    room.login("198.51.100.1", "carol")
    room.age("198.51.100.1")
    room.expire()
    room.login("198.51.100.2", "dave")
    assert "198.51.100.2" in room.names()
    assert even(room)


@pytest.mark.parametrize("limit", ["max_per_user", "max_per_network"])
def test_a_flood_ends_nobody_elses_grant(programs: Path, tmp_path: Path, limit: str) -> None:
    """One user at many addresses of his /64, many of them at once."""
    room = limited(programs, tmp_path, **{limit: "5"})
    crowd(room, [(f"2001:db8::{n:x}", "mallory") for n in range(1, 61)])
    room.run()
    assert {"203.0.113.7", "2001:db8:7::7"} <= room.names()
    assert len(room.names()) == 7
    assert even(room)
    assert not room.starts_python("203.0.113.7", "bob")


@pytest.mark.parametrize("number", ["-1", "x", "1.5", "1 2"])
def test_a_limit_is_a_number(room: Room, number: str) -> None:
    room.configure(max_per_network=number)
    done = room.run()
    assert done.status == 78
    assert "max_per_network" in done.err and str(room.conf) in done.err


# ---- many at once


def begun(room: Room, logins: list[tuple[str, str]], out: int) -> list[subprocess.Popen[bytes]]:
    """Start all these logins; out: where what their hooks print goes to."""
    return [
        subprocess.Popen(
            room.inside(room.command("popips-hook")),
            env=CRON_ENVIRONMENT | room.pam(address, user),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.DEVNULL,
        )
        for address, user in logins
    ]


def crowd(room: Room, logins: list[tuple[str, str]], at_once: int = 20) -> None:
    """Log in, so many at once."""
    for start in range(0, len(logins), at_once):
        for hook in begun(room, logins[start : start + at_once], subprocess.PIPE):
            assert (hook.communicate(timeout=120)[0], hook.returncode) == (b"", 0)


CROWD = [(f"198.51.100.{n}", f"user{n}") for n in range(1, 41)]


def test_all_of_a_crowd_are_granted(either: Room) -> None:
    either.expire()
    crowd(either, CROWD, at_once=40)
    either.expire()
    assert either.names() == set(either.granted()) == {address for address, _ in CROWD}
    assert either.requests() == []


def test_a_crowd_before_a_locked_map_is_granted_by_the_next_run(room: Room) -> None:
    room.expire()
    with room.db.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        crowd(room, CROWD[:20])
    room.expire()
    assert set(room.granted()) == room.names() == {address for address, _ in CROWD[:20]}
    assert room.requests() == []


def test_a_crowd_whose_granter_is_killed_is_granted_all_the_same(room: Room) -> None:
    """Whoever works for all who wait may die: by the next run at the latest each of them has his grant."""
    room.expire()
    before = set(room.records())
    for _ in range(5):  # where the machine is slow, none may have begun before all have given up
        if crowd_without_its_granter(room):
            break
    else:
        raise AssertionError("there was no granter")
    room.expire()
    assert room.names() == set(room.records()) - before == {address for address, _ in CROWD}


def crowd_without_its_granter(room: Room) -> bool:
    """Have a crowd log in while the map is locked, and kill who works for it; return whether there was one."""
    with room.db.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # it has to wait with all its requests
        hooks = begun(room, CROWD, subprocess.DEVNULL)
        killed = 0
        while not killed and any(hook.poll() is None for hook in hooks):
            killed = granter(room)
            if killed:
                os.kill(killed, signal.SIGKILL)
    assert all(hook.wait() == 0 for hook in hooks)
    return bool(killed)


def granter(room: Room) -> int:
    """Return the pid of this room's granter at work; 0 if there is none."""
    try:
        pid = int((room.stamps / ".granter").read_text())
        return pid if str(room.conf).encode() in Path(f"/proc/{pid}/cmdline").read_bytes() else 0
    except (OSError, ValueError):
        return 0


@pytest.mark.parametrize("pid", ["1", "999999", "", "garbage", "0", "-1"])
def test_a_mark_of_a_granter_that_works_for_nobody_keeps_no_login_from_its_grant(room: Room, pid: str) -> None:
    """It died, and its pid is free, or another process's by now: the next run grants at the latest."""
    room.expire()
    (room.stamps / ".granter").write_text(f"{pid}\n")
    start = time.monotonic()
    room.login("198.51.100.1")
    assert time.monotonic() - start < 20
    room.expire()
    assert room.granted() == {"198.51.100.1": "RELAY"}
