"""Limits and denials on the installed programs: what is said, what the fast lane leaves, and popips-db says why."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable

import pytest

from tests.conftest import Installed

A, B, V6 = "192.0.2.10", "192.0.2.11", "2001:db8::10"


def test_the_log_says_which_grant_went(installed: Installed) -> None:
    installed.site.configure(max_per_user="1")
    installed.pam(A)
    told = installed.pam(B).stderr  # there is no log: it is said on standard error
    assert f"granted: address={B} user=alice" in told
    assert f'reason="{A} removed: max_per_user: alice"' in told


# ---- deny


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
    site.now = time.time()
    for address in (A, B):
        site.login(address)
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


def test_why_says_until_when_an_address_is_denied(installed: Installed) -> None:
    for span, until in (("for 1d", r" until \d{4}-\d\d-\d\dT[\d:]+Z"), ("", "")):
        installed.run("popips-db", "deny", A, *span.split())
        told = installed.run("popips-db", "why", A).stdout.partition("\n")[0]
        assert re.fullmatch(rf"{A}: not granted: {A} is denied by \S+{until}: popips-db undeny {A}", told), told


def test_popips_db_tells_why(installed: Installed) -> None:
    site = installed.site
    site.build("198.51.100.7\tREJECT\nconnect:10.1\tRELAY\nipv6:2001:db8:1\tOK\n")
    site.now = time.time()
    for address in (A, B, "198.51.100.7"):
        site.login(address)
    installed.run("popips-db", "deny", B)
    (site.stamps / ".requests").mkdir(mode=0o700, exist_ok=True)
    (site.stamps / ".requests" / f"{V6}-1").write_text("alice imap popips-hook\n")
    told = {
        A: (0, f"{A}: granted: user=alice service=pop3 by=test last="),
        B: (1, f"{B}: not granted: {B} is denied by "),
        V6: (1, f"{V6}: not granted: pending: the record comes with the next run"),
        "198.51.100.7": (1, "198.51.100.7: not granted: static: the admin has 198.51.100.7 REJECT"),
        "127.0.0.1": (1, "127.0.0.1: not granted: in a network of `never`: 127.0.0.0/8 (the default, see"),
        "203.0.113.1": (1, "203.0.113.1: not granted: no grant in the last 15m00s; a login that was refused is"),
        "IPv6:2001:db8:1::1": (1, "2001:db8:1::1: not granted: no grant in"),
    }
    for address, (status, words) in told.items():
        done = installed.run("popips-db", "why", address)
        assert (done.returncode, done.stdout[: len(words)]) == (status, words)
    for address, record in (("10.1.2.9", "connect:10.1 RELAY"), ("2001:db8:1::1", "ipv6:2001:db8:1 OK")):
        told_of = installed.run("popips-db", "why", address).stdout.partition("\n")[0]
        assert told_of.endswith(f"; static for its network: the admin has {record}")
    assert "static" not in installed.run("popips-db", "why", "10.2.2.9").stdout
    assert installed.run("popips-db", "why", "here").returncode == 64


@pytest.mark.parametrize(
    ("happen", "reason"),
    [
        (lambda installed: installed.age(A, minutes=16), "due: the last login is longer ago than the window"),
        (lambda installed: installed.site.configure(never=A), "in a network of `never`"),
        (
            lambda installed: installed.site.access.write_text(f"{A} REJECT\n"),
            "static: the text of the map has a record",
        ),
    ],
    ids=["due", "barred", "an edit that is not built"],
)
def test_what_the_next_run_ends_is_open_until_then(
    installed: Installed, happen: Callable[[Installed], object], reason: str
) -> None:
    installed.site.now = time.time()
    installed.site.login(A)
    happen(installed)
    done = installed.run("popips-db", "why", A)
    words = f"{A}: open until the next run of popips-expire: {reason}"
    assert (done.returncode, done.stdout[: len(words)]) == (0, words)
    installed.run("popips-expire")
    assert installed.run("popips-db", "why", A).stdout.startswith(f"{A}: not granted: ")
