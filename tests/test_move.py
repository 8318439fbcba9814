"""popips.conf names another map, key or value: the next run moves all grants, and the old map holds none of ours."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from popips import form, move
from popips.fate import EXPIRE, PUT
from popips.grant import DEFERRED, GRANTED, RENEWED
from popips.maps import Busy, MapError, kinds
from tests.conftest import Site
from tests.test_deaths import die

A, B, SIX = "192.0.2.10", "192.0.2.11", "2001:db8::10"
SIX_KEY = "ipv6:2001:db8:0:0:0:0:0:10"
STATIC = {"198.51.100.1": "REJECT"}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return made(tmp_path)


def made(folder: Path) -> Site:
    """Make a site with a grant of each kind of address, and a second map, `other`, that is the admin's, too."""
    site = Site(folder)
    for name in ("access", "other"):
        at(site, name).build("198.51.100.1\tREJECT\n")
    site.login(A)
    site.login(SIX)
    site.expire()
    return site


class At(Site):
    """The same site, as it is with another map."""

    def __init__(self, site: Site, name: str) -> None:
        self.folder, self.kind, self.access = site.folder, site.kind, site.folder / name

    @property
    def db(self) -> Path:
        return Path(f"{self.access}.db")


def at(site: Site, name: str) -> At:
    return At(site, name)


def settings(site: Site, words: str) -> dict[str, str]:
    """map=other, value=OK: what popips.conf says."""
    given = dict(word.split("=") for word in words.split())
    if "map" in given:
        given["map"] = f"hash:{site.folder}/{given['map']}"
    return given


CHANGES = [
    ("value=OK", "access", {A: "OK", SIX_KEY: "OK"}),
    ("key=connect", "access", {f"connect:{A}": "RELAY", f"connect:{SIX_KEY}": "RELAY"}),
    ("compressed_ipv6=yes", "access", {A: "RELAY", f"ipv6:{SIX}": "RELAY"}),
    ("map=other", "other", {A: "RELAY", SIX_KEY: "RELAY"}),
    ("map=other value=OK key=connect", "other", {f"connect:{A}": "OK", f"connect:{SIX_KEY}": "OK"}),
    ("map=mine own_map=yes", "mine", {A: "RELAY", SIX_KEY: "RELAY"}),
    ("map=mine own_map=yes mta=postfix", "mine", {A: "OK", SIX: "OK"}),
]


@pytest.mark.parametrize(("change", "where", "records"), CHANGES, ids=[change for change, *_ in CHANGES])
@pytest.mark.parametrize("order", ["login, dry run, run", "dry run, login, run", "run, dry run, login"])
def test_after_a_run_all_grants_are_as_the_settings_say_and_the_old_map_has_none(
    site: Site, change: str, where: str, records: dict[str, str], order: str
) -> None:
    site.configure(**settings(site, change))
    is_moved = waits = False
    for what in order.split(", "):
        if what == "login":
            assert site.login(A) == (RENEWED if is_moved else DEFERRED)
            waits = not is_moved
            if waits:
                assert "the next run of popips-expire moves all grants" in site.told[0][1].reason
        else:
            site.told.clear()
            done = site.expire(dry_run=what == "dry run")
            put = {*done.pop(PUT, []), *(outcome.address for _, outcome in site.told)}
            expected = {A, SIX}
            if "own_map" in change:  # made anew as a whole: only who waits is told of
                expected = {A} if waits else set()
            assert (put, done) == (set() if is_moved else expected, {})
            is_moved |= what == "run"
    for name in ("access", "other"):
        assert at(site, name).records() == STATIC | (records if name == where else {})
    if where == "mine":
        site.expire()
        with kinds.reader(site.settings.map, 1e9) as there:
            assert {key.decode(): value.decode() for key, value in there.items()} == records
    assert site.names() == {A, SIX}
    site.pass_window()
    assert site.expire(dry_run=True) == site.expire() == {EXPIRE: [A, SIX]}
    for name in ("access", "other"):
        assert at(site, name).records() == STATIC


def test_there_and_back_before_a_run_is_no_change(site: Site) -> None:
    site.configure(value="OK")
    site.configure()
    assert (site.login(A), site.login(B), site.expire()) == (RENEWED, GRANTED, {})


def test_two_changes_with_a_login_between_them_leave_nothing_in_the_map_between(site: Site) -> None:
    at(site, "third").build("")
    site.configure(**settings(site, "map=other"))
    assert site.login(B) == DEFERRED
    site.configure(**settings(site, "map=third"))
    site.expire()
    assert at(site, "access").records() == at(site, "other").records() == STATIC
    assert set(at(site, "third").records()) == {A, SIX_KEY, B}


def test_of_two_who_move_at_once_the_later_takes_them_from_where_they_are_by_then(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(site, "third").build("")
    named_now = move._named_now
    came: list[bool] = []

    def beaten(*words: Any) -> form.Form:
        if not came:
            came.append(True)
            site.configure(**settings(site, "map=third"))
            site.expire()
        return named_now(*words)

    site.configure(**settings(site, "map=other"))
    with site.host as host:
        monkeypatch.setattr(move, "_named_now", beaten)
        move.move(host)
    site.configure(**settings(site, "map=other"))
    site.expire()
    assert at(site, "third").records() == {}
    assert set(at(site, "other").records()) == {A, SIX_KEY, *STATIC}


def test_a_record_of_the_admins_in_the_new_place_counts_and_one_in_the_old_place_stays(site: Site) -> None:
    at(site, "other").build(f"{A}\tREJECT\n")
    site.access.write_text(f"{SIX_KEY}\tRELAY\n")  # not built yet
    site.configure(**settings(site, "map=other"))
    site.expire()
    assert (at(site, "access").records(), site.names()) == (STATIC | {SIX_KEY: "RELAY"}, {SIX})
    assert at(site, "other").records() == {A: "REJECT", SIX_KEY: "RELAY"}


# ---- the old map is not as it was


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def damaged(path: Path) -> None:
    path.write_bytes(os.urandom(9000))


def text(path: Path) -> None:
    path.write_text("192.0.2.10 RELAY\n")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))
    path.symlink_to("elsewhere.db")


def test_an_old_map_that_is_gone_has_none_of_ours(site: Site) -> None:
    site.db.unlink()
    site.configure(**settings(site, "map=other"))
    assert site.expire() == {PUT: [A, SIX]}
    assert set(at(site, "other").records()) == {A, SIX_KEY, *STATIC}
    assert site.login(B) == GRANTED


@pytest.mark.parametrize("spoil", [emptied, damaged, text, folder, link])
def test_an_old_map_in_which_nobody_can_look_is_named_until_it_is_mended_or_gone(
    site: Site, spoil: Callable[[Path], None]
) -> None:
    """Grants may be in it: in its sound pages, or where a link leads to."""
    spoil(site.db)
    site.configure(**settings(site, "map=other"))
    with pytest.raises(MapError, match=r"access\.db: .*; grants .* may be in it: mend it, or remove it if nobody asks"):
        site.expire()
    assert (site.login(B), at(site, "other").records()) == (DEFERRED, STATIC)
    if site.db.is_dir():
        site.db.rmdir()
    else:
        site.db.unlink()
    site.expire()
    assert set(at(site, "other").records()) == {A, SIX_KEY, B, *STATIC}


@pytest.mark.parametrize("change", ["", "value=OK"])
def test_an_old_map_that_is_a_link_to_the_new_one_by_now_is_the_same_map(site: Site, change: str) -> None:
    link(site.db)
    site.configure(static_source=str(site.access), **settings(site, f"map=elsewhere {change}"))
    site.expire()
    value = "OK" if change else "RELAY"
    assert at(site, "elsewhere").records() == STATIC | {A: value, SIX_KEY: value}


@pytest.mark.parametrize("spoil", [emptied, damaged, text])
def test_an_old_map_of_ones_own_is_made_anew_without_grants(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    site = Site(tmp_path)
    site.configure(**settings(site, "map=mine own_map=yes"))
    site.login(A)
    spoil(tmp_path / "mine.db")
    site.configure()
    site.expire()
    assert (at(site, "mine").records(), site.records()) == ({}, {A: "RELAY"})


def test_an_old_map_of_ones_own_is_emptied_and_stays_a_map(site: Site) -> None:
    site.configure(**settings(site, "map=mine own_map=yes"))
    site.expire()
    site.configure()
    site.expire()
    assert at(site, "mine").records() == {}
    assert at(site, "access").records() == STATIC | {A: "RELAY", SIX_KEY: "RELAY"}


def test_a_locked_old_map_leaves_all_as_it_is_until_the_next_run(site: Site) -> None:
    site.configure(lock_timeout="0.01s", **settings(site, "map=other"))
    with Path(f"{site.db}.popips").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Busy):
            site.expire()
        assert site.login(B) == DEFERRED
    assert at(site, "other").records() == STATIC
    site.expire()
    assert (at(site, "access").records(), site.names()) == (STATIC, {A, SIX, B})


# ---- killed in between


@pytest.mark.parametrize("change", ["value=OK", "map=other", "map=mine own_map=yes"])
def test_whoever_is_killed_while_he_moves_them_the_next_run_has_them_all(tmp_path: Path, change: str) -> None:
    for after in count():
        (tmp_path / str(after)).mkdir()
        site = made(tmp_path / str(after))
        site.configure(**settings(site, change))
        has_died = die(site.expire, after)
        site.expire()
        assert site.names() == {A, SIX}
        new = site.settings.map.source.rpartition("/")[2]
        assert set(at(site, new).records()) - set(STATIC) == {A, SIX_KEY}, after
        assert change == "value=OK" or at(site, "access").records() == STATIC, after
        if not has_died:
            assert after > 5
            break


def test_move_is_done_before_anything_else_of_a_run(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A due stamp must not go before its record in the old map."""
    site.pass_window()
    site.configure(**settings(site, "map=other"))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(move, "_take_out", killed)
    with pytest.raises(KeyboardInterrupt):
        site.expire()
    assert site.names() == {A, SIX}
