"""A map of its own: popips makes it, changes it in place, and makes it anew whenever it is not what it left."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from popips import lane, settings, settle, turns
from popips.fate import EXPIRE
from popips.grant import DEFERRED, GRANTED, RENEWED
from popips.login import Login
from popips.maps import MapError, kinds, lock, own
from popips.maps.journal import CHANGE
from popips.stamps.folder import Folder
from tests.conftest import Installed, Site

A, B, C, SIX = "192.0.2.10", "192.0.2.11", "192.0.2.12", "2001:db8::10"
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
    assert site.db.stat().st_mode & 0o777 == 0o640  # as makemap has it


def test_a_map_that_is_made_from_a_text_is_not_taken_for_ones_own(site: Site) -> None:
    site.build("198.51.100.7\tREJECT\n")
    before = site.db.read_bytes()
    for _ in range(2):
        assert site.login(A) == DEFERRED
        with pytest.raises(MapError, match="name another"):
            site.expire()
        assert site.db.read_bytes() == before


def test_it_is_made_by_a_run_of_the_expirer(site: Site) -> None:
    assert site.expire(dry_run=True) == {}
    assert not site.db.exists()
    assert site.expire() == {}
    assert site.records() == {}


def test_a_grant_is_renewed_and_ends(site: Site) -> None:
    site.login(A)
    site.login(B)
    site.now += 800
    assert site.login(A) == RENEWED
    site.now += 101
    assert site.expire(dry_run=True) == site.expire() == {EXPIRE: [B]}
    assert (site.names(), site.records()) == ({A}, {A: "RELAY"})


def miss(site: Site) -> None:
    site.db.unlink()


def damage(site: Site) -> None:
    content = bytearray(site.db.read_bytes())
    content[100:4000] = os.urandom(3900)
    site.db.write_bytes(content)


def damage_and_hide_it(site: Site) -> None:
    then = site.db.stat()
    damage(site)
    os.utime(site.db, ns=(then.st_atime_ns, then.st_mtime_ns))


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


def be_anothers(site: Site) -> None:
    text = f"{A} REJECT\nrelay.example RELAY\n"
    subprocess.run(["makemap", site.kind, str(site.db)], input=text.encode(), check=True, stderr=subprocess.DEVNULL)


def be_of_the_boot_before(site: Site) -> None:
    """What a power failure left of it is worth nothing: it is not synced like a map of the admin's."""
    journal = Path(f"{site.db}.popips")
    seal, _, rest = journal.read_bytes().partition(b"\n")
    journal.write_bytes(seal[:-4] + b"boot\n" + rest[1:])
    then = site.db.stat()
    be_anothers(site)
    os.utime(site.db, ns=(then.st_atime_ns, then.st_mtime_ns))


def leave_a_change_unfinished(site: Site) -> None:
    os.utime(site.db)


SPOILS = [
    miss,
    damage,
    damage_and_hide_it,
    cut,
    be_empty,
    be_of_another_version,
    be_of_another_type,
    be_anothers,
    be_of_the_boot_before,
    leave_a_change_unfinished,
]


@pytest.mark.parametrize("spoil", SPOILS)
@pytest.mark.parametrize("mend", [lambda site: site.expire(), lambda site: site.login(B)], ids=["expirer", "login"])
def test_it_is_made_anew_from_the_stamps(
    site: Site, spoil: Callable[[Site], None], mend: Callable[[Site], object]
) -> None:
    site.login(A)
    site.expire()
    spoil(site)
    mend(site)
    assert site.records() == dict.fromkeys(site.names(), "RELAY")
    assert A in site.names()


def test_it_keeps_its_file_its_owner_and_its_mode(site: Site) -> None:
    site.login(A)
    site.db.chmod(0o644)
    before = site.db.stat()
    os.truncate(site.db, 0)
    site.login(B)
    after = site.db.stat()
    assert (before.st_ino, before.st_mode, before.st_uid) == (after.st_ino, after.st_mode, after.st_uid)


def test_no_journal_is_written_for_it(site: Site) -> None:
    site.login(A)
    site.login(B)
    assert Path(f"{site.db}.popips").read_bytes()[CHANGE:].strip(b"\0") == b""


def test_a_login_leaves_it_to_the_expirer_if_there_are_too_many_stamps(site: Site) -> None:
    site.configure(own_map="yes", lock_timeout="0.001s")
    for n in range(2000):
        (site.stamps / f"10.0.{n // 256}.{n % 256}").touch(0o700)
        os.utime(site.stamps / f"10.0.{n // 256}.{n % 256}", (site.now, site.now))
    assert site.login(A) == DEFERRED
    site.configure(own_map="yes", lock_timeout="2s")
    site.expire()
    assert len(site.records()) == 2001
    assert A in site.records()


def test_it_must_be_named(site: Site) -> None:
    site.conf.write_text("own_map = yes\n")
    with pytest.raises(settings.SettingsError, match=r"popips\.conf: own_map = yes: set map"):
        settings.load(str(site.conf))


def test_no_permanent_record_goes_into_it(installed: Installed) -> None:
    installed.site.configure(own_map="yes")
    done = installed.run("popips-db", "ins", "relay.example", "RELAY")
    assert (done.returncode, "holds nothing but grants" in done.stderr) == (64, True)


# ---- a run, and logins beside it


def test_a_record_goes_before_its_stamp_and_the_lock_is_not_kept_while_stamps_are_removed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.login(A)
    site.pass_window()
    changes = []
    change = own.Writer.change

    def watched(self: own.Writer, *words: Any, **more: Any) -> None:
        change(self, *words, **more)
        changes.append(site.names())

    monkeypatch.setattr(own.Writer, "change", watched)
    with monkeypatch.context() as patch:
        patch.setattr(settle, "rebuild", lambda *_: pytest.fail("made anew"))
        site.expire()
    assert {A} in changes
    assert site.names() == set()


def test_open_connections_see_each_change(site: Site) -> None:
    """sendmail compares whole seconds: each change has to move the mtime on by one, also within one second."""
    seen = [0]
    for number in range(5):
        site.login(f"192.0.2.{number + 10}")
        seen.append(int(site.db.stat().st_mtime))
    assert seen == sorted(set(seen))


@pytest.mark.parametrize(("held", "most"), [(0.05, turns.LEAST), (1e-6, turns.LARGEST)])
def test_a_run_begins_with_few_at_once_and_goes_by_how_long_the_lock_was_held(
    site: Site, monkeypatch: pytest.MonkeyPatch, held: float, most: int
) -> None:
    """How long it is held for one is known only after the first: the map may have to be read from the disk."""
    sizes: list[int] = []

    def settled(host: object, writer: own.Writer, names: list[str], *_: object) -> dict[str, str]:
        sizes.append(len(names))
        writer.held = held
        return dict.fromkeys(names, EXPIRE)

    site.expire()
    monkeypatch.setattr(turns, "settle", settled)
    with site.host as host:
        done = [name for fates in turns.in_turns(host, map(str, range(20_000)), lambda _: "") for name in fates]
    assert done == [str(number) for number in range(20_000)]
    assert sizes[0] == turns.LEAST
    assert max(sizes) == most


def test_a_run_lets_logins_have_their_turn(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they put meanwhile is not lost, though the run has had the map open before."""
    for name, value in {"BATCH": 1, "LEAST": 1, "LARGEST": 1, "TURN": 0}.items():
        monkeypatch.setattr(turns, name, value)
    for number in range(3):
        site.login(f"192.0.2.{number + 100}")
    site.expire()
    site.pass_window()
    give_way = own.Writer.give_way
    new = [f"198.51.100.{number}" for number in range(6)]
    left = iter(new)
    came: list[str] = []

    def login_meanwhile(self: own.Writer, until: float) -> None:
        self._journal.release()
        came.append(next(left))
        assert site.login(came[-1]) == GRANTED
        give_way(self, until)

    monkeypatch.setattr(own.Writer, "give_way", login_meanwhile)
    assert len(site.expire()[EXPIRE]) == 3
    assert came
    assert site.records() == dict.fromkeys(came, "RELAY")


def test_whoever_waits_for_the_writers_lock_gets_his_turn(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.login(A)
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        assert site.login(B) == GRANTED

    with kinds.writer(site.settings.map, "", site.now, time.monotonic() + 9) as writer:
        monkeypatch.setattr(time, "sleep", pause)
        writer.give_way(time.monotonic() + 9)
    assert pauses == [2 * lock.PAUSE]


@pytest.mark.parametrize("mend", [lambda site: site.expire(), lambda site: site.login(B)], ids=["expirer", "login"])
def test_to_make_the_map_anew_opens_nothing_that_was_over(site: Site, mend: Callable[[Site], object]) -> None:
    site.login(A)
    site.expire()
    site.pass_window()
    site.login(C)
    site.db.unlink()
    mend(site)
    assert A not in site.records()
    assert C in site.records()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_due_grant_that_a_login_renews_while_the_map_is_made_anew_is_there(
    site: Site, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    site.login(A)
    site.expire()
    site.pass_window()
    site.db.unlink()
    told: list[bool] = []
    unsettle = Folder.unsettle

    def renewed(self: Folder, name: str) -> None:
        if when == "after":
            unsettle(self, name)
        if not told:
            told.append(self.renew(A, Login("alice", "pop3", "test"), site.now))
        if when == "before":
            unsettle(self, name)

    monkeypatch.setattr(Folder, "unsettle", renewed)
    site.expire()
    assert told == [when == "before"]
    assert (site.records(), site.names()) == ({A: "RELAY"}, {A})
    with site.host as host:
        assert lane.renewed(host, A, Login("alice", "pop3", "test"))


def test_a_stamp_that_was_not_settled_is_after_the_map_was_made_anew(site: Site) -> None:
    site.login(A)
    site.expire()
    (site.stamps / A).chmod(0o600)
    site.db.unlink()
    site.login(B)
    assert (site.stamps / A).stat().st_mode & 0o777 == 0o700
