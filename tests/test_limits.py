"""Limits: who gets a grant, how many, and whom the admin keeps out; and popips-db says why."""

from __future__ import annotations

import fcntl
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from popips import denials, grants, limits, upkeep
from popips.maps import Busy
from popips.stamps import Folder
from tests.conftest import Installed, Site

A, B, C, V6 = "192.0.2.10", "192.0.2.11", "192.0.2.12", "2001:db8::10"
DAY = 86400.0


# ---- only_services, only_group


@pytest.mark.parametrize(
    ("setting", "user", "service", "verdict"),
    [
        ({"only_services": "imap, pop3"}, "alice", "pop3", "granted"),
        ({"only_services": "imap"}, "alice", "pop3", "refused"),
        ({"only_services": "imap"}, "alice", "imap2", "refused"),
        ({"only_services": "all"}, "alice", "sshd", "granted"),
        ({"only_services": "imap"}, "root", limits.BY_HAND, "granted"),
        ({"only_group": "daemon"}, "daemon", "pop3", "granted"),
        ({"only_group": "daemon"}, "bin", "pop3", "refused"),
        ({"only_group": "daemon"}, "nobody here", "pop3", "refused"),
        ({"only_group": "nosuchgroup"}, "daemon", "pop3", "refused"),
        ({"only_group": "daemon"}, "root", limits.BY_HAND, "granted"),
        ({}, "anonymous", "imap", "refused"),
        ({}, "Anonymous", "drop", "refused"),
        ({}, "anonymous", limits.BY_HAND, "granted"),
    ],
)
def test_only_these_services_and_this_group_get_grants(
    site: Site, setting: dict[str, str], user: str, service: str, verdict: str
) -> None:
    site.configure(**setting)
    assert site.login(A, user, service) == verdict
    assert site.names() == ({A} if verdict == "granted" else set())


@pytest.mark.parametrize(
    ("service", "cure"),
    [
        ("smtp", "smtp is not one of only_services: add it"),
        ("dovecot", "PAM passdb say args = %s (2.4: service_name"),
    ],
)
def test_a_service_that_gets_none_is_told_with_the_cure(site: Site, service: str, cure: str) -> None:
    site.configure(only_services="pop3 imap")
    outcome = grants.grant(site.settings, A, grants.Login("alice", service, "test"), site.now)
    assert cure in outcome.reason


# ---- max_per_user


def log_in(site: Site, *logins: tuple[str, str]) -> None:
    """Each of these users from each of these addresses, a second apart."""
    for user, address in logins:
        site.now += 1
        assert site.login(address, user) in ("granted", "renewed")


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
    site: Site, logins: list[tuple[str, str]], left: set[str]
) -> None:
    site.configure(max_per_user="2")
    log_in(site, *logins)
    assert site.names() == left
    assert len(site.records()) == len(left)


def test_what_is_not_a_live_grant_of_his_does_not_count(site: Site) -> None:
    site.configure(max_per_user="2")
    log_in(site, ("alice", A))
    site.pass_window()
    log_in(site, ("alice", B), ("alice", C))
    assert site.names() == {A, B, C}  # A is due, and popips-expire's
    assert site.login(V6, "alice", limits.BY_HAND) == "granted"  # the admin's grants are not limited
    assert site.names() == {A, B, C, V6}


def test_logins_that_the_limit_missed_are_counted_in_the_next_run(site: Site) -> None:
    site.configure(max_per_user="1", lock_timeout="0.01s")
    with site.db.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for address in (A, B, C):
            site.now += 1
            assert site.login(address) == "deferred"
    assert site.expire().removed == [A, B]
    assert (site.names(), site.records()) == ({C}, {C: "RELAY"})


def test_a_static_record_of_an_address_that_goes_stays(site: Site) -> None:
    site.configure(max_per_user="1")
    log_in(site, ("alice", A))
    site.access.write_text(f"{A}\tRELAY\n")
    log_in(site, ("alice", B))
    assert site.names() == {B}
    assert site.records() == {A: "RELAY", B: "RELAY"}


def test_the_log_says_which_grant_went(installed: Installed) -> None:
    installed.site.configure(max_per_user="1")
    installed.pam(A)
    told = installed.pam(B).stderr  # there is no log: it is said on standard error
    assert f"granted: address={B} user=alice" in told
    assert f'reason="max_per_user: {A} removed"' in told


# ---- deny


def deny(site: Site, text: str, until: float = denials.FOR_EVER) -> list[str]:
    return upkeep.deny(site.settings, denials.Denial(text, until, "admin"), site.now)


@pytest.mark.parametrize("own", ["no", "yes"])
def test_a_denied_address_loses_its_grant_and_gets_no_other(site: Site, own: str) -> None:
    if own == "yes":
        site.access.unlink()
        site.configure(own_map=own)
    log_in(site, ("alice", A), ("bob", B), ("carol", V6))
    assert sorted(deny(site, "192.0.2.9/30")) == [A, B]
    with Folder(str(site.stamps)) as folder:
        assert [denial.text for denial in denials.load(folder)] == ["192.0.2.8/30"]
    assert site.names() == {V6}
    assert site.login(A) == "refused"
    site.expire()
    assert site.records() == {"ipv6:2001:db8:0:0:0:0:0:10": "RELAY"}


def test_a_denial_ends_when_its_time_is_over_or_when_it_is_lifted(site: Site) -> None:
    deny(site, A, until=site.now + DAY)
    deny(site, V6)
    site.now += DAY - 1
    assert (site.login(A), site.login(V6)) == ("refused", "refused")
    site.now += 1
    with Folder(str(site.stamps)) as folder:
        assert denials.lift(folder, V6)
        assert not denials.lift(folder, V6)
    assert (site.login(A), site.login(V6)) == ("granted", "granted")


def test_all_can_be_denied(site: Site) -> None:
    log_in(site, ("alice", A), ("bob", V6))
    assert (deny(site, "0.0.0.0/0"), deny(site, "::/0")) == ([A], [V6])
    assert (site.login(B), site.records()) == ("refused", {})


def test_denying_again_takes_the_place_of_the_first_time(site: Site) -> None:
    deny(site, A)
    deny(site, A, until=site.now + 1)
    site.now += 1
    assert site.login(A) == "granted"


@pytest.mark.parametrize("own", ["no", "yes"])
def test_a_denial_that_finds_another_writer_ends_its_grants_in_the_next_run(site: Site, own: str) -> None:
    if own == "yes":
        site.access.unlink()
        site.configure(own_map=own)
    log_in(site, ("alice", A), ("bob", B))
    site.expire()
    with pytest.MonkeyPatch.context() as patch, Path(f"{site.db}.popips").open() as held:
        patch.setattr(upkeep, "PATIENCE", 0.0)
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Busy):
            deny(site, A)
    site.expire()
    site.expire()
    assert (site.names(), site.records()) == ({B}, {B: "RELAY"})


def test_a_login_that_has_not_seen_the_denial_loses_its_grant_by_it(site: Site) -> None:
    """It has looked, and makes its stamp under the writers' lock: the denial looks for stamps under that, too."""
    looked = limits.barred
    denier = threading.Thread(target=deny, args=(site, A))

    def barred(*words: Any) -> str:
        found = looked(*words)
        if not denier.ident and sys._getframe(1).f_code.co_name == "step":
            denier.start()
            while not (site.stamps / ".denied").exists():
                time.sleep(0.001)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "barred", barred)
        assert site.login(A) == "granted"
        denier.join()
    assert (site.names(), site.records()) == (set(), {})


def test_a_static_record_of_a_denied_address_stays(site: Site) -> None:
    site.build(f"{A}\tRELAY\n")
    deny(site, A)
    assert site.records() == {A: "RELAY"}


def test_a_denial_that_comes_between_the_login_and_its_grant_counts(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "refusal", lambda *_: "")  # the login looked just before
    deny(site, A)
    assert site.login(A) == "refused"
    assert (site.names(), site.records()) == (set(), {})


@pytest.mark.parametrize("mode", [0o400, 0o600])
def test_a_stamp_that_waits_for_its_record_gets_none_once_it_is_denied(site: Site, mode: int) -> None:
    deny(site, A)
    site.expire()  # nothing but new and odd stamps is looked at from now on
    (site.stamps / A).touch(mode)
    os.utime(site.stamps / A, (site.now, site.now))
    site.expire()
    assert site.records() == {}
    site.expire()
    assert (site.names(), site.records()) == (set(), {})


def test_a_line_that_cannot_be_read_refuses_all_logins_and_names_file_and_line(installed: Installed) -> None:
    (installed.site.stamps / ".denied").write_text(f"{B} - admin\nnonsense\n")
    done = installed.pam(A)
    assert done.returncode == 0
    assert f"refused: address={A}" in done.stderr
    assert f"{installed.site.stamps}/.denied:2: " in done.stderr
    expired = installed.run("popips-db", "deny", B)
    assert (expired.returncode, f"{installed.site.stamps}/.denied:2: " in expired.stderr) == (73, True)


@pytest.mark.parametrize("own", ["no", "yes"])
def test_such_a_line_stops_neither_expiry_nor_the_mending_of_the_map(installed: Installed, own: str) -> None:
    site = installed.site
    if own == "yes":
        site.access.unlink()
    site.configure(own_map=own)
    for address in (A, B):
        installed.pam(address)
    os.utime(site.stamps / A, (0, 0))
    (site.stamps / ".denied").write_text("nonsense\n")
    if own == "yes":
        site.db.unlink()
    else:
        site.build("")
    done = installed.run("popips-expire")
    assert (done.returncode, f"{site.stamps}/.denied:1: " in done.stderr) == (73, True)
    assert (site.names(), site.records()) == ({B}, {B: "RELAY"})


def test_popips_db_denies_lists_and_undenies(installed: Installed) -> None:
    installed.pam(A)
    assert installed.run("popips-db", "deny", A, "for", "1d").returncode == 0
    assert installed.run("popips-db", "deny", "2001:DB8::/32").returncode == 0
    assert installed.site.names() == set()
    first, second = installed.run("popips-db", "deny").stdout.splitlines()
    assert first.startswith(f"{A}\t2") and second.startswith("2001:db8::/32\tever\t")
    assert "denied by " in installed.pam(A).stderr
    assert installed.run("popips-db", "undeny", A).returncode == 0
    assert installed.run("popips-db", "undeny", "2001:0db8::/32").returncode == 0
    again = installed.run("popips-db", "undeny", A)
    assert (again.returncode, again.stderr) == (1, f"popips-db: {A}: not denied\n")
    installed.pam(A)
    assert installed.site.names() == {A}


@pytest.mark.parametrize("words", [[A, B], ["not an address"], ["192.0.2.0/33"], [A, "for", "ever"], [A, "for"]])
def test_what_cannot_be_denied_is_a_usage_error(installed: Installed, words: list[str]) -> None:
    done = installed.run("popips-db", "deny", *words)
    assert (done.returncode, "write ADDRESS or ADDRESS/BITS" in done.stderr) == (64, True)


# ---- the fast lane keeps the limits


@pytest.mark.parametrize(
    ("setting", "env", "fast"),
    [
        ({"only_services": "pop3 imap"}, {}, True),
        ({"only_services": "pop3 imap"}, {"PAM_SERVICE": "sshd"}, False),
        ({"only_services": "pop3 imap"}, {"PAM_SERVICE": "p"}, False),
        ({"max_per_user": "3"}, {}, True),
        ({"max_per_user": "3"}, {"PAM_USER": "bob"}, False),
        ({"only_group": "daemon"}, {"PAM_USER": "daemon"}, False),
    ],
)
def test_the_fast_lane_is_not_for_a_login_that_a_limit_may_bar(
    installed: Installed, setting: dict[str, str], env: dict[str, str], fast: bool
) -> None:
    installed.site.configure(**setting)
    installed.pam(A, **({"PAM_USER": "daemon"} if "only_group" in setting else {}))
    installed.run("popips-expire")
    past = time.time() - 100
    os.utime(installed.site.stamps / A, (past, past))
    pam = {"PAM_RHOST": A, "PAM_USER": "alice", "PAM_SERVICE": "pop3", "PAM_TYPE": "account"} | env
    assert installed.starts_python(**pam) != fast


# ---- why


def test_popips_db_tells_why(installed: Installed) -> None:
    site = installed.site
    site.build("198.51.100.7\tREJECT\nconnect:10.1\tRELAY\nipv6:2001:db8:1\tOK\n")
    for address in (A, B, "198.51.100.7"):
        installed.pam(address)
    installed.run("popips-db", "deny", B)
    (site.stamps / V6).touch()
    told = {
        A: (0, f"{A}: granted: user=alice service=pop3 by=popips-hook last="),
        B: (1, f"{B}: not granted: {B} is denied by "),
        V6: (1, f"{V6}: not granted: pending"),
        "198.51.100.7": (1, "198.51.100.7: not granted: static: the admin has 198.51.100.7 REJECT"),
        "127.0.0.1": (1, "127.0.0.1: not granted: in a network of `never`"),
        "203.0.113.1": (1, "203.0.113.1: not granted: no grant in the last 15m00s; a login that was refused is"),
        "IPv6:2001:db8:1::1": (1, "2001:db8:1::1: not granted: no grant in"),
    }
    for address, (status, words) in told.items():
        done = installed.run("popips-db", "why", address)
        assert (done.returncode, done.stdout[: len(words)]) == (status, words)
    for address, record in (("10.1.2.9", "connect:10.1 RELAY"), ("2001:db8:1::1", "ipv6:2001:db8:1 OK")):
        told_of = installed.run("popips-db", "why", address).stdout
        assert told_of.endswith(f"; static for its network: the admin has {record}\n")
    assert "static" not in installed.run("popips-db", "why", "10.2.2.9").stdout
    assert installed.run("popips-db", "why", "here").returncode == 64
