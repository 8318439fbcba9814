"""popips-db end and del: grants end at once and stay ended, records of the admin's stay."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from popips import move, requests, revoke, turns
from popips.grant import DEFERRED, GRANTED, STATIC
from popips.maps import Busy
from popips.stamps.folder import Folder
from tests.conftest import Installed, Site

A, B, C, V6 = "192.0.2.10", "192.0.2.11", "192.0.2.12", "2001:db8::10"


def left_waiting(site: Site, *addresses: str) -> None:
    """Let them log in while somebody has the map."""
    own = "no" if site.access.exists() else "yes"
    site.configure(own_map=own, lock_timeout="0.01s")
    with Path(f"{site.db}.popips").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert [site.login(address) for address in addresses] == [DEFERRED] * len(addresses)


# ---- what the command says: words, standard input, status, whose stamps are left, standard error

WORDS: list[tuple[str, str, int, set[str], str]] = [
    (f"end {A}", "", 0, {B, V6}, ""),
    (f"end {A} {A} 2001:DB8:0::10", "", 0, {B}, ""),
    ("end ipv6:2001:db8:0:0:0:0:0:10", "", 0, {A, B}, ""),
    ("end -", f"{A}\n\n{B}\n", 0, {V6}, ""),
    (f"end {A} {C}", "", 1, {B, V6}, f"popips-db: {C}: no grant\n"),
    ("end --all", "", 0, set(), ""),
    (
        "end",
        "",
        64,
        {A, B, V6},
        "popips-db: end: write addresses, --all, --user USER, --network ADDRESS/BITS, or --orphans\n",
    ),
    (
        f"end --all {A}",
        "",
        64,
        {A, B, V6},
        "popips-db: end: write addresses, --all, --user USER, --network ADDRESS/BITS, or --orphans\n",
    ),
    (f"end {A} nix", "", 64, {A, B, V6}, "popips-db: nix: not an IPv4 or IPv6 address; write an address\n"),
    (f"-m hash:/x end {A}", "", 64, {A, B, V6}, "popips-db: end: grants are in the map of "),
]


@pytest.mark.parametrize(("words", "stdin", "status", "left", "error"), WORDS, ids=[words for words, *_ in WORDS])
def test_the_command_ends_the_grants_that_it_names(
    installed: Installed, words: str, stdin: str, status: int, left: set[str], error: str
) -> None:
    installed.site.now = time.time()
    for address in (A, B, V6):
        installed.site.login(address)
    done = installed.run("popips-db", *words.split(), stdin=stdin)
    told = "".join(line for line in done.stderr.splitlines(True) if "cannot log" not in line)
    assert (done.returncode, installed.site.names()) == (status, left)
    gone = {A, B, V6} - left
    assert set(done.stdout.strip().removeprefix("ended: ").split(", ")) == (gone or {""})
    assert told.startswith(error) if error else told == ""
    assert len(installed.site.records()) == len(left)


def test_each_grant_that_ends_is_logged(installed: Installed) -> None:
    installed.site.now = time.time()
    installed.site.login(A)
    logged = installed.run("popips-db", "end", "--all", env={"SUDO_USER": "eve"}).stderr
    assert f"removed: address={A} user=eve map=hash:{installed.site.db}\n" in logged


# ---- what it does to map and stamps


def test_all_grants_end_however_many_and_whatever_state_they_are_in(
    either: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "BATCH", 2)
    for address in (A, B, C, V6, "192.0.2.13"):
        either.login(address)
    either.expire()
    os.utime(either.stamps / A, (0, 0))  # due
    (either.stamps / "192.0.2.14").touch(0o400)
    (either.stamps / "192.0.2.15").symlink_to("/etc/passwd")
    assert sorted(either.end()) == sorted([A, B, C, V6, *(f"192.0.2.{last}" for last in (13, 14, 15))])
    assert (either.names(), either.records()) == (set(), {})
    assert either.end() == []


def test_a_login_after_the_end_gets_a_grant_anew(either: Site) -> None:
    either.login(A)
    either.expire()
    either.end(A)
    assert (either.login(A), either.records()) == (GRANTED, {A: "RELAY"})


def test_records_of_the_admins_stay(site: Site) -> None:
    site.login(A)
    site.build(f"{A}\tREJECT\n{C}\tRELAY\n")  # A: written after the grant
    site.login(B)
    site.access.write_text(f"{A}\tREJECT\n{B}\tRELAY\n{C}\tRELAY\n")  # B: and the map not built since
    (site.stamps / C).touch(0o600)
    site.end()
    assert (site.names(), site.records()) == (set(), {A: "REJECT", B: "RELAY", C: "RELAY"})


def test_a_damaged_map_of_its_own_is_made_anew_without_the_grants(site: Site) -> None:
    site.access.unlink()
    site.configure(own_map="yes")
    site.login(A)
    site.login(B)
    site.db.write_bytes(b"damaged")
    assert site.end(A) == [A]
    assert (site.names(), site.records()) == ({B}, {B: "RELAY"})


def test_what_has_ended_before_the_map_is_locked_by_another_has_ended(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "BATCH", 1)
    monkeypatch.setattr(turns, "TURN", 0.0)
    site.configure(lock_timeout="0.01s")
    site.login(A)
    site.login(B)
    with site.host as host:
        batches = revoke.end(host, [A, B])
        assert next(batches) == [A]
        journal = f"{site.db}.popips"
        Path(journal).rename(f"{journal}.old")  # another, who comes when this one lets others have their turn
        Path(journal).touch(0o600)
        with Path(journal).open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            with pytest.raises(Busy):
                next(batches)
    assert (site.names(), site.records()) == ({B}, {B: "RELAY"})


def test_what_cannot_be_removed_is_not_said_to_have_ended(either: Site) -> None:
    either.login(A)
    (either.stamps / B / "within").mkdir(parents=True)
    assert either.end(A, A, B, C) == [A]
    assert (either.names(), either.records()) == ({B}, {})


# ---- what was waiting


@pytest.mark.parametrize("with_stamp", [False, True])
@pytest.mark.parametrize("how", ["end", "end --all", "del", "deny"])
def test_a_login_that_waited_brings_nothing_back(either: Site, how: str, with_stamp: bool) -> None:
    either.login(C)
    if with_stamp:
        either.login(A)
        either.expire()
    left_waiting(either, A, "192.0.2.13")
    if how == "end":
        either.end(A)
    elif how == "end --all":
        either.end()
    elif how == "del":
        either.take_out(A)
    else:
        either.deny(A)
    either.told.clear()
    either.expire()
    left = {"192.0.2.13", C} if how != "end --all" else set()
    assert (either.names(), set(either.records())) == (left, left)
    assert A not in {outcome.address for _, outcome in either.told if outcome.verdict != "refused"}


def test_a_request_is_withdrawn_by_any_way_to_write_its_address(site: Site) -> None:
    site.login(C)
    left_waiting(site, V6)
    (file,) = (site.stamps / ".requests").iterdir()
    file.rename(file.with_name("2001:DB8:0::10-1"))
    with Folder(str(site.stamps)) as folder:
        requests.withdraw(folder, {A})
        assert len(requests.there(folder, site.now)) == 1
        requests.withdraw(folder, {V6})
        assert requests.there(folder, site.now) == []


# ---- del and ins


def test_del_takes_out_record_and_grant_and_says_what_it_has_not_found(site: Site) -> None:
    site.build(f"{B}\tREJECT\nexample.test\tRELAY\n")
    site.access.write_text("")
    site.login(A)
    assert site.take_out(A, B, C, "example.test", "nix") == [C, "nix"]
    assert (site.names(), site.records()) == (set(), {})


def test_del_finds_a_grant_by_each_of_the_words_that_name_it(site: Site) -> None:
    site.login(A)
    assert site.take_out(A, f"connect:{A}", f"connect:{B}") == [f"connect:{B}"]


def test_what_the_admin_puts_on_an_address_ends_its_grant_and_stays(site: Site) -> None:
    site.login(A)
    site.login(B)
    site.expire()
    site.put(A, "RELAY")
    assert (site.names(), site.records()) == ({B}, {A: "RELAY", B: "RELAY"})
    assert site.login(A) == STATIC
    site.pass_window()
    site.expire()
    assert site.records() == {A: "RELAY"}


# ---- after a change of popips.conf, before a run


def test_a_grant_that_was_made_by_other_settings_ends_by_them(site: Site) -> None:
    site.login(A)
    site.login(B)
    site.expire()
    site.configure(value="OK", key="connect")
    assert site.end(A) == [A]
    assert A not in site.records()
    site.expire()
    assert (site.names(), site.records()) == ({B}, {f"connect:{B}": "OK"})


def test_nobody_moves_grants_twice(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.login(A)
    site.configure(value="OK")
    moves: list[int] = []
    empty = move._empty
    monkeypatch.setattr(move, "_empty", lambda *words: moves.append(1) or empty(*words))  # type: ignore[func-returns-value]
    site.end(B)
    site.expire()
    assert (len(moves), site.records()) == (1, {A: "OK"})
