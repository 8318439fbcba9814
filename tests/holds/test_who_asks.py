"""The admin decides who may: groups, denials and services are asked of a login and of a session that lasts alike."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.holds.room import STATIC, WINDOW, Room

A, B, SIX = "198.51.100.10", "198.51.100.11", "2001:db8::10"
# alice: named in a line of the group; bob: in a second line of it; carol: by her first group; dave: by none
PASSWD = """alice:x:7001:7001::/:/bin/false
bob:x:7002:7002::/:/bin/false
carol:x:7003:7000::/:/bin/false
dave:x:7004:7004::/:/bin/false
"""
GROUP = """relay:x:7000:alice
alice:x:7001:
bob:x:7002:
dave:x:7004:
relay:x:7000:bob
"""
MEMBERS = {"alice": True, "bob": True, "carol": True, "dave": False, "nobody-of-that-name": False, "alicea": False}


@pytest.fixture
def grouped(room: Room) -> Room:
    for name, text in (("passwd", PASSWD), ("group", GROUP)):  # behind the host's, for makemap's user is of them
        room.binds[f"/etc/{name}"] = room.folder / name
        (room.folder / name).write_text(Path(f"/etc/{name}").read_text() + text)
    return room


def sessions(room: Room, *there: tuple[str, str, str]) -> None:
    """Have a stub of doveadm tell that these have a session: (user, address, service)."""
    told = [{"username": user, "service": service, "pid": "1", "ip": ip} for user, ip, service in there]
    (room.folder / "who.json").write_text(json.dumps(told))
    stub = room.folder / "doveadm"
    stub.write_text(f"#!/bin/sh\nexec cat {room.folder}/who.json\n")
    stub.chmod(0o755)
    room.configure(renew="sessions", doveadm=str(stub))


# ---- only_group


@pytest.mark.parametrize("user", MEMBERS)
def test_a_login_is_of_the_group_by_whatever_makes_its_user_a_member(grouped: Room, user: str) -> None:
    grouped.configure(only_group="relay")
    said = grouped.login(A, user).said
    assert (grouped.names() == {A}) == MEMBERS[user], said
    grouped.expire()
    assert (grouped.granted() == {A: "RELAY"}) == MEMBERS[user]


@pytest.mark.parametrize("user", MEMBERS)
def test_a_session_is_of_the_group_as_a_login_is(grouped: Room, user: str) -> None:
    """A grant of before the group was asked for: his session keeps it only if his login would."""
    grouped.login(A, user, "imap")
    grouped.expire()
    sessions(grouped, (user, A, "imap"))
    grouped.configure(only_group="relay")
    grouped.age(seconds=2 * WINDOW)
    grouped.run()
    assert (grouped.granted() == {A: "RELAY"}) == MEMBERS[user]


def test_a_known_address_of_a_user_who_has_left_the_group_is_not_renewed(grouped: Room) -> None:
    grouped.configure(only_group="relay")
    grouped.login(A, "alice")
    grouped.expire()
    group = grouped.folder / "group"
    group.write_text(group.read_text().replace("7000:alice", "7000:"))
    grouped.age(seconds=WINDOW - 60)
    grouped.login(A, "alice")
    assert grouped.stamps.joinpath(A).stat().st_mtime < time.time() - 300


# ---- sessions: who is renewed, of those that a login would renew or not

# settings; the session's user, address and service; whether it is renewed
ASKED: dict[str, tuple[dict[str, str], tuple[str, str, str], bool]] = {
    "as ever": ({}, ("alice", A, "imap"), True),
    "as ever, pop3": ({}, ("alice", A, "pop3"), True),
    "IPv4 mapped": ({}, ("alice", f"::ffff:{A}", "imap"), True),
    "a service that fetches no mail": ({}, ("alice", A, "submission"), False),
    "a service that is not of only_services": ({"only_services": "pop3"}, ("alice", A, "imap"), False),
    "anonymous": ({}, ("anonymous", A, "imap"), False),
    "Anonymous": ({}, ("Anonymous", A, "imap"), False),
    "an address of never": ({"never": "198.51.100.0/24"}, ("alice", A, "imap"), False),
    "another address": ({}, ("alice", B, "imap"), False),
    "no address": ({}, ("alice", "", "imap"), False),
}


@pytest.mark.parametrize("case", ASKED)
def test_a_session_is_asked_what_a_login_is(room: Room, case: str) -> None:
    said, session, renewed = ASKED[case]
    room.login(A, "alice", "imap")
    room.expire()
    sessions(room, session)
    room.configure(**said)
    room.age(A, seconds=2 * WINDOW)
    room.run()
    assert (room.granted(), room.names()) == (({A: "RELAY"}, {A}) if renewed else ({}, set()))


@pytest.mark.parametrize("denied", [A, "198.51.100.0/24", "198.51.100.8/29"])
def test_a_session_of_a_denied_address_keeps_no_grant(room: Room, denied: str) -> None:
    room.login(A, "alice", "imap")
    sessions(room, ("alice", A, "imap"))
    room.expire()
    assert room.admin(f"deny {denied}").status == 0
    for _ in range(2):
        room.run()
        assert (room.granted(), room.names()) == ({}, set())


def test_a_session_of_an_address_that_the_text_says_by_now_keeps_no_grant(room: Room) -> None:
    room.login(A, "alice", "imap")
    sessions(room, ("alice", A, "imap"))
    room.expire()
    room.write(STATIC | {A: "REJECT"})
    room.run()
    assert (room.granted(), room.names()) == ({}, set())


def test_a_session_makes_no_grant_where_there_is_none(room: Room) -> None:
    """It may be one whose login was refused, or ended by the admin."""
    sessions(room, ("alice", A, "imap"))
    room.run()
    room.login(A, "alice", "imap")
    room.admin(f"end {A}")
    room.run()
    assert (room.granted(), room.names()) == ({}, set())


def test_a_session_of_another_user_behind_the_address_is_asked_by_his_own_name(grouped: Room) -> None:
    """alice may, dave may not: dave's session alone keeps nothing; with hers beside it, the grant stays."""
    grouped.configure(only_group="relay")
    for there, kept in (
        ((("dave", A, "imap"),), False),
        ((("dave", A, "imap"), ("alice", A, "imap")), True),
    ):
        grouped.login(A, "alice", "imap")
        sessions(grouped, *there)
        grouped.age(A, seconds=2 * WINDOW)
        grouped.run()
        assert (A in grouped.names()) == kept


# ---- requests: the same questions, when the next run sees to them


@pytest.mark.parametrize("way", ["login", "request"])
@pytest.mark.parametrize(
    ("said", "user", "service", "granted"),
    [
        ({}, "alice", "pop3", True),
        ({"only_services": "imap"}, "alice", "pop3", False),
        ({"only_services": "imap pop3"}, "alice", "pop3", True),
        ({"never": "198.51.100.0/25"}, "alice", "pop3", False),
        ({"only_group": "relay"}, "dave", "pop3", False),
        ({"only_group": "relay"}, "bob", "pop3", True),
        ({}, "anonymous", "imap", False),
    ],
)
def test_a_request_is_asked_what_a_login_is(
    grouped: Room, way: str, said: dict[str, str], user: str, service: str, granted: bool
) -> None:
    grouped.configure(**said)
    grouped.expire()
    if way == "login":
        grouped.login(A, user, service)
    else:
        requests = grouped.stamps / ".requests"
        requests.mkdir(mode=0o700, exist_ok=True)
        (requests / f"{A}-999999").write_text(f"{user} {service} popips-hook\n")
    grouped.run()
    assert ((A in grouped.names()), grouped.requests()) == (granted, [])


@pytest.mark.parametrize("name", ["198.51.100.10", "x-1", "../../x-1", "224.0.0.1-7", "198.51.100.010-7", "-7"])
def test_a_request_of_no_address_grants_nothing_and_goes(room: Room, name: str) -> None:
    room.expire()
    requests = room.stamps / ".requests"
    requests.mkdir(mode=0o700, exist_ok=True)
    (requests / name.replace("/", "%")).write_text("alice pop3 popips-hook\n")
    room.run()
    assert (room.granted(), room.names()) == ({}, set())


def test_a_request_that_is_being_written_is_left_alone_and_goes_when_it_is_old(room: Room) -> None:
    room.expire()
    requests = room.stamps / ".requests"
    requests.mkdir(mode=0o700, exist_ok=True)
    (requests / f"{A}-999999").write_text("alice pop3 popips-hook")  # no newline yet
    room.run()
    assert (room.names(), len(room.requests())) == (set(), 1)
    room.let_pass(61)
    room.run()
    assert (room.names(), room.requests()) == (set(), [])


def test_the_time_of_a_request_is_that_of_its_login(room: Room) -> None:
    """One that nobody has looked at for a window is a login of that time: it grants nothing any more."""
    room.expire()
    requests = room.stamps / ".requests"
    requests.mkdir(mode=0o700, exist_ok=True)
    (requests / f"{A}-999999").write_text("alice pop3 popips-hook\n")
    room.let_pass(2 * WINDOW)
    room.run()
    assert (room.granted(), room.names(), room.requests()) == ({}, set(), [])
