"""The admin decides: what the text says counts, built or not, for login, run and dry run alike."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.holds.room import STATIC, Room

A, B, SIX, SIX_KEY = "198.51.100.10", "198.51.100.11", "2001:db8::10", "ipv6:2001:db8:0:0:0:0:0:10"
ELSEWHERE = "203.0.113.11"

# a line of the text; the address that logs in; whether the address is the admin's while it waits; and once it is built
LINES: dict[str, tuple[str, str, bool, bool]] = {
    "bare": (A, A, True, True),
    "connect:": (f"connect:{A}", A, True, True),
    "Connect:": (f"Connect:{A}", A, True, True),
    "CONNECT:": (f"CONNECT:{A}", A, True, True),
    "IPv6": (SIX_KEY, SIX, True, True),
    "IPv6:": ("IPv6:2001:db8:0:0:0:0:0:10", SIX, True, True),
    "Connect:IPv6:": ("Connect:IPv6:2001:DB8:0:0:0:0:0:10", SIX, True, True),
    "network /24": ("198.51.100", A, True, False),
    "network /16": ("198.51", A, True, False),
    "network /8": ("198", A, True, False),
    "connect:network": ("connect:198.51.100", A, True, False),
    "IPv6 network": ("ipv6:2001:db8", SIX, True, False),
    "Connect:IPv6 network": ("Connect:IPv6:2001:db8:0:0", SIX, True, False),
    "another address": ("198.51.100.100", A, False, False),
    "a domain": ("host.example", A, False, False),
    "From:": (f"From:{A}", A, False, False),
    "Spam:": (f"Spam:{A}", A, False, False),
}
VALUES = ["REJECT", "OK", "ERROR:550 go away", "DISCARD"]
IN_POPIPS_CONF = [{}, {"key": "connect"}]
KEY_IDS = ["key bare", "key connect"]


def edited(room: Room, key: str, value: str) -> None:
    """Edit the text, and build nothing."""
    room.write(STATIC | {key: value})


def outcome(room: Room, address: str) -> tuple[bool, bool]:
    """Return whether there is a grant for the address, and whether there is a record of one."""
    keys = {A: {A, f"connect:{A}"}, SIX: {SIX_KEY, f"connect:{SIX_KEY}"}}[address]
    return address in room.names(), any(room.records().get(key) == "RELAY" for key in keys)


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("settings", IN_POPIPS_CONF, ids=KEY_IDS)
def test_a_line_counts_for_a_login_built_or_not(
    programs: Path, tmp_path: Path, line: str, settings: dict[str, str]
) -> None:
    key, address, waiting, standing = LINES[line]
    unbuilt = Room(programs, tmp_path / "unbuilt", **settings)
    unbuilt.login(B)
    unbuilt.expire()
    edited(unbuilt, key, "REJECT")
    built = Room(programs, tmp_path / "built", **settings)
    built.build(STATIC | {key: "REJECT"})
    for room, is_static in ((unbuilt, waiting), (built, standing)):
        said = room.login(address).said
        assert outcome(room, address) == (not is_static, not is_static), said
        assert not is_static or "static:" in said
        room.run()
        assert outcome(room, address) == (not is_static, not is_static)


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize(
    ("settings", "polls"), [({}, False), ({}, True), ({"key": "connect"}, True)], ids=["quiet", "polling", "connect"]
)
def test_a_line_that_is_not_built_ends_the_grant_at_the_next_run(
    programs: Path, tmp_path: Path, line: str, settings: dict[str, str], polls: bool
) -> None:
    """The client polls as before, by the fast lane; the dry run says what the run does."""
    key, address, is_static, _ = LINES[line]
    room = Room(programs, tmp_path / "host", **settings)
    room.login(address)
    room.login(ELSEWHERE, "bob")
    room.expire()
    edited(room, key, "REJECT")
    if polls:
        room.login(address)
    would = room.run("-n").out
    room.run()
    if polls:
        room.login(address)
    assert outcome(room, address) == (not is_static, not is_static)
    assert (f"address={address} " in would) == is_static
    assert ELSEWHERE in room.names()
    room.run()
    assert outcome(room, address) == (not is_static, not is_static)


@pytest.mark.parametrize("value", VALUES)
def test_whatever_the_value_it_is_the_admins_word(room: Room, value: str) -> None:
    room.login(A)
    room.expire()
    edited(room, A, value)
    room.run()
    assert outcome(room, A) == (False, False)
    room.login(A)
    assert outcome(room, A) == (False, False)


def test_a_relay_that_the_text_says_stays_when_the_grant_is_over(room: Room) -> None:
    """The admin writes the very record that a grant has: built or not, it is his from then on."""
    room.login(A)
    room.login(B)
    room.expire()
    edited(room, A, "RELAY")
    room.run()
    room.login(A)
    room.age()
    room.run()
    assert (room.granted(), room.names()) == ({A: "RELAY"}, set())
    room.build(STATIC | {A: "RELAY"})
    room.run()
    room.run()
    assert room.granted() == {A: "RELAY"}


def test_a_line_that_is_taken_out_again_before_it_was_built_lets_the_address_in_again(room: Room) -> None:
    room.login(A)
    room.expire()
    edited(room, A, "REJECT")
    room.run()
    room.write(STATIC)
    room.login(A)
    room.run()
    assert outcome(room, A) == (True, True)


@pytest.mark.parametrize("how", ["older than the map", "of the map's very time", "by rename, with an old time"])
def test_an_edit_counts_whatever_its_time(room: Room, how: str) -> None:
    """As cp -p, rsync -t or a configuration tool leave it: an edit is told by more than its mtime."""
    room.login(A)
    room.expire()
    then = room.db.stat().st_mtime_ns - (0 if "very" in how else 10**12)
    target = room.folder / "access.new" if "rename" in how else room.access
    target.write_text("".join(f"{key}\t{value}\n" for key, value in (STATIC | {A: "REJECT"}).items()))
    os.utime(target, ns=(then, then))
    if "rename" in how:
        target.rename(room.access)
    room.run()
    assert outcome(room, A) == (False, False)


def test_an_edit_within_the_size_and_the_time_of_the_text_before_counts(room: Room) -> None:
    room.build(STATIC | {B: "REJECT"})
    room.login(A)
    room.expire()
    saved = room.access.stat()
    room.access.write_text(room.access.read_text().replace(B, A))
    os.utime(room.access, ns=(saved.st_atime_ns, saved.st_mtime_ns))
    room.run()
    assert outcome(room, A) == (False, False)


def test_a_record_that_the_admin_puts_with_makemap_over_a_grant_is_his(room: Room) -> None:
    room.login(A)
    room.expire()
    room.build(STATIC | {A: "REJECT"})
    for _ in range(2):
        room.run()
        assert room.granted() == {A: "REJECT"}
        room.login(A)
        assert room.granted() == {A: "REJECT"}
        room.age()
    room.run()
    assert (room.granted(), room.names()) == ({A: "REJECT"}, set())


# ---- max_per_user and only_group: whose grant it is

USERS = {
    "case": ("Alice", "alice"),
    "%20": ("a b", "a%20b"),
    "a tab": ("a\tb", "a b"),
    "a longer name": ("x" * 80, "x" * 80 + "y"),
    "much longer": ("x" * 300, "x" * 300 + "y"),
    "a domain": ("alice", "alice@example.com"),
    "beyond ASCII": ("älice", "a?lice"),
    "dots": ("al.ice", "alice"),
    "quotes": ("al'ice", 'al"ice'),
}


@pytest.mark.parametrize("users", USERS)
def test_users_are_told_apart_by_their_whole_names(programs: Path, tmp_path: Path, users: str) -> None:
    room = Room(programs, tmp_path / "host", max_per_user="1")
    first, second = USERS[users]
    room.login(A, first)
    room.login(B, second)
    assert room.names() == {A, B}
    room.login(A, first)
    room.login("198.51.100.12", second)
    assert (room.names(), set(room.granted())) == ({A, "198.51.100.12"}, {A, "198.51.100.12"})


def test_the_oldest_grant_of_the_user_goes_by_max_per_user(programs: Path, tmp_path: Path) -> None:
    room = Room(programs, tmp_path / "host", max_per_user="3")
    for number in range(10, 16):
        room.login(f"198.51.100.{number}")
        room.let_pass(10)
    room.login("2001:db8::10", "bob")
    assert room.names() == {f"198.51.100.{n}" for n in (13, 14, 15)} | {"2001:db8::10"}
    assert len(room.granted()) == 4


def test_alternating_addresses_do_not_close_the_lane_for_others(programs: Path, tmp_path: Path) -> None:
    room = Room(programs, tmp_path / "host", max_per_user="1")
    room.login("198.51.100.20", "bob")
    room.expire()
    for number in range(4):
        room.login(A if number % 2 else B)
        assert not room.starts_python("198.51.100.20", "bob")
    assert len(room.names()) == 2
