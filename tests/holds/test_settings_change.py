"""It closes when popips.conf says another map, key or value: the old records go, whoever logs in meanwhile."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.holds.room import STATIC, Room
from tests.strace import STRACE

A, B, SIX = "198.51.100.10", "198.51.100.11", "2001:db8::10"
LONG, SHORT = "ipv6:2001:db8:0:0:0:0:0:10", "ipv6:2001:db8::10"
ALL = (A, B, SIX)

# before; after; the records of A and SIX before; and after
CHANGES: dict[str, tuple[dict[str, str], dict[str, str], dict[str, str], dict[str, str]]] = {
    "value": ({}, {"value": "OK"}, {A: "RELAY", LONG: "RELAY"}, {A: "OK", LONG: "OK"}),
    "value back": ({"value": "popips"}, {"value": ""}, {A: "popips", LONG: "popips"}, {A: "RELAY", LONG: "RELAY"}),
    "key": (
        {},
        {"key": "connect"},
        {A: "RELAY", LONG: "RELAY"},
        {f"connect:{A}": "RELAY", f"connect:{LONG}": "RELAY"},
    ),
    "key back": (
        {"key": "connect"},
        {"key": ""},
        {f"connect:{A}": "RELAY", f"connect:{LONG}": "RELAY"},
        {A: "RELAY", LONG: "RELAY"},
    ),
    "compressed": ({}, {"compressed_ipv6": "yes"}, {A: "RELAY", LONG: "RELAY"}, {A: "RELAY", SHORT: "RELAY"}),
    "key and value": (
        {},
        {"key": "connect", "value": "OK"},
        {A: "RELAY", LONG: "RELAY"},
        {f"connect:{A}": "OK", f"connect:{LONG}": "OK"},
    ),
}
EVENTS = [
    ("run",),
    ("login A", "run"),
    ("login B", "run"),
    ("login A", "login B", "run", "login A"),
    ("killed run", "run"),
    ("killed run", "login A", "run"),
    ("login B", "killed run", "login B", "run"),
    ("dry run", "run"),
]
IDS = ["; ".join(events) for events in EVENTS]


def happen(room: Room, events: tuple[str, ...]) -> None:
    for event in events:
        if event.startswith("login"):
            room.login(A if event.endswith("A") else B, "alice" if event.endswith("A") else "bob")
        elif event == "killed run":
            kill_in_the_middle(room)
        elif event == "dry run":
            assert room.run("-n").status == 0
        else:
            room.expire()


def kill_in_the_middle(room: Room) -> None:
    """Kill a run when it has done about half of its writes to the map's folder."""
    calls = "pwrite64,write,fdatasync,fsync,unlink,unlinkat,utimensat,fchmod"
    traced = [*STRACE, "-o", "/dev/null", "-e", f"trace={calls}"]
    inject = [word for call in calls.split(",") for word in ("-e", f"inject={call}:signal=KILL:when=3")]
    room.do([*traced, *inject, *room.command("popips-expire")])


def started(programs: Path, folder: Path, settings: dict[str, str]) -> Room:
    room = Room(programs, folder / "host", **settings)
    for address in (A, SIX):
        room.login(address)
    room.expire()
    return room


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("events", EVENTS, ids=IDS)
def test_the_old_records_go_and_the_new_ones_come(
    programs: Path, tmp_path: Path, change: str, events: tuple[str, ...]
) -> None:
    before, after, old, new = CHANGES[change]
    room = started(programs, tmp_path, before)
    assert room.granted() == old
    room.configure(**after)
    happen(room, events)
    found = room.granted()
    of_b = {key: value for key, value in found.items() if B in key}
    assert {key: value for key, value in found.items() if key not in of_b} == new
    assert of_b == ({next(iter(new)).replace(A, B): new[next(iter(new))]} if "login B" in events else {})
    room.age()
    room.expire()
    assert (room.granted(), room.names()) == ({}, set())


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_due_when_the_settings_change_goes(programs: Path, tmp_path: Path, change: str) -> None:
    before, after, _, _ = CHANGES[change]
    room = started(programs, tmp_path, before)
    room.age()
    room.configure(**after)
    room.expire()
    assert (room.granted(), room.names()) == ({}, set())


@pytest.mark.parametrize("change", CHANGES)
def test_settings_that_are_put_back_leave_nothing_of_the_others(programs: Path, tmp_path: Path, change: str) -> None:
    before, after, old, _ = CHANGES[change]
    room = started(programs, tmp_path, before)
    room.configure(**after)
    room.login(B, "bob")
    room.configure(**{key: before.get(key, "") for key in after})
    room.expire()
    found = room.granted()
    assert {key: value for key, value in found.items() if B not in key} == old
    assert len(found) == len(old) + 1 == len(room.names())


@pytest.mark.parametrize("change", CHANGES)
def test_popips_conf_put_back_with_an_older_time_is_seen_by_the_next_run(
    programs: Path, tmp_path: Path, change: str
) -> None:
    before, after, _, new = CHANGES[change]
    room = started(programs, tmp_path, before)
    room.configure(**after)
    os.utime(room.conf, (1_000_000_000, 1_000_000_000))
    room.login(A)
    room.expire()
    assert room.granted() == new


@pytest.mark.parametrize("verb", ["end --all", f"end {A} {SIX}", f"del {A} {SIX}", "deny 0.0.0.0/0"])
@pytest.mark.parametrize("change", ["value", "key", "compressed"])
def test_the_admin_ends_grants_before_a_run_has_seen_the_change(
    programs: Path, tmp_path: Path, change: str, verb: str
) -> None:
    before, after, _, _ = CHANGES[change]
    room = started(programs, tmp_path, before)
    room.configure(**after)
    assert room.admin(verb).status == 0
    room.expire()
    kept = {SIX} if verb.startswith("deny") else set()
    assert room.names() == kept
    assert len(room.granted()) == len(kept)


# ---- another map


@pytest.mark.parametrize("events", EVENTS, ids=IDS)
@pytest.mark.parametrize("target", ["another of the admin's", "one of its own", "the same by btree"])
def test_the_old_map_holds_none_of_ours_after_a_run(
    programs: Path, tmp_path: Path, target: str, events: tuple[str, ...]
) -> None:
    room = started(programs, tmp_path, {})
    kind = "btree" if "btree" in target else "hash"
    other = room.folder / "other.db"
    if "own" in target:
        room.configure(map=f"{kind}:{other}", own_map="yes")
    else:
        subprocess.run(["makemap", kind, str(other)], input=b"x.example OK\n", check=True)
        room.configure(map=f"{kind}:{other}")
    happen(room, events)
    assert room.granted() == {}
    there = dumped(kind, other)
    theirs = {} if "own" in target else {"x.example": "OK"}
    of_b = {B: "RELAY"} if "login B" in events else {}
    assert there == {A: "RELAY", LONG: "RELAY"} | of_b | theirs
    room.age()
    room.expire()
    assert (room.granted(), dumped(kind, other), room.names()) == ({}, theirs, set())


def dumped(kind: str, db: Path) -> dict[str, str]:
    done = subprocess.run(["makemap", "-u", kind, str(db)], check=True, capture_output=True, text=True)
    return dict(line.split("\t", 1) for line in done.stdout.splitlines())


def test_from_a_map_of_its_own_back_to_the_admins(programs: Path, tmp_path: Path) -> None:
    room = Room(programs, tmp_path / "host")
    mine = f"hash:{room.folder}/mine"
    room.configure(map=mine, own_map="yes")
    room.run()
    room.login(A)
    room.configure(map=f"hash:{room.access}", own_map="")
    room.login(B, "bob")
    room.expire()
    assert room.granted() == {A: "RELAY", B: "RELAY"}
    left = room.folder / "mine.db"
    assert not left.exists() or dumped("hash", left) == {}


def test_static_records_of_the_old_map_stay(programs: Path, tmp_path: Path) -> None:
    """One that the admin put on a client's address, and one that the text says by now."""
    room = started(programs, tmp_path, {})
    room.build(STATIC | {A: "RELAY"})
    room.admin(f"ins {B} RELAY")
    room.configure(value="OK")
    room.expire()
    assert room.granted() == {A: "RELAY", B: "RELAY", LONG: "OK"}


@pytest.mark.parametrize("what", ["gone", "a folder", "damaged"])
def test_an_old_map_that_cannot_be_changed_is_named_until_it_can(programs: Path, tmp_path: Path, what: str) -> None:
    room = started(programs, tmp_path, {})
    other = room.folder / "other.db"
    subprocess.run(["makemap", "hash", str(other)], input=b"", check=True)
    room.configure(map=f"hash:{other}")
    room.db.rename(room.folder / "aside")
    if what == "a folder":
        room.db.mkdir()
    elif what == "damaged":
        room.db.write_bytes(b"\xff" * 9999)
    done = room.run()
    if what == "gone":
        assert done.status == 0  # no map is asked, nothing is open
        assert dumped("hash", other) == {A: "RELAY", LONG: "RELAY"}
    else:
        assert str(room.db) in done.said  # what is in it may still be asked
    if room.db.is_dir():
        room.db.rmdir()
    os.replace(room.folder / "aside", room.db)
    room.run()
    assert dumped("hash", other) == {A: "RELAY", LONG: "RELAY"}
    if what != "gone":  # it was to be looked at again until it could be
        assert room.granted() == {}


def test_a_stamp_folder_that_changes_leaves_the_old_ones_records_as_orphans(programs: Path, tmp_path: Path) -> None:
    """What was in the old folder is known no more; the records are told, and end when the admin says so."""
    room = started(programs, tmp_path, {})
    (room.folder / "elsewhere").mkdir(mode=0o700)
    room.configure(stamps=str(room.folder / "elsewhere"))
    told = room.run()
    if room.granted():
        assert A in told.said
        room.admin("end --orphans")
    assert room.granted() == {}


# what is put into popips.conf by mistake, and what the run says
MISTAKES = {
    "another type": ({"map": "btree:{folder}/access"}, "a hash map; write hash:{folder}/access in popips.conf"),
    "another path": ({"map": "hash:{folder}/acess"}, "{folder}/acess.db"),
    "the admin's map for popips' own": ({"own_map": "yes"}, "name another"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("before", [True, False], ids=["with a grant", "before the first login"])
@pytest.mark.parametrize("event", ["run", "login"])
def test_a_mistake_in_popips_conf_closes_and_is_over_once_it_is_mended(
    room: Room, mistake: str, before: bool, event: str
) -> None:
    wrong, said = MISTAKES[mistake]
    if before:
        room.login(A)
        room.expire()
    good = dict(room.settings)
    room.configure(**{name: value.format(folder=room.folder) for name, value in wrong.items()})
    if event == "login":
        assert "deferred" in room.login(B).said
    done = room.run()
    assert done.status and said.format(folder=room.folder) in done.err, done
    assert room.records() == STATIC
    room.configure(**{name: good.get(name, "") for name in wrong})
    room.expire()
    assert room.records() == STATIC | ({A: "RELAY"} if before else {}) | ({B: "RELAY"} if event == "login" else {})
    room.configure(value="OK")
    room.expire()
    room.login(SIX)
    assert room.records()[LONG] == "OK"
