"""popips-db end: grants end at once, records of the admin's stay."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from popips import ending, upkeep
from popips.maps import Busy
from tests.conftest import Installed, Site

A, B, C, V6 = "192.0.2.10", "192.0.2.11", "192.0.2.12", "2001:db8::10"


@pytest.fixture(params=["no", "yes"], ids=["access", "own"])
def either(site: Site, request: pytest.FixtureRequest) -> Site:
    """A site with the admin's map, or with a map of its own."""
    if request.param == "yes":
        site.access.unlink()
        site.configure(own_map="yes")
    return site


def end_all(site: Site) -> list[str]:
    return [name for batch in ending.end_all(site.settings, site.now) for name in batch]


# ---- what the command says: words, standard input, status, whose stamps are left, standard error

WORDS: list[tuple[str, str, int, set[str], str]] = [
    (f"end {A}", "", 0, {B, V6}, ""),
    (f"end {A} {A} 2001:DB8:0::10", "", 0, {B}, ""),
    ("end ipv6:2001:db8:0:0:0:0:0:10", "", 0, {A, B}, ""),
    ("end -", f"{A}\n\n{B}\n", 0, {V6}, ""),
    (f"end {A} {C}", "", 1, {B, V6}, f"popips-db: {C}: no grant\n"),
    ("end --all", "", 0, set(), ""),
    ("end", "", 64, {A, B, V6}, "popips-db: end: write addresses, or --all\n"),
    (f"end --all {A}", "", 64, {A, B, V6}, "popips-db: end: write addresses, or --all\n"),
    (f"end {A} nix", "", 64, {A, B, V6}, "popips-db: nix: not an IPv4 or IPv6 address; write an address\n"),
    (f"-m hash:/x end {A}", "", 64, {A, B, V6}, "popips-db: end: grants are in the map of "),
]


@pytest.mark.parametrize(("words", "stdin", "status", "left", "error"), WORDS, ids=[words for words, *_ in WORDS])
def test_the_command_ends_the_grants_that_it_names(
    installed: Installed, words: str, stdin: str, status: int, left: set[str], error: str
) -> None:
    for address in (A, B, V6):
        installed.pam(address)
    done = installed.run("popips-db", *words.split(), stdin=stdin)
    told = "".join(line for line in done.stderr.splitlines(True) if "cannot log" not in line)
    assert (done.returncode, done.stdout, installed.site.names()) == (status, "", left)
    assert told.startswith(error) if error else told == ""
    assert len(installed.site.records()) == len(left)


def test_each_grant_that_ends_is_logged(installed: Installed) -> None:
    installed.pam(A)
    logged = installed.run("popips-db", "end", "--all", env={"SUDO_USER": "eve"}).stderr
    assert f"removed: address={A} user=eve map=hash:{installed.site.db}\n" in logged


def test_no_grants_are_all_ended_even_where_there_is_no_map(installed: Installed) -> None:
    installed.site.db.unlink()
    done = installed.run("popips-db", "end", "--all")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# ---- what it does to map and stamps


def test_all_grants_end_however_many_and_whatever_state_they_are_in(
    either: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "BATCH", 2)
    for address in (A, B, C, V6, "192.0.2.13"):
        either.login(address)
    either.expire()
    os.utime(either.stamps / A, (0, 0))  # due
    (either.stamps / "192.0.2.14").touch(0o400)  # pending
    assert sorted(end_all(either)) == sorted([A, B, C, V6, "192.0.2.13", "192.0.2.14"])
    assert (either.names(), either.records()) == (set(), {})
    assert end_all(either) == []


def test_a_login_after_the_end_gets_a_grant_anew(either: Site) -> None:
    either.login(A)
    either.expire()
    end_all(either)
    assert not (either.stamps / ".lane").exists()
    assert (either.login(A), either.records()) == ("granted", {A: "RELAY"})


def test_records_of_the_admins_stay(site: Site) -> None:
    site.login(A)
    site.build(f"{A}\tREJECT\n{C}\tRELAY\n")  # A: written after the grant
    site.login(B)
    site.access.write_text(f"{A}\tREJECT\n{B}\tRELAY\n{C}\tRELAY\n")  # B: and the map not built since
    (site.stamps / C).touch(0o600)
    end_all(site)
    assert (site.names(), site.records()) == (set(), {A: "REJECT", B: "RELAY", C: "RELAY"})


def test_a_damaged_map_of_its_own_is_made_anew_without_the_grants(site: Site) -> None:
    site.access.unlink()
    site.configure(own_map="yes")
    site.login(A)
    site.db.write_bytes(b"damaged")
    assert end_all(site) == [A]
    assert (site.names(), site.records()) == (set(), {})


def test_what_has_ended_before_the_map_is_locked_by_another_has_ended(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "BATCH", 1)
    monkeypatch.setattr(upkeep, "PATIENCE", 0.0)
    site.login(A)
    site.login(B)
    batches = ending.end(site.settings, [A, B], site.now)
    assert next(batches) == [A]
    with Path(f"{site.db}.popips").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Busy):
            next(batches)
    assert (site.names(), site.records()) == ({B}, {B: "RELAY"})
