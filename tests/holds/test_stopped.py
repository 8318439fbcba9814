"""It closes although a program stood still for longer than the window, at any call, and then went on."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from tests.holds.kills import points, stopped
from tests.holds.room import STATIC, Room

A, B, NEW = "198.51.100.10", "198.51.100.11", "198.51.100.12"


@pytest.fixture(params=["access", "own"])
def fresh(programs: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[], Room]:
    numbers = count()

    def make() -> Room:
        settings = {"own_map": "yes"} if request.param == "own" else {}
        room = Room(programs, tmp_path / f"host{next(numbers)}", **settings)
        room.expire()
        room.login(A)
        room.login(B, "bob")
        room.expire()
        return room

    return make


def ours(room: Room) -> set[str]:
    static = {} if "own_map" in room.settings else STATIC
    records = room.records()
    assert records.items() >= static.items()
    return set(records) - set(static)


# who stands still, as (program, words, address), and how many points
STANDING = {
    "the fast lane": ("popips-hook", (), A),
    "a new address": ("popips-hook", (), NEW),
    "the script of Dovecot": ("popips-postlogin", ("/bin/true",), A),
    "deny": ("popips-db", ("deny", A), ""),
    "del": ("popips-db", ("del", A), ""),
    "a run": ("popips-expire", (), ""),
}


@pytest.mark.parametrize("who", STANDING)
def test_what_goes_on_after_its_window_leaves_nothing_open(fresh: Callable[[], Room], who: str) -> None:
    program, words, address = STANDING[who]
    env = (Room.pam(address) if program == "popips-hook" else {"IP": address, "USER": "alice"}) if address else {}
    room = fresh()
    faults = []
    for point in points(room, room.command(program, *words), env, most=6 if who == "a new address" else 8):
        room = fresh()
        with stopped(room, room.command(program, *words), point, env) as standing:
            room.let_pass()
            if not holds_a_lock(standing.pid):  # else a run would wait for it: it comes afterwards
                assert room.run().status == 0
            standing.carry_on()
        room.run()
        if ours(room) != room.names():
            faults.append(f"at {point}: records of {ours(room)}, stamps of {room.names()}")
        room.let_pass()
        done = room.run()
        if done.status or ours(room) or room.names():
            faults.append(f"at {point}: a window later: {ours(room)} {room.names()} {done.err}")
    assert not faults, "\n".join(faults)


def holds_a_lock(pid: int) -> bool:
    """Whether a process has locked a file, by flock or OFD: the kernel tells by its descriptors."""
    return any("\nlock:" in "\n" + info.read_text() for info in Path(f"/proc/{pid}/fdinfo").iterdir()) if pid else False


def test_a_login_while_a_run_stands_still_keeps_its_grant(fresh: Callable[[], Room]) -> None:
    """The run has A for due; A's user logs in before it goes on."""
    room = fresh()
    room.age(A)
    faults = []
    for point in points(room, room.command("popips-expire"), most=14):
        room = fresh()
        room.age(A)
        with stopped(room, room.command("popips-expire"), point) as standing:
            room.login(A)
            standing.carry_on()
        room.expire()
        if ours(room) != {A, B} or room.names() != {A, B}:
            faults.append(f"at {point}: {ours(room)} {room.names()}")
    assert not faults, "\n".join(faults)
