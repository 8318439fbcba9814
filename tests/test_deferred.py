"""A login that cannot have the map in time leaves a request; the next who has it, or the next run, deals with all."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from popips import revoke
from popips.fate import EXPIRE
from popips.grant import DEFERRED, GRANTED, REFUSED, RENEWED, STATIC
from tests.conftest import Site

A, B = "192.0.2.10", "192.0.2.11"


def holding(path: Path) -> int:
    fd = os.open(path, os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def deferred(site: Site, *addresses: str) -> None:
    """Let the addresses log in while somebody holds the map."""
    site.configure(lock_timeout="0.1s", static_source="none")
    fd = holding(site.db)
    assert [site.login(address) for address in addresses] == [DEFERRED] * len(addresses)
    os.close(fd)
    assert waiting(site) == len(addresses)
    site.told.clear()


def waiting(site: Site) -> int:
    return len(list((site.stamps / ".requests").iterdir()))


@pytest.mark.parametrize("then", ["run", "login"])
def test_whoever_has_the_map_next_deals_with_all_requests(site: Site, then: str) -> None:
    deferred(site, A, B)
    assert (site.names(), site.records()) == (set(), {})
    if then == "run":
        assert site.expire() == {}
        assert [(user, outcome.verdict, outcome.address) for user, outcome in site.told] == [
            ("alice", GRANTED, A),
            ("alice", GRANTED, B),
        ]
    else:
        assert site.login("198.51.100.1") == GRANTED
    assert {A, B} <= site.names() == set(site.records())
    assert waiting(site) == 0
    site.pass_window()
    assert set(site.expire()) == {EXPIRE}
    assert site.records() == {}


@pytest.mark.parametrize("value", ["RELAY", "REJECT"])
@pytest.mark.parametrize("then", ["run", "login"])
def test_a_deferred_login_never_claims_a_static_record(site: Site, value: str, then: str) -> None:
    site.build(f"{A} {value}\n")
    deferred(site, A)
    if then == "run":
        site.expire()
        assert [outcome.verdict for _, outcome in site.told] == [STATIC]
    else:
        assert site.login(A) == STATIC
    assert (site.names(), waiting(site)) == (set(), 0)
    site.pass_window()
    site.expire()
    assert site.records() == {A: value}


def test_a_request_that_is_older_than_the_window_grants_nothing(site: Site) -> None:
    deferred(site, A)
    site.pass_window()
    site.expire()
    assert [(outcome.verdict, outcome.reason) for _, outcome in site.told] == [
        (REFUSED, "the login is longer ago than the window")
    ]
    assert (site.names(), site.records(), waiting(site)) == (set(), {}, 0)


def test_a_grant_that_is_there_counts_from_the_deferred_login_on(site: Site) -> None:
    site.login(A)
    site.now += 800
    deferred(site, A)
    site.now += 800
    assert site.expire() == {}
    assert site.login(A) == RENEWED
    site.pass_window()
    assert site.expire() == {EXPIRE: [A]}


def test_a_login_without_a_map_is_granted_when_there_is_one(site: Site) -> None:
    site.db.unlink()
    assert site.login(A) == DEFERRED
    site.build("")
    site.expire()
    assert site.records() == {A: "RELAY"}


LINES = [("", 0), ("alice pop3 popips-hook", 0), ("alice pop3 popips-hook\n", 1), ("a b\n", 0), ("alice pop3 x y\n", 0)]


@pytest.mark.parametrize(("content", "granted"), LINES)
def test_a_request_that_is_not_whole_grants_nothing_and_goes_after_a_minute(
    site: Site, content: str, granted: int
) -> None:
    (site.stamps / ".requests").mkdir(mode=0o700)
    request = site.stamps / ".requests" / f"{A}-4711"
    request.write_text(content)
    os.utime(request, (site.now, site.now))
    site.expire()
    assert (len(site.records()), waiting(site)) == (granted, 1 - granted)
    site.now += 61
    site.expire()
    assert (len(site.records()), waiting(site)) == (granted, 0)


@pytest.mark.parametrize("name", ["x-1", "-1", "127.0.0.1-1", "192.0.2.010-1", "224.0.0.1-1", "A"])
def test_a_request_of_no_address_that_may_be_granted_is_refused(site: Site, name: str) -> None:
    (site.stamps / ".requests").mkdir(mode=0o700)
    (site.stamps / ".requests" / name).write_text("alice pop3 popips-hook\n")
    os.utime(site.stamps / ".requests" / name, (site.now, site.now))
    site.expire()
    assert [outcome.verdict for _, outcome in site.told] == [REFUSED]
    assert (site.names(), site.records(), waiting(site)) == (set(), {}, 0)


@pytest.mark.parametrize(("pid", "is_left"), [("1", True), ("4194304", False), ("", False), ("x", False)])
def test_a_granter_that_lives_keeps_its_marker_and_a_dead_ones_is_taken_away(
    site: Site, pid: str, is_left: bool
) -> None:
    (site.stamps / ".granter").write_text(f"{pid}\n")
    assert site.login(A) == GRANTED
    assert (site.stamps / ".granter").exists() == is_left


def test_an_ended_grant_does_not_come_back_by_a_request_that_was_left_before(site: Site) -> None:
    site.login(A)
    deferred(site, A)
    with site.host as host:
        assert list(revoke.end(host, [A])) == [[A]]
    site.expire()
    assert (site.names(), site.records(), waiting(site)) == (set(), {}, 0)
