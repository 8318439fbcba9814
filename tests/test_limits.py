"""How many live grants one user, or one network, may have: with one more, the oldest ends, and nobody else's does."""

from __future__ import annotations

import fcntl
import os
from urllib.parse import quote

import pytest

from popips import lane, limits, turns
from popips.fate import BAR, EXPIRE
from popips.grant import DEFERRED, GRANTED, RENEWED, STATIC
from popips.login import BY_HAND, PUSHED, Login
from tests.conftest import Site

A, B, C, V6 = "192.0.2.10", "192.0.2.11", "192.0.2.12", "2001:db8::10"
LONG = "x" * 200


def log_in(site: Site, *logins: tuple[str, str]) -> None:
    """Each of these users from each of these addresses, a second apart."""
    for user, address in logins:
        site.now += 1
        assert site.login(address, user) in (GRANTED, RENEWED)


# ---- max_per_user


@pytest.mark.parametrize("open_lane", [False, True], ids=["", "a run before each"])
@pytest.mark.parametrize(
    ("logins", "left"),
    [
        ([("alice", A), ("alice", B)], {A, B}),
        ([("alice", A), ("alice", B), ("alice", C)], {B, C}),
        ([("alice", A), ("alice", B), ("alice", A), ("alice", C)], {A, C}),
        ([("alice", A), ("bob", B), ("alice", C), ("bob", V6)], {A, B, C, V6}),
        ([("alice", A), ("alice", B), ("bob", C), ("alice", C)], {B, C}),  # C is hers by now
    ],
)
def test_the_oldest_grant_goes_when_a_user_opens_one_too_many(
    site: Site, logins: list[tuple[str, str]], left: set[str], open_lane: bool
) -> None:
    site.configure(max_per_user="2")
    for login in logins:
        if open_lane:
            site.expire()
        log_in(site, login)
    assert site.names() == left
    assert len(site.records()) == len(left)


USERS = [
    (LONG + "a", LONG + "b", False),
    (LONG + "a", LONG + "a", True),
    ("al ice", "al%20ice", False),
    ("al ice", "al ice", True),
    ("Alice", "alice", False),
    ("a@one.test", "a@two.test", False),
    ("j\xf6rg", "jorg", False),
    ("j\xf6rg", "j\xf6rg", True),
    ("j\udcf6rg", "j\xf6rg", False),  # Latin-1 on the way, and UTF-8
    ("-", "alice", False),
    ("a\nb", "a b", False),
    ("100%", "100%25", False),
]


@pytest.mark.parametrize(
    ("one", "other", "is_same"), USERS, ids=[quote(f"{x[-9:]}, {y[-9:]}", errors="replace") for x, y, _ in USERS]
)
@pytest.mark.parametrize("by", ["login", "run"])
def test_a_user_is_his_whole_name_as_the_server_gave_it(
    site: Site, by: str, one: str, other: str, is_same: bool
) -> None:
    site.configure(max_per_user="1" if by == "login" else "0")
    log_in(site, (one, A), (other, B))
    site.configure(max_per_user="1")
    site.expire()
    assert site.names() == ({B} if is_same else {A, B})


def test_of_addresses_by_turns_each_keeps_its_grant_and_the_lane_is_open_for_others(site: Site) -> None:
    site.configure(max_per_user="2")
    log_in(site, ("alice", A), ("alice", B), ("bob", C))
    site.expire()
    for _ in range(3):
        log_in(site, ("alice", A), ("alice", B))
    with site.host as host:
        assert lane.renewed(host, C, Login("bob", "pop3", "test"))
        assert not lane.renewed(host, C, Login("alice", "pop3", "test"))  # it may be one too many of hers


def test_what_is_not_a_live_grant_of_his_does_not_count(site: Site) -> None:
    site.configure(max_per_user="2")
    log_in(site, ("alice", A))
    site.pass_window()
    log_in(site, ("alice", B), ("alice", C))
    assert site.names() == {A, B, C}  # A is due, and popips-expire's
    assert site.login(V6, "alice", BY_HAND) == GRANTED  # the admin's grants are not limited
    assert site.names() == {A, B, C, V6}
    assert site.expire() == {EXPIRE: [A]}


def test_logins_that_wait_together_leave_the_latest_whoever_deals_with_them(site: Site) -> None:
    site.configure(max_per_user="1", lock_timeout="0.01s")
    with site.db.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for address in (A, B, C):
            site.now += 1
            assert site.login(address) == DEFERRED
    site.expire()
    assert (site.names(), site.records()) == ({C}, {C: "RELAY"})


def test_a_request_that_waited_is_no_newer_than_a_login_since(site: Site) -> None:
    site.configure(max_per_user="1", lock_timeout="0.01s", static_source="none")
    log_in(site, ("alice", B))
    site.expire()
    with site.db.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        site.now += 1
        assert site.login(A) == DEFERRED
    with site.host as host:
        host.folder.renew(B, Login("alice", "pop3", "test"), site.now + 1)  # as the fast lane does
    site.now += 2
    site.expire()
    assert site.names() == {B}
    assert [(outcome.verdict, outcome.reason) for _, outcome in site.told[1:]] == [("refused", "max_per_user: alice")]


def test_a_static_record_of_an_address_that_goes_stays(site: Site) -> None:
    site.configure(max_per_user="1")
    log_in(site, ("alice", A))
    site.access.write_text(f"{A}\tRELAY\n")
    log_in(site, ("alice", B))
    assert site.names() == {B}
    assert site.records() == {A: "RELAY", B: "RELAY"}
    assert site.login(A) == STATIC


def test_an_address_that_another_pushes_into_the_drop_folder_does_not_become_one_of_his(site: Site) -> None:
    """Else it would be the grant of somebody else that ends with his next one."""
    site.configure(max_per_user="1")
    log_in(site, ("bob", A))
    site.now += 1
    site.login(A, "alice", PUSHED)
    log_in(site, ("alice", B))
    assert site.names() == {A, B}


def test_whose_grant_has_ended_is_told_with_the_login(site: Site) -> None:
    site.configure(max_per_user="1")
    log_in(site, ("al ice", A), ("al ice", B))
    assert [(user, outcome.reason) for user, outcome in site.told] == [
        ("al ice", f"{A} removed: max_per_user: al%20ice")
    ]


def test_of_logins_that_are_dealt_with_together_each_is_told_what_ended_for_it(site: Site) -> None:
    site.configure(max_per_user="1", lock_timeout="0.01s")
    log_in(site, ("alice", A), ("bob", V6))
    with site.db.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        site.now += 1
        assert [site.login(B, "alice"), site.login(C, "bob")] == [DEFERRED] * 2
    site.expire()
    assert [(user, outcome.reason) for user, outcome in site.told[-2:]] == [
        ("alice", f"{A} removed: max_per_user: alice"),
        ("bob", f"{V6} removed: max_per_user: bob"),
    ]


# ---- max_per_network


@pytest.mark.parametrize(
    ("addresses", "left"),
    [
        (["192.0.2.1", "192.0.2.255", "192.0.3.1"], {"192.0.2.1", "192.0.2.255", "192.0.3.1"}),
        (["192.0.2.1", "192.0.2.2", "192.0.2.3"], {"192.0.2.2", "192.0.2.3"}),
        (["2001:db8::1", "2001:db8::2", "2001:db8::ffff:0:0:1"], {"2001:db8::2", "2001:db8::ffff:0:0:1"}),
        (["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"], {"2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"}),
        (["192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.3"], {"192.0.2.1", "192.0.2.3"}),
        (["192.0.2.1", "192.0.2.2", "2001:db8::1"], {"192.0.2.1", "192.0.2.2", "2001:db8::1"}),
    ],
    ids=" ".join,
)
def test_the_oldest_grant_of_a_network_goes_whoever_its_users_are(
    site: Site, addresses: list[str], left: set[str]
) -> None:
    site.configure(max_per_network="2")
    log_in(site, *((f"user{number}", address) for number, address in enumerate(addresses)))
    assert (site.names(), len(site.records())) == (left, len(left))
    site.expire()
    assert site.names() == left


def test_the_admins_own_grants_count_in_a_network_and_the_log_names_it(site: Site) -> None:
    site.configure(max_per_network="1")
    site.login(A, "root", BY_HAND)
    log_in(site, ("bob", B))
    assert [outcome.reason for _, outcome in site.told] == [f"{A} removed: max_per_network: 192.0.2.0/24"]
    assert site.names() == {B}


def test_a_user_who_floods_from_his_network_keeps_as_many_as_the_setting_says(site: Site) -> None:
    site.configure(max_per_network="3", lock_timeout="0.01s")
    log_in(site, ("bob", A))
    with site.db.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for number in range(40):
            site.now += 1
            assert site.login(f"2001:db8::{number:x}1", "mallory") == DEFERRED
    site.expire()
    assert site.names() == {A, *(f"2001:db8::{number:x}1" for number in (37, 38, 39))}


@pytest.mark.parametrize("setting", ["max_per_user", "max_per_network"])
def test_a_login_ends_no_grant_of_others_who_have_too_many(site: Site, setting: str) -> None:
    log_in(site, ("bob", A), ("bob", B))
    site.configure(**{setting: "1"})
    log_in(site, ("alice", V6))
    assert site.names() == {A, B, V6}


@pytest.mark.parametrize("setting", ["max_per_user", "max_per_network"])
def test_a_limit_that_is_set_or_lowered_counts_from_the_next_run_on(site: Site, setting: str) -> None:
    log_in(site, ("alice", A), ("alice", B), ("alice", C))
    site.expire()
    site.configure(**{setting: "1"})
    assert site.expire(dry_run=True) == site.expire() == {BAR: [A, B]}
    assert (site.names(), site.records()) == ({C}, {C: "RELAY"})


def test_both_limits_hold_at_once(site: Site) -> None:
    site.configure(max_per_user="1", max_per_network="2")
    log_in(site, ("alice", A), ("bob", B), ("alice", V6), ("carol", C), ("dave", "192.0.2.13"))
    assert site.names() == {V6, C, "192.0.2.13"}


# ---- a limit never ends a grant whose login was told yes after it was counted


def test_a_grant_that_was_counted_as_too_many_and_is_renewed_then_stays(site: Site) -> None:
    site.configure(max_per_user="1")
    log_in(site, ("alice", A))
    site.configure()
    log_in(site, ("alice", B))
    site.configure(max_per_user="1")
    with site.host as host:
        over = limits.surplus(host)
        assert set(over) == {A}
        assert host.folder.renew(A, None, site.now + 1)
        bars = limits.bars(host, over)
        assert list(turns.in_turns(host, over, bars)) == [{A: "leave"}]
    assert site.names() == {A, B}
    site.now += 2
    assert site.expire() == {BAR: [B]}


def test_due_grants_of_a_user_are_not_his_newest_because_their_time_is_odd(site: Site) -> None:
    site.configure(max_per_user="1")
    log_in(site, ("alice", A))
    os.utime(site.stamps / A, (site.now + 86400, site.now + 86400))
    log_in(site, ("alice", B))
    site.expire()
    site.now += 1
    site.expire()
    assert len(site.names()) == 1
