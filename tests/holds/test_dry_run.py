"""The dry run says what the run does, and fails on whatever a run would fail on."""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.holds.room import STATIC, WINDOW, Room

KINDS = {"access": {}, "own": {"own_map": "yes"}, "connect": {"key": "connect"}, "limits": {"max_per_user": "2"}}


def some_address(chance: random.Random) -> str:
    """Return an address out of few, so that what is known of one meets what is known of it elsewhere."""
    number = chance.randrange(1, 40)
    return f"198.51.100.{number}" if number % 3 else f"2001:db8::{number:x}"


def key_of(address: str) -> str:
    return f"ipv6:2001:db8:0:0:0:0:0:{address.rpartition(':')[2]}" if ":" in address else address


def at_random(room: Room, chance: random.Random) -> None:
    """Bring the room into a state that some hosts are in: whatever can be old, odd, lost or waiting is so by chance."""
    own = "own_map" in room.settings
    for _ in range(6):
        room.login(some_address(chance), chance.choice(["alice", "bob"]))
    room.run()
    for _ in range(chance.randrange(30)):
        path = room.stamps / some_address(chance)
        path.touch()
        path.write_text(chance.choice(["alice pop3 popips-hook\n", "", "garbage"]))
        path.chmod(chance.choice([0o400, 0o600, 0o600, 0o700, 0o700, 0o777]))
        then = time.time() + chance.choice([-2 * WINDOW, -2 * WINDOW, -WINDOW + 300, -1, 300, 9 * WINDOW])
        os.utime(path, (then, then))
    for name in chance.sample(sorted(room.names()), k=len(room.names()) // 4):
        (room.stamps / name).unlink()
    if not own:
        static = {key_of(some_address(chance)): chance.choice(["REJECT", "RELAY", "OK"]) for _ in range(5)}
        if chance.random() < 0.4:
            room.build(STATIC | static)
        if chance.random() < 0.5:
            room.write(STATIC | {key_of(some_address(chance)): chance.choice(["REJECT", "RELAY"]) for _ in range(6)})
    elif chance.random() < 0.3:
        room.db.unlink()
    elif chance.random() < 0.3:
        room.db.write_bytes(b"damaged")
    if chance.random() < 0.5:
        (room.stamps / ".denied").write_text(f"{some_address(chance)} - root\n198.51.100.32/27 - root\n")
    if chance.random() < 0.4:
        room.configure(never=f"127.0.0.0/8 {some_address(chance)}")
    if chance.random() < 0.4:
        room.configure(**chance.choice([{"value": "OK"}, {"key": "connect"}, {"only_services": "imap"}]))
    requests = room.stamps / ".requests"
    requests.mkdir(mode=0o700, exist_ok=True)
    for number in range(chance.randrange(4)):
        request = requests / f"{some_address(chance)}-{999990 + number}"
        request.write_text("carol pop3 popips-hook\n")
    (room.stamps / "not a stamp").write_text("")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_the_dry_run_says_what_the_run_does(programs: Path, tmp_path: Path, kind: str, seed: int) -> None:
    room = Room(programs, tmp_path / "host", **KINDS[kind])
    at_random(room, random.Random(seed))
    before = tree(room)
    dry = room.run("-n")
    assert tree(room) == before  # it changes nothing, and logs nothing of what it has not done
    assert not [line for line in dry.log if re.match("(removed|restored|granted|static):", line)]
    run = room.run("-v")
    assert dry.status == run.status, (dry.err, run.err)
    would = sorted(line.removeprefix("would be ") for line in dry.out.splitlines() if "address=" in line)
    done = sorted(line for line in run.out.splitlines() if "address=" in line)
    assert would == done
    assert all(line.startswith("would be ") for line in dry.out.splitlines() if "address=" in line)


def tree(room: Room) -> dict[str, tuple[bytes, int]]:
    """Return all files that tell anything, with their content and mode."""
    found = {}
    for path in [room.db, room.access, room.conf, *room.stamps.rglob("*")]:
        if path.is_file() and path.name not in (".expire", ".alive"):
            found[str(path)] = (path.read_bytes(), path.stat().st_mode)
    return found


def test_a_dry_run_leaves_a_second_one_and_the_run_the_same_to_say(room: Room) -> None:
    room.login("198.51.100.10")
    room.age()
    first, second = room.run("-n").out, room.run("-n").out
    assert first == second == f"would be removed: address=198.51.100.10 map=hash:{room.db}\n"


# ---- what a run fails on


def settings(**said: str) -> Callable[[Room], None]:
    return lambda room: room.configure(**said)


def no_conf(room: Room) -> None:
    room.conf.unlink()


def writable_conf(room: Room) -> None:
    room.conf.chmod(0o666)


def conf_of_another(room: Room) -> None:
    os.chown(room.conf, 12345, 12345)


def writable_stamps(room: Room) -> None:
    room.stamps.chmod(0o777)


def stamps_of_another(room: Room) -> None:
    os.chown(room.stamps, 12345, 12345)


def no_stamps(room: Room) -> None:
    shutil.rmtree(room.stamps)


def no_map(room: Room) -> None:
    room.db.unlink()


def damaged_map(room: Room) -> None:
    room.db.write_bytes(room.db.read_bytes()[:512] + b"\xff" * 8192)


def a_btree(room: Room) -> None:
    room.configure(map=f"btree:{room.access}")


def garbage_for_denials(room: Room) -> None:
    (room.stamps / ".denied").write_bytes(b"\xff\xfe nonsense\n")


def a_doveadm_that_fails(room: Room) -> None:
    stub = room.folder / "doveadm"
    stub.write_text("#!/bin/sh\necho no such socket >&2\nexit 75\n")
    stub.chmod(0o755)
    room.configure(renew="sessions", doveadm=str(stub))


FAULTS: dict[str, tuple[Callable[[Room], None], str]] = {
    "an unknown setting": (settings(windw="15m"), "windw"),
    "a bad value": (settings(window="15"), "window"),
    "a map of no kind": (settings(map="dbm:/x"), "dbm"),
    "a group that is not there": (settings(only_group="no-such-group"), "no-such-group"),
    "a pattern that does not compile": (settings(follow_pattern="x: (?P<address>["), "follow_pattern"),
    "a pattern without an address": (settings(follow_pattern="x: login"), "follow_pattern"),
    "a program that is not there": (settings(renew="sessions", doveadm="/no/such/doveadm"), "/no/such/doveadm"),
    "a program that fails": (a_doveadm_that_fails, "doveadm"),
    "a drop folder that is not there": (settings(drop="/no/such/drop"), "/no/such/drop"),
    "a text that is not there": (settings(static_source="/no/such/text"), "/no/such/text"),
    "a map of its own over a text": (settings(own_map="yes"), "own_map"),
    "no popips.conf": (no_conf, "popips.conf"),
    "a popips.conf that others may write": (writable_conf, "popips.conf"),
    "a popips.conf that is not root's": (conf_of_another, "popips.conf"),
    "a stamp folder that others may write": (writable_stamps, "stamps"),
    "a stamp folder that is not root's": (stamps_of_another, "stamps"),
    "no stamp folder": (no_stamps, "stamps"),
    "no map": (no_map, "access.db"),
    "a damaged map": (damaged_map, "access.db"),
    "a map of another kind": (a_btree, "access.db"),
    "denials that cannot be read": (garbage_for_denials, ".denied"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_dry_run_fails_on_whatever_a_run_would_fail_on(room: Room, fault: str) -> None:
    make, named = FAULTS[fault]
    room.login("198.51.100.10")
    make(room)
    dry = room.run("-n")
    assert dry.status != 0
    assert named in dry.err and "Traceback" not in dry.err
    run = room.run()
    assert run.status in (0, dry.status)  # a run may go on without what only a part of it needs, and logs it
    assert named in run.said and "Traceback" not in run.said
