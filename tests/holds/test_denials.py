"""It closes when the admin or a limit says so, whatever becomes of who carries it out."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from tests.box import CRON_ENVIRONMENT
from tests.holds.kills import hit, points, sweep
from tests.holds.room import STATIC, Room

A, B, SIX, SIX_KEY = "198.51.100.10", "198.51.100.11", "2001:db8::10", "ipv6:2001:db8:0:0:0:0:0:10"
KINDS = [{}, {"own_map": "yes"}]


@pytest.fixture(params=KINDS, ids=["access", "own"])
def fresh(programs: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., Room]:
    """What makes a room with the grants of alice at A and of bob at B."""
    numbers = count()

    def make(**settings: str) -> Room:
        room = Room(programs, tmp_path / f"host{next(numbers)}", **request.param, **settings)
        room.expire()
        room.login(A)
        room.login(B, "bob")
        return room

    return make


def uneven(room: Room) -> str:
    """Return what is wrong after the next run: nothing of the admin's is lost, record and stamp go together."""
    done = room.run()
    if done.status:
        return f"the next run: {done.err}"
    records = room.records()
    static = {} if "own_map" in room.settings else STATIC
    lost = [key for key, value in static.items() if records.get(key) != value and key != "static.example"]
    ours = {key for key in records if key not in static}
    return f"lost {lost}; {ours} but stamps {room.names()}" if lost or ours != room.names() else ""


# ---- the admin's words, killed or interrupted


@pytest.mark.parametrize("signal", ["KILL", "INT"])
def test_deny_hit_anywhere(fresh: Callable[..., Room], signal: str) -> None:
    def wrong(room: Room) -> str:
        fault = uneven(room)
        if A in room.admin("deny").out and A in room.names():
            fault += " denied and still granted"
        if B not in room.names():
            fault += " another's grant has ended"
        if room.admin(f"deny {A}").status or A in room.names() | set(room.records()):
            fault += " said again, it does not end the grant"
        room.login(A)
        return fault + (" a login opens again" if A in room.records() else "")

    sweep(fresh, lambda room: (room.command("popips-db", "deny", A), {}), wrong, signal, most=14)


@pytest.mark.parametrize("signal", ["KILL", "INT"])
@pytest.mark.parametrize("verb", [f"end {A}", f"del {A} static.example", f"ins {A} RELAY"])
def test_end_del_and_ins_hit_anywhere(fresh: Callable[..., Room], verb: str, signal: str) -> None:
    def wrong(room: Room) -> str:
        if verb.startswith("ins"):  # the grant becomes a record of the admin's, or stays a grant
            done = room.run()
            return "" if done.status == 0 and A in room.records() else f"{A} is lost {done.err}"
        fault = uneven(room)
        again = room.admin(verb)
        if again.status > 1 or A in room.names() | set(room.records()):
            fault += f" said again, it does not end the grant: {again.err}"
        return fault + (" another's grant has ended" if B not in room.records() else "")

    if "own_map" in fresh().settings and ("static" in verb or "ins" in verb):
        verb = f"del {A} {SIX}"
    sweep(fresh, lambda room: (room.command("popips-db", *verb.split()), {}), wrong, signal, most=8)


def test_max_per_user_with_the_hook_killed_anywhere(fresh: Callable[..., Room]) -> None:
    def wrong(room: Room) -> str:
        fault = uneven(room)
        if len({A, SIX} & room.names()) > 1 or len(room.granted()) > 2:
            fault += f" alice has more than one: {room.names()}"
        return fault + (" bob's grant has ended" if B not in room.names() else "")

    def with_limit() -> Room:
        return fresh(max_per_user="1")

    def login(room: Room) -> tuple[list[str], dict[str, str]]:
        return room.command("popips-hook"), room.pam("198.51.100.12")

    sweep(with_limit, login, wrong, most=24)


def test_del_killed_beside_a_run(fresh: Callable[..., Room]) -> None:
    """A run looks at the map and the stamps while `del` dies between them."""
    room = fresh()
    faults = []
    for point in points(room, room.command("popips-db", "del", A), most=12):
        room = fresh()
        room.stamps.joinpath(SIX).write_text("")  # there is something to put back
        run = subprocess.Popen(
            room.inside(room.command("popips-expire")), env=CRON_ENVIRONMENT, stderr=subprocess.DEVNULL
        )
        hit(room, room.command("popips-db", "del", A), point, "KILL")
        assert run.wait(60) == 0
        room.admin(f"del {SIX}")
        fault = uneven(room)
        if fault:
            faults.append(f"{point[0]} {point[1]}: {fault}")
    assert not faults, "\n".join(faults)


# ---- the list of denials, changed behind popips' back


def renamed(path: Path, content: bytes, saved: os.stat_result) -> None:
    """As mv of a backup that cp -p has made."""
    copy = path.with_name("copy")
    copy.write_bytes(content)
    os.utime(copy, ns=(saved.st_atime_ns, saved.st_mtime_ns))
    copy.rename(path)


def rewritten(path: Path, content: bytes, saved: os.stat_result) -> None:
    """As cp -p of a backup over it."""
    path.write_bytes(content)
    os.utime(path, ns=(saved.st_atime_ns, saved.st_mtime_ns))


@pytest.mark.parametrize("put", [renamed, rewritten])
@pytest.mark.parametrize("then", ["nothing", "a login", "ten runs"])
def test_a_list_of_denials_that_comes_back_with_an_older_time_counts(
    room: Room, put: Callable[[Path, bytes, os.stat_result], None], then: str
) -> None:
    listed = room.stamps / ".denied"
    room.admin(f"deny {A}")
    content = listed.read_bytes()
    os.utime(listed, (1_000_000_000, 1_000_000_000))
    old = listed.stat()
    room.admin(f"undeny {A}")
    room.login(A)
    for _ in range(10 if then == "ten runs" else 1):
        room.expire()
    assert room.granted() == {A: "RELAY"}
    put(listed, content, old)
    if then == "a login":
        room.login(A)
    room.expire()
    assert (room.granted(), room.names()) == ({}, set())
    room.login(A)
    assert (room.granted(), room.names()) == ({}, set())


def test_a_list_of_the_same_size_and_time_counts(room: Room) -> None:
    listed = room.stamps / ".denied"
    room.admin(f"deny {B}")
    room.login(A)
    room.expire()
    saved = listed.stat()
    rewritten(listed, listed.read_bytes().replace(B.encode(), A.encode()), saved)
    room.expire()
    assert (room.granted(), room.names()) == ({}, set())


# ---- the map by another name

NAMES: dict[str, Callable[[Room], str]] = {
    "as it is": lambda room: f"{room.folder}/access.db",
    "without its ending": lambda room: f"{room.folder}/access",
    "two slashes": lambda room: f"{room.folder}//access.db",
    "a dot": lambda room: f"{room.folder}/./access.db",
    "two dots": lambda room: f"{room.folder}/stamps/../access.db",
    "a link to its folder": lambda room: f"{room.folder.parent}/linked/access.db",
    "a symbolic link": lambda room: f"{room.folder.parent}/symbolic.db",
    "a hard link": lambda room: f"{room.folder.parent}/hard.db",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("words", [f"del {A}", f"del {SIX}", f"ins {A} OK", "ins x.example OK"])
def test_the_map_by_another_name_is_the_map(either: Room, name: str, words: str) -> None:
    """Or it is refused, and nothing is changed."""
    either.expire()
    either.login(A)
    either.login(SIX)
    (either.folder.parent / "linked").symlink_to(either.folder)
    (either.folder.parent / "symbolic.db").symlink_to(either.db)
    os.link(either.db, either.folder.parent / "hard.db")
    before = either.records()
    done = either.admin(f"-m hash:{NAMES[name](either)} {words}")
    if done.status:
        assert NAMES[name](either) in done.err or "own_map" in either.settings
        assert (either.records(), either.names()) == (before, {A, SIX})
    else:
        assert either.settings.get("own_map") != "yes" or words.startswith("del")
        verb, key, *value = words.split()
        expected = {k: v for k, v in before.items() if k != {SIX: SIX_KEY}.get(key, key)}
        if verb == "ins":
            expected[key] = value[0]
        for _ in range(2):  # at once, and after a run
            assert (either.records(), either.names()) == (expected, {A, SIX} - {key})
            either.expire()
    journals = {path.name for folder in (either.folder, either.folder.parent) for path in folder.glob("*.popips")}
    assert journals <= {"access.db.popips"}  # the lock of the writers is one, whatever the name


def test_a_copy_is_another_map(room: Room) -> None:
    room.login(A)
    shutil.copy2(room.db, room.folder / "copy.db")
    assert room.admin(f"-m hash:{room.folder}/copy del {A}").status == 0
    assert (room.granted(), room.names()) == ({A: "RELAY"}, {A})
