"""A map of its own: popips makes it, changes it in place, and makes it anew whenever it is not what it left."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from popips.config import Config
from popips.grants import DEFERRED, GRANTED, RENEWED

from popips import config, denials, grants, lane, upkeep
from popips.maps import MapError, journal, kinds, lock, own
from popips.stamps import Folder
from tests.box import Box
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
    assert site.expire().removed == [B]
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


def test_after_a_restart_of_the_machine_it_is_made_anew(site: Site) -> None:
    """What a power failure left of it is worth nothing: it is not synced like a map of the admin's."""
    site.login(A)
    site.expire()
    lane = site.stamps / ".lane"
    state = lane.stat()
    lines = lane.read_bytes().split(b"\n")
    lane.write_bytes(b"\n".join([*lines[:-2], b"# of the boot before", b""]))
    os.utime(lane, ns=(state.st_atime_ns, state.st_mtime_ns))
    subprocess.run(["makemap", site.kind, str(site.db)], input=b"", check=True, stderr=subprocess.DEVNULL)
    os.utime(site.db, ns=(state.st_atime_ns, state.st_mtime_ns))
    site.expire()
    assert site.records() == {A: "RELAY"}


def test_it_keeps_its_file_its_owner_and_its_mode(site: Site) -> None:
    site.login(A)
    site.db.chmod(0o644)
    before = site.db.stat()
    os.truncate(site.db, 0)
    site.login(B)
    after = site.db.stat()
    assert (before.st_ino, before.st_mode, before.st_uid) == (after.st_ino, after.st_mode, after.st_uid)


def test_no_journal_is_written_for_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal.Journal, "keep", lambda *_: pytest.fail("a journal for a map of its own"))
    site.login(A)
    site.login(B)
    assert Path(f"{site.db}.popips").stat().st_size == 0


def test_a_login_leaves_it_to_the_expirer_if_there_are_too_many_stamps(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.configure(own_map="yes", lock_timeout="0.001s")
    for n in range(2000):
        (site.stamps / f"10.0.{n // 256}.{n % 256}").touch(0o700)
        os.utime(site.stamps / f"10.0.{n // 256}.{n % 256}", (site.now, site.now))
    assert site.login(A) == grants.DEFERRED
    site.expire()
    assert len(site.records()) == 2001


def test_it_must_be_named_and_no_permanent_record_goes_into_it(installed: Installed) -> None:
    site = installed.site
    site.conf.write_text("own_map = yes\n")
    with pytest.raises(config.ConfigError, match=r"popips\.conf: own_map = yes: set map"):
        config.load(str(site.conf))
    site.configure(own_map="yes")
    done = installed.run("popips-db", "ins", "relay.example", "RELAY")
    assert (done.returncode, "holds nothing but grants" in done.stderr) == (64, True)


def test_its_lock_is_not_kept_while_stamps_are_removed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.login(A)
    site.pass_window()
    held = []
    removed = own.Writer.change

    def change(self: own.Writer, *words: object, **more: object) -> object:
        moved = removed(self, *words, **more)  # type: ignore[arg-type]
        held.append(self.held)
        assert site.names() == {A}
        return moved

    monkeypatch.setattr(own.Writer, "change", change)
    site.expire()
    assert held
    assert site.names() == set()


def test_open_connections_see_each_change(site: Site) -> None:
    """sendmail compares whole seconds: each change has to move the mtime on by one, also within one second."""
    seen = [0]
    for number in range(5):
        site.login(f"192.0.2.{number + 10}")
        seen.append(int(site.db.stat().st_mtime))
    assert seen == sorted(set(seen))


def test_a_run_begins_with_few_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """How long the lock is held for one is known only after the first: the map may have to be read from the disk."""
    for number in range(upkeep.MIN_BATCH * 4):
        site.login(f"192.0.2.{number}")
    site.expire()
    site.pass_window()
    take_out = upkeep._Sweep._take_out
    sizes: list[int] = []

    def watched(self: upkeep._Sweep, writer: own.Writer, names: list[str]) -> None:
        sizes.append(len(names))
        take_out(self, writer, names)

    monkeypatch.setattr(upkeep._Sweep, "_take_out", watched)
    site.expire()
    assert sizes[0] == upkeep.MIN_BATCH
    assert site.records() == {}


def test_a_run_lets_logins_have_their_turn(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they put meanwhile is not lost, though the run has had the map open before."""
    for name, value in {"BATCH": 1, "MIN_BATCH": 1, "MAX_BATCH": 1, "TURN": 0}.items():
        monkeypatch.setattr(f"popips.upkeep.{name}", value)
    for number in range(3):
        site.login(f"192.0.2.{number + 100}")
    site.expire()
    site.pass_window()
    give_way = own.Writer.give_way
    new = [f"198.51.100.{number}" for number in range(6)]  # a turn before each record and before each stamp
    left = iter(new)

    def login_meanwhile(self: own.Writer, until: float) -> None:
        self._journal.release()
        assert site.login(next(left)) == GRANTED
        give_way(self, until)

    monkeypatch.setattr(own.Writer, "give_way", login_meanwhile)
    assert len(site.expire().removed) == 3
    assert site.records() == dict.fromkeys(new, "RELAY")


def test_whoever_waits_for_the_writers_lock_gets_his_turn(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.login(A)
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        assert site.login(B) == GRANTED

    with kinds.own_writer(site.config.map, site.now, time.monotonic() + 9) as writer:
        monkeypatch.setattr(time, "sleep", pause)
        writer.give_way(time.monotonic() + 9)
    assert pauses == [2 * lock.PAUSE]


def test_a_login_that_makes_the_map_anew_opens_nothing_that_was_over(site: Site) -> None:
    site.login(A)
    site.expire()
    site.pass_window()
    site.db.unlink()
    assert site.login(B) == GRANTED
    assert site.records() == {B: "RELAY"}


def test_a_due_grant_that_a_login_renews_while_the_map_is_made_anew_is_there(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.login(A)
    site.expire()
    site.pass_window()
    site.db.unlink()
    rebuild = grants.rebuild

    def then_renewed(config: Config, folder: Folder, now: float, until: float) -> None:
        rebuild(config, folder, now, until)
        assert folder.renew(A, now)  # as a login does that finds the map locked

    monkeypatch.setattr(upkeep, "rebuild", then_renewed)
    site.expire()
    assert (site.records(), site.names()) == ({A: "RELAY"}, {A})


def test_a_login_during_a_run_leaves_the_lane_open(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.login(A)
    site.pass_window()
    site.login(B)
    site.expire()
    site.login("192.0.2.12")
    begin = upkeep._Sweep.begin

    def then_renewed(self: upkeep._Sweep, is_known: bool) -> None:
        begin(self, is_known)
        assert site.login(B) == RENEWED

    monkeypatch.setattr(upkeep._Sweep, "begin", then_renewed)
    site.pass_window()
    (site.stamps / B).touch()
    os.utime(site.stamps / B, (site.now, site.now))
    assert site.expire().removed == ["192.0.2.12"]
    with Folder(str(site.stamps)) as folder:
        assert lane.holds(site.config, folder)


@pytest.mark.parametrize("own_map", ["yes", "no"])
def test_a_denial_holds_though_whoever_said_it_was_killed_before_he_took_the_grant_out(
    site: Site, own_map: str
) -> None:
    site.configure(own_map=own_map)
    if own_map == "no":
        site.build("")
    site.login(A)
    site.login(B)
    site.expire()
    with Folder(str(site.stamps)) as folder:
        denials.add(folder, denials.Denial(A, denials.FOR_EVER, "root"), site.now)
        assert lane.holds(site.config, folder)
    os.utime(site.stamps / ".denied", (site.now, site.now))
    site.now += 60
    site.expire()
    site.expire()
    assert (site.records(), site.names()) == ({B: "RELAY"}, {B})


# ---- beside the admin's access map, in each of the three ways of contrib/


@pytest.mark.parametrize("before", ["", "FEATURE(`delay_checks', `friend', `n')dnl\n"], ids=["", "delay_checks"])
@pytest.mark.parametrize("way", ["own-drac.mc", "own-check-rcpt.mc", "own-sequence.mc"])
def test_sendmail_asks_a_map_of_its_own_beside_access_db(box: Box, way: str, before: str) -> None:
    box.configure(map=f"hash:{box.scratch}/popips.db", own_map="yes")
    box.stamps.joinpath(".expire").touch()
    box.start_sendmail(access=way, before=before)
    # a missing map only denies
    assert [box.rcpt(client) for client in (A, SIX)] == ["550", "550"]
    for client in (A, SIX):
        box.pam_login(client)
    assert [box.rcpt(client) for client in (A, B, SIX)] == ["250", "550", "250"]
    # the admin's rebuild of access changes nothing, and a static REJECT wins
    box.write_access(f"connect:{A}\tREJECT\n")
    assert [box.rcpt(client) for client in (A, B, SIX)] == ["550", "550", "250"]
    box.write_access(f"connect:{SIX_KEY}\tREJECT\n")
    assert [box.rcpt(client) for client in (A, B, SIX)] == ["250", "550", "550"]
    box.write_access("from:alice@\tREJECT\n")
    assert [box.rcpt(client) for client in (A, SIX)] == ["550", "550"]
    box.write_access("from:alice@\tREJECT\n")
    assert [box.rcpt(client) for client in (A, B, SIX)] == ["550", "550", "550"]
    box.write_access("")
    assert [box.rcpt(client) for client in (A, B, SIX)] == ["250", "550", "250"]
    # gone, it only denies, until the next run
    (box.scratch / "popips.db").unlink()
    assert [box.rcpt(client) for client in (A, SIX)] == ["550", "550"]
    assert box.popips("popips-expire").returncode == 0
    assert [box.rcpt(client) for client in (A, B, SIX)] == ["250", "550", "250"]
    box.let_the_window_pass()
    assert box.popips("popips-expire").returncode == 0
    assert [box.rcpt(client) for client in (A, SIX)] == ["550", "550"]


@pytest.mark.parametrize(("value", "answer"), [("OK", "550"), ("RELAY", "250")])
def test_only_the_value_relay_opens_by_check_rcpt(box: Box, value: str, answer: str) -> None:
    """Whatever else a map says, a temporary failure for instance, closes."""
    box.configure(map=f"hash:{box.scratch}/popips.db", own_map="yes", value=value)
    box.pam_login(A)
    box.start_sendmail(access="own-check-rcpt.mc")
    assert box.rcpt(A) == answer


@pytest.mark.parametrize(
    ("way", "answer"),
    [("access.mc", "250"), ("own-drac.mc", "550"), ("own-check-rcpt.mc", "550"), ("own-sequence.mc", "250")],
)
def test_a_networks_reject_is_overruled_where_the_most_specific_record_wins(box: Box, way: str, answer: str) -> None:
    if way != "access.mc":
        box.configure(map=f"hash:{box.scratch}/popips.db", own_map="yes")
    box.write_access("192.0.2\tREJECT\n")
    box.start_sendmail(access=way)
    assert box.rcpt(A) == "550"
    box.pam_login(A)
    assert box.rcpt(A) == answer


@pytest.mark.parametrize(
    ("way", "answer"), [("own-drac.mc", "451"), ("own-check-rcpt.mc", "451"), ("own-sequence.mc", "250")]
)
def test_the_trap_of_each_way_is_as_its_file_says(box: Box, way: str, answer: str) -> None:
    """Without access.db, its REJECTs are gone in a sequence."""
    box.configure(map=f"hash:{box.scratch}/popips.db", own_map="yes")
    box.pam_login(A)
    box.write_access(f"connect:{A}\tREJECT\n")
    (box.scratch / "access.db").unlink()
    box.start_sendmail(access=way)
    assert box.rcpt(A) == answer


def test_after_an_edit_of_the_configuration_all_its_records_are_as_that_says(site: Site) -> None:
    site.login(A)
    site.expire()
    site.configure(own_map="yes", key="connect", value="OK")
    assert site.login(B) == GRANTED
    site.expire()
    assert site.records() == {f"connect:{A}": "OK", f"connect:{B}": "OK"}
    assert site.login(A) == RENEWED
    site.pass_window()
    site.expire()
    assert (site.records(), site.names()) == ({}, set())
