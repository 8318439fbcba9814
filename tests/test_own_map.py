"""A map of its own: a login makes it, a run takes out of it, and either makes it anew if popips has not left it so."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from popips import configuration, grant, run, turns
from popips.fate import EXPIRE
from popips.grant import DEFERRED, GRANTED, RENEWED
from popips.login import Login
from popips.maps import MapError, own, seal
from popips.maps.lock import Wait
from tests.conftest import Installed, Site

A, B, SIX = "192.0.2.10", "192.0.2.11", "2001:db8::10"
SIX_KEY = "ipv6:2001:db8:0:0:0:0:0:10"


@pytest.fixture(params=["hash", "btree"])
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Site:
    """A site whose map is not there yet."""
    made = Site(tmp_path, request.param)
    made.access.unlink()
    made.db.unlink()
    made.configure(own_map="yes")
    return made


def test_it_is_made_at_the_first_login(site: Site) -> None:
    assert site.login(A) == GRANTED
    assert site.login(SIX) == GRANTED
    assert site.records() == {A: "RELAY", SIX_KEY: "RELAY"}
    state = site.db.stat()
    assert state.st_mode & 0o777 == 0o640  # as makemap has it


def test_a_map_that_is_made_from_a_text_is_not_taken_for_ones_own(site: Site) -> None:
    site.build("198.51.100.7\tREJECT\n")
    before = site.db.read_bytes()
    for _ in range(2):
        assert site.login(A) == DEFERRED
        with pytest.raises(MapError, match="name another"):
            site.expire()
        assert site.db.read_bytes() == before


def test_it_is_made_by_a_run_of_the_expirer(site: Site) -> None:
    site.expire()
    assert site.records() == {}


def test_a_grant_is_renewed_and_ends(site: Site) -> None:
    site.login(A)
    site.login(B)
    site.now += 800
    assert site.login(A) == RENEWED
    site.now += 101
    assert site.expire()[EXPIRE] == [B]
    assert (site.names(), site.records()) == ({A}, {A: "RELAY"})


def miss(site: Site) -> None:
    site.db.unlink()


def damage(site: Site) -> None:
    content = bytearray(site.db.read_bytes())
    content[100:4000] = os.urandom(3900)
    site.db.write_bytes(content)


def cut(site: Site) -> None:
    os.truncate(site.db, 3000)


def be_empty(site: Site) -> None:
    os.truncate(site.db, 0)


def be_of_another_version(site: Site) -> None:
    content = bytearray(site.db.read_bytes())
    content[16] += 9
    site.db.write_bytes(content)


def be_of_another_type(site: Site) -> None:
    kind = "btree" if site.kind == "hash" else "hash"
    subprocess.run(["makemap", kind, str(site.db)], input=b"x y\n", check=True, stderr=subprocess.DEVNULL)


def leave_a_change_unfinished(site: Site) -> None:
    os.utime(site.db)


@pytest.mark.parametrize(
    "spoil", [miss, damage, cut, be_empty, be_of_another_version, be_of_another_type, leave_a_change_unfinished]
)
@pytest.mark.parametrize("mend", [lambda site: site.expire(), lambda site: site.login(B)], ids=["expirer", "login"])
def test_it_is_made_anew_from_the_stamps(
    site: Site, spoil: Callable[[Site], None], mend: Callable[[Site], object]
) -> None:
    site.login(A)
    site.expire()
    spoil(site)
    mend(site)
    assert site.records()[A] == "RELAY"
    assert site.records().keys() == site.names()


def test_records_of_others_do_not_stay(site: Site) -> None:
    site.login(A)
    site.expire()
    text = f"{A} REJECT\nrelay.example RELAY\n"
    subprocess.run(["makemap", site.kind, str(site.db)], input=text.encode(), check=True, stderr=subprocess.DEVNULL)
    site.expire()
    assert site.records() == {A: "RELAY"}


def test_after_a_restart_of_the_machine_it_is_made_anew(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a power failure left of it is worth nothing: it is not synced like a map of the admin's."""
    site.login(A)
    site.expire()
    state = site.db.stat()
    site.db.write_bytes(bytes(state.st_size))
    (site.folder / "boot_id").write_text("another")
    monkeypatch.setattr(seal, "BOOT_ID", str(site.folder / "boot_id"))
    site.expire()
    assert site.records() == {A: "RELAY"}


def test_a_login_leaves_it_to_the_expirer_if_there_are_too_many_stamps(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.configure(own_map="yes", lock_timeout="0.001s")
    for n in range(2000):
        (site.stamps / f"10.0.{n // 256}.{n % 256}").touch(0o700)
        os.utime(site.stamps / f"10.0.{n // 256}.{n % 256}", (site.now, site.now))
    assert site.login(A) == DEFERRED
    site.configure(own_map="yes")
    site.expire()
    assert len(site.records()) == 2001


def test_it_must_be_named_and_no_permanent_record_goes_into_it(installed: Installed) -> None:
    site = installed.site
    site.conf.write_text("own_map = yes\n")
    with pytest.raises(configuration.SettingsError, match=r"popips\.conf: own_map = yes: set map"):
        configuration.load(str(site.conf))
    site.configure(own_map="yes")
    done = installed.run("popips-db", "ins", "relay.example", "RELAY")
    assert (done.returncode, "holds nothing but grants" in done.stderr) == (64, True)


def test_its_lock_is_not_kept_while_stamps_are_removed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.login(A)
    site.pass_window()
    held = []
    change_it = own.Writer.change

    def change(self: own.Writer, *words: object, **more: object) -> None:
        change_it(self, *words, **more)  # type: ignore[arg-type]
        held.append(self.held)
        assert site.names() == {A}

    monkeypatch.setattr(own.Writer, "change", change)
    site.expire()
    assert held
    assert site.names() == set()


def test_a_run_lets_logins_have_their_turn(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they put meanwhile is not lost, though the run has had the map open before."""
    monkeypatch.setattr(turns, "BATCH", 1)
    monkeypatch.setattr(turns, "TURN", 0)
    for number in range(3):
        site.login(f"192.0.2.{number + 100}")
    site.expire()
    site.pass_window()
    give_way = own.Writer.give_way
    left = [B]

    def login_meanwhile(self: own.Writer, until: float) -> None:
        self._journal.release()
        while left:
            assert site.login(left.pop()) == GRANTED
        give_way(self, until)

    monkeypatch.setattr(own.Writer, "give_way", login_meanwhile)
    assert len(site.expire()[EXPIRE]) == 3
    assert (left, site.records()) == ([], {B: "RELAY"})


def test_a_login_that_makes_the_map_anew_opens_nothing_that_was_over(site: Site) -> None:
    site.login(A)
    site.expire()
    site.pass_window()
    site.db.unlink()
    assert site.login(B) == GRANTED
    assert site.records() == {B: "RELAY"}


def test_a_run_makes_it_anew_however_long_that_takes_and_a_login_leaves_it_to_the_run(site: Site) -> None:
    site.login(A)
    site.expire()
    site.db.unlink()
    with site.host as host:
        hasty = replace(host, wait=0.0)  # over at once
        outcome = grant.grant(hasty, B, Login("alice", "pop3", "test"), lambda login, outcome: None)
        assert outcome and (outcome.verdict, "popips-expire does it" in outcome.reason) == (DEFERRED, True)
        run.run(hasty, lambda login, outcome: None)
    assert site.records() == {A: "RELAY", B: "RELAY"}


def overtaken(site: Site, monkeypatch: pytest.MonkeyPatch, act: Callable[[own.Writer], None]) -> None:
    """Have a run make the map anew when A's grant is over; act comes directly after that, under the writers' lock."""
    site.login(A)
    site.expire()
    site.pass_window()
    site.db.unlink()
    rebuild = own.Writer.rebuild

    def then_acted(self: own.Writer, pairs: object) -> None:
        rebuild(self, pairs)  # type: ignore[arg-type]
        act(self)

    monkeypatch.setattr(own.Writer, "rebuild", then_acted)
    site.expire()
    assert (site.records(), site.names()) == ({A: "RELAY"}, {A})


def test_a_due_grant_that_a_login_renews_while_the_map_is_made_anew_is_there(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def login(writer: own.Writer) -> None:
        writer._journal.release()
        assert site.login(A) in (GRANTED, RENEWED)
        writer._journal.take(Wait(writer._until))

    overtaken(site, monkeypatch, login)


def test_a_grant_that_was_left_out_when_the_map_was_made_anew_is_not_renewed_by_the_lane(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the run it was over; for a login that began a moment before it was not."""
    told: list[bool] = []

    def renew(_: own.Writer) -> None:
        with site.host as host:
            told.append(host.folder.renew(A, Login("alice", "pop3", "test"), site.now))

    overtaken(site, monkeypatch, renew)
    assert told == [False]


def test_a_fifo_beside_it_is_no_text_and_keeps_nobody_waiting(site: Site) -> None:
    os.mkfifo(site.access)
    assert site.login(A) == GRANTED


def test_after_an_edit_of_the_configuration_all_its_records_are_as_that_says(site: Site) -> None:
    site.login(A)
    site.expire()
    site.configure(own_map="yes", key="connect", value="OK")
    assert site.login(B) == DEFERRED  # the run comes first, and moves all there are
    site.expire()
    assert site.records() == {f"connect:{A}": "OK", f"connect:{B}": "OK"}
    assert site.login(A) == RENEWED
    site.pass_window()
    site.expire()
    assert (site.records(), site.names()) == ({}, set())
