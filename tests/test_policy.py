"""Who may have a grant at all: the user, his groups and the service, and the networks of `never`, once an hour told."""

from __future__ import annotations

import grp
import os

import pytest

from popips import grant, policy
from popips.grant import GRANTED, REFUSED, RENEWED
from popips.log import INFO, WARNING, Log
from popips.login import BY_HAND, Login
from tests.conftest import Site

A, B, V6 = "192.0.2.10", "192.0.2.11", "2001:db8::10"
NEVER = "in a network of `never`"


@pytest.mark.parametrize(
    ("setting", "user", "service", "verdict"),
    [
        ({"only_services": "imap, pop3"}, "alice", "pop3", GRANTED),
        ({"only_services": "imap"}, "alice", "pop3", REFUSED),
        ({"only_services": "imap"}, "alice", "imap2", REFUSED),
        ({"only_services": "all"}, "alice", "sshd", GRANTED),
        ({"only_services": "imap"}, "root", BY_HAND, GRANTED),
        ({"only_group": "daemon"}, "daemon", "pop3", GRANTED),
        ({"only_group": "daemon"}, "bin", "pop3", REFUSED),
        ({"only_group": "daemon"}, "nobody here", "pop3", REFUSED),
        ({"only_group": "nosuchgroup"}, "daemon", "pop3", REFUSED),
        ({"only_group": "daemon"}, "root", BY_HAND, GRANTED),
        ({}, "anonymous", "imap", REFUSED),
        ({}, "Anonymous", "drop", REFUSED),
        ({}, "anonymous", BY_HAND, GRANTED),
    ],
)
def test_only_these_services_and_this_group_get_grants(
    site: Site, setting: dict[str, str], user: str, service: str, verdict: str
) -> None:
    site.configure(**setting)
    assert site.login(A, user, service) == verdict
    assert site.names() == ({A} if verdict == GRANTED else set())


@pytest.mark.parametrize(
    ("service", "cure"),
    [
        ("smtp", "smtp is not one of only_services: add it"),
        ("dovecot", "PAM passdb say args = %s (2.4: service_name"),
    ],
)
def test_a_service_that_gets_none_is_told_with_the_cure(site: Site, service: str, cure: str) -> None:
    site.configure(only_services="pop3 imap")
    assert site.login(A, service=service) == REFUSED
    ((_, outcome),) = site.told
    assert cure in outcome.reason


def test_groups_are_as_the_system_says_them_not_as_the_group_lists_its_members(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group of two lines has but the members of one in gr_mem, and one of LDAP's may have none."""
    daemon, asked = grp.getgrnam("daemon"), site.folder / "asked"

    def groups(user: str, gid: int) -> list[int]:
        with asked.open("a") as file:  # a process of its own asks
            file.write(f"{user}\n")
        return [gid, *([daemon.gr_gid] if user == "bin" else [])]

    monkeypatch.setattr(os, "getgrouplist", groups)
    site.configure(only_group="daemon")
    assert (site.login(A, "bin"), site.login(B, "sys")) == (GRANTED, REFUSED)
    assert set(asked.read_text().split()) == {"bin", "sys"}


def test_a_user_who_has_left_the_group_renews_no_grant(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.configure(only_group="daemon")
    site.login(A, "daemon")
    site.expire()
    monkeypatch.setattr(os, "getgrouplist", lambda user, gid: [])
    site.now += 100
    assert site.login(A, "daemon") == REFUSED
    assert (site.stamps / A).stat().st_mtime == site.now - 100


@pytest.mark.parametrize("text", [A, "2001:DB8:0::10"])
def test_a_login_from_a_network_of_never_is_told_once_an_hour_for_each_address(site: Site, text: str) -> None:
    """Webmail on this host logs in at each click."""
    site.configure(never="192.0.2.0/28 2001:db8::/64")
    told = []
    for later in (0, 1, 3598, 2):  # the last is an hour and a second after the first
        site.now += later
        assert site.login(text) == REFUSED
        told.append([outcome.reason for _, outcome in site.told])
    assert told == [[NEVER], [], [], [NEVER]]
    site.login("192.0.2.12")
    assert [outcome.reason for _, outcome in site.told] == [NEVER]


def test_what_says_that_it_was_told_is_no_stamp_and_goes_after_an_hour(site: Site) -> None:
    site.configure(never="192.0.2.0/28")
    site.login(A)
    marker = site.stamps / f".never-{A}"
    assert (marker.stat().st_mtime, site.names()) == (site.now, set())
    site.now += 3600
    assert (site.expire(), marker.exists()) == ({}, True)
    site.now += 1
    assert (site.expire(), marker.exists()) == ({}, False)


def test_a_grant_in_a_network_that_is_of_never_by_now_ends_with_the_next_run(site: Site) -> None:
    site.login(A)
    site.login(V6)
    site.expire()
    site.configure(never=V6)
    assert site.expire() == {"bar": [V6]}
    assert (site.names(), site.records()) == ({A}, {A: "RELAY"})


@pytest.mark.parametrize(
    ("outcome", "renewals", "level"),
    [
        (grant.Outcome(GRANTED, A), "no", INFO),
        (grant.Outcome(RENEWED, A), "no", None),
        (grant.Outcome(RENEWED, A), "yes", INFO),
        (grant.Outcome(RENEWED, A, f"{B} removed: max_per_user: alice"), "no", INFO),
        (grant.Outcome(grant.STATIC, A, "the admin has a record on it"), "no", INFO),
        (grant.Outcome(REFUSED, A, policy.NEVER), "no", INFO),
        (grant.Outcome(REFUSED, A, "denied just now: popips-db why says by whom"), "no", WARNING),
        (grant.Outcome(grant.DEFERRED, A, "somebody else keeps it locked"), "no", WARNING),
    ],
)
def test_what_is_as_it_should_be_is_information_and_all_else_a_warning(
    site: Site, monkeypatch: pytest.MonkeyPatch, outcome: grant.Outcome, renewals: str, level: int | None
) -> None:
    lines: list[tuple[str, int, str]] = []
    monkeypatch.setattr(Log, "line", lambda self, level, text: lines.append((self.program, level, text)))
    site.configure(log_renewals=renewals)
    grant.tell(site.settings, Login("al ice", "pop3", "popips-hook"), outcome)
    reason = f' reason="{outcome.reason}"' if outcome.reason else ""
    line = f"{outcome.verdict}: address={A} user=al%20ice service=pop3 map=hash:{site.db}{reason}"
    assert lines == ([] if level is None else [("popips-hook", level, line)])
