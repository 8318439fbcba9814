"""The invariants: stamps are the truth, the admin's records are sacred, and no login is lost or held up."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from popips import denials, grants, stamps, upkeep
from popips.grants import DEFERRED, GRANTED, REFUSED, RENEWED, STATIC
from popips.maps import MapError, berkeley, journal, kinds, source
from popips.settings import Settings
from tests.conftest import Site

A, B, SIX = "192.0.2.10", "192.0.2.11", "2001:db8::10"
SIX_KEY = "ipv6:2001:db8:0:0:0:0:0:10"


# ---- a grant


@pytest.mark.parametrize(
    ("address", "name", "key"),
    [(A, A, A), (SIX, SIX, SIX_KEY), ("2001:DB8:0::10", SIX, SIX_KEY), ("::ffff:192.0.2.10", A, A)],
)
def test_a_login_makes_stamp_and_record_and_the_end_of_the_window_takes_both(
    site: Site, address: str, name: str, key: str
) -> None:
    assert site.login(address) == GRANTED
    assert (site.names(), site.records()) == ({name}, {key: "RELAY"})
    assert (site.stamps / name).stat().st_mtime == site.now
    site.now += site.settings.window - 1
    assert site.expire().removed == []
    site.now += 1
    assert site.expire().removed == [name]
    assert (site.names(), site.records()) == (set(), {})


def test_a_second_login_renews_the_window(site: Site) -> None:
    site.login(A)
    site.now += 800
    assert site.login(A) == RENEWED
    site.now += 800
    assert site.expire().removed == []
    assert site.records() == {A: "RELAY"}


def test_the_stamp_says_who_logged_in_last(site: Site) -> None:
    site.login(A, "alice", "pop3")
    site.login(A, "bob dobs\n", "imap")
    assert (site.stamps / A).read_text() == f"{A} RELAY\nbob%20dobs%0A imap test\n"


def test_value_and_key_come_from_the_configuration(site: Site) -> None:
    site.configure(value="OK", key="connect", compressed_ipv6="yes")
    site.login(SIX)
    assert site.records() == {"connect:ipv6:2001:db8::10": "OK"}


@pytest.mark.parametrize("before", [{}, {"value": "OK"}, {"key": "connect"}, {"compressed_ipv6": "yes"}], ids=str)
@pytest.mark.parametrize("after", [{}, {"value": "OK"}, {"key": "connect"}, {"compressed_ipv6": "yes"}], ids=str)
def test_a_changed_configuration_leaves_no_relay_open(
    site: Site, before: dict[str, str], after: dict[str, str]
) -> None:
    site.configure(**before)
    site.login(SIX)
    site.configure(**after)
    assert site.login(SIX) == RENEWED
    site.expire()
    assert len(site.records()) == 1
    site.pass_window()
    assert site.expire().removed == [SIX]
    assert (site.names(), site.records()) == (set(), {})


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "fe80::1", "169.254.0.9", "mx.example.test", "../x", ""])
def test_refused_addresses_leave_nothing(site: Site, address: str) -> None:
    before = sorted(site.folder.iterdir())
    assert site.login(address) == REFUSED
    assert (site.names(), site.records()) == (set(), {})
    assert sorted(site.folder.iterdir()) == before


def test_networks_of_never_get_no_grant(site: Site) -> None:
    site.configure(never="192.0.2.0/24, 2001:db8::/32")
    assert [site.login(A), site.login(SIX), site.login("198.51.100.1")] == [REFUSED, REFUSED, GRANTED]


# ---- the admin's records

STATICS = [
    (A, f"{A} RELAY\n"),
    (A, f"{A} REJECT\n"),
    (A, f"{A} 1800000000\n"),
    (A, f"connect:{A} REJECT\n"),
    (A, f"Connect:{A} OK\n"),
    (SIX, f"{SIX_KEY} REJECT\n"),
    (SIX, "IPv6:2001:DB8:0:0:0:0:0:10 RELAY\n"),
    (SIX, f"connect:{SIX_KEY} REJECT\n"),
]


@pytest.mark.parametrize(("address", "text"), STATICS)
@pytest.mark.parametrize("style", ["bare", "connect"])
def test_a_static_record_survives_login_and_expiry(site: Site, address: str, text: str, style: str) -> None:
    site.configure(key=style)
    site.build(text)
    before = site.db.read_bytes()
    assert site.login(address) == STATIC
    assert site.names() == set()
    site.pass_window()
    site.expire()
    assert site.db.read_bytes() == before


@pytest.mark.parametrize("value", ["RELAY", "REJECT"])
def test_a_key_of_the_text_file_is_static_even_with_a_stamp(site: Site, value: str) -> None:
    site.login(A)
    site.build(f"# mine\n\n{A}\t{value}\n")
    assert site.expire().restored == []
    site.pass_window()
    assert site.expire().kept == ([A] if value == "RELAY" else [])
    assert (site.names(), site.records()) == (set(), {A: value})


def test_a_record_with_a_value_that_is_not_ours_is_static_even_with_a_stamp(site: Site) -> None:
    site.login(A)
    site.build(f"{A} REJECT\n")
    site.access.unlink()
    assert site.login(A) == STATIC
    site.pass_window()
    site.expire()
    assert (site.names(), site.records()) == (set(), {A: "REJECT"})


def test_a_key_that_the_text_names_but_the_map_has_not_yet_is_not_put(site: Site) -> None:
    site.login(A)
    site.build("")
    site.access.write_text(f"{A} REJECT\n")
    assert site.expire().restored == []
    assert site.records() == {}


def test_another_text_file_may_be_the_static_source(site: Site) -> None:
    source = site.folder / "mine.txt"
    source.write_text(f"{A}\tRELAY\n")
    site.login(A)
    site.configure(static_source=str(source))
    site.pass_window()
    assert site.expire().kept == [A]
    source.unlink()
    site.login(B)
    site.pass_window()
    with pytest.raises(MapError, match=r"mine.txt: cannot be read .*set static_source"):
        site.expire()


# ---- stamps are the truth


@pytest.mark.parametrize("rename", [False, True])
def test_a_rebuilt_map_gets_its_live_grants_back(site: Site, rename: bool) -> None:
    site.login(A)
    site.login(SIX)
    if rename:
        site.db.rename(site.folder / "old.db")
    site.build("198.51.100.1 REJECT\n")
    assert sorted(site.expire().restored) == [A, SIX]
    assert site.records() == {"198.51.100.1": "REJECT", A: "RELAY", SIX_KEY: "RELAY"}


def test_a_login_puts_its_own_record_back_at_once(site: Site) -> None:
    site.login(A)
    site.build("")
    assert site.login(A) == GRANTED
    assert site.records() == {A: "RELAY"}


@pytest.mark.parametrize(
    "content", ["", "\n", "nonsense", "a b c", "\xff\xfe", "a b\nc d e f\n", f"{B} RELAY\na b c\n", "x" * 5000]
)
def test_a_stamp_made_by_hand_is_a_grant_whatever_it_holds(site: Site, content: str) -> None:
    (site.stamps / A).write_text(content)
    os.utime(site.stamps / A, (site.now, site.now))
    assert site.expire().restored == [A]
    assert len(site.records()) == 1
    site.pass_window()
    assert site.expire().removed == [A]
    assert site.records() == {}


@pytest.mark.parametrize("line", [f"alice pop3 test connect:{A} OK\n", f"connect:{A} OK\nalice pop3 test\nleft\xff\n"])
def test_the_record_that_a_stamp_names_goes_with_it_whatever_the_configuration_says_now(site: Site, line: str) -> None:
    """The former is how a stamp was written before; in the latter a longer line was there."""
    site.configure(key="connect", value="OK")
    site.login(A)
    (site.stamps / A).write_text(line, encoding="latin-1")
    site.configure()
    site.login(A, "bob")
    site.now += 1
    os.utime(site.stamps / A, (site.now, site.now))
    site.pass_window()
    assert site.expire().removed == [A]
    assert (site.records(), site.names()) == ({}, set())


def test_a_stamp_as_it_was_written_before_is_written_anew_by_the_next_login(site: Site) -> None:
    site.login(A)
    (site.stamps / A).write_text(f"alice pop3 test {A} RELAY\n")
    assert site.login(A) == RENEWED
    assert (site.stamps / A).read_text().startswith(f"{A} RELAY\nalice pop3 test\n")


def test_a_record_of_the_admins_ends_a_grant_in_another_form(site: Site) -> None:
    site.configure(key="connect")
    site.login(A)
    site.configure()
    upkeep.make_static(site.settings, site.place, {A.encode(): b"REJECT"}, site.now)
    assert (site.records(), site.names()) == ({A: "REJECT"}, set())


def test_a_text_that_is_away_for_a_moment_is_as_it_was(site: Site) -> None:
    site.access.write_text(f"{A} RELAY\n")
    text = source.Text(str(site.access), postfix=False)
    assert text.records() == {A.encode(): b"RELAY"}
    site.access.unlink()
    assert text.records() == {A.encode(): b"RELAY"}
    site.access.write_text(f"{B} OK\n")
    assert text.records() == {B.encode(): b"OK"}


@pytest.mark.parametrize(("postfix", "value"), [(True, b"OK more"), (False, b"")])
def test_a_line_that_begins_with_a_blank_goes_on_with_the_one_before_for_postmap_only(
    site: Site, postfix: bool, value: bytes
) -> None:
    site.access.write_text(f"{A}\n  OK\n# no\n\tmore\n{B} x\n")
    assert source.records(str(site.access), postfix) == {A.encode(): value, B.encode(): b"x"}


def test_a_stamp_from_the_future_counts_as_made_now(site: Site) -> None:
    site.login(A)
    os.utime(site.stamps / A, (site.now + 86400, site.now + 86400))
    site.expire()
    assert (site.stamps / A).stat().st_mtime == site.now
    site.pass_window()
    assert site.expire().removed == [A]


@pytest.mark.parametrize(("age", "left"), [(0, {A}), (901, set())])
def test_a_stamp_left_aside_by_a_dead_expirer_is_put_back_or_removed(site: Site, age: float, left: set[str]) -> None:
    site.login(A)
    os.utime(site.stamps / A, (site.now - age, site.now - age))
    os.rename(site.stamps / A, site.stamps / f".due-{A}")
    site.expire()
    site.expire()
    assert not (site.stamps / f".due-{A}").exists()
    assert site.names() == left


def make_folder(path: Path) -> None:
    path.mkdir()


def make_link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_foreign(path: Path) -> None:
    path.touch()
    os.chown(path, 12345, 12345)


def make_hard_link(path: Path) -> None:
    path.touch()
    os.link(path, path.parent.parent / "link")


@pytest.mark.parametrize("make", [make_folder, make_link, make_fifo, make_foreign, make_hard_link])
@pytest.mark.parametrize("name", [A, "README"])
def test_a_foreign_file_in_the_stamp_folder_is_reported_and_left_alone(
    site: Site, make: Callable[[Path], None], name: str
) -> None:
    make(site.stamps / name)
    before = (site.stamps / name).lstat()
    site.pass_window()
    assert site.expire().foreign == [name]
    if name == A:
        assert site.login(A) == REFUSED
        assert site.records() == {}
    assert (site.stamps / name).lstat() == before


@pytest.mark.parametrize("name", ["192.0.2.010", "2001:DB8::10", "::ffff:192.0.2.10", "192.0.2.10 ", "x", ".hidden"])
def test_a_name_that_is_no_canonical_address_is_no_stamp(site: Site, name: str) -> None:
    (site.stamps / name).touch()
    assert site.expire().foreign == [name]
    assert site.records() == {}


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o720, 0o702, 0o1777])
def test_a_stamp_folder_that_others_may_write_to_is_refused(site: Site, mode: int) -> None:
    site.stamps.chmod(mode)
    assert site.login(A) == REFUSED
    with pytest.raises(stamps.StampError, match=r"others may write to it; if it is popips' own"):
        site.expire()
    assert (site.names(), site.records()) == (set(), {})


@pytest.mark.parametrize("what", ["missing", "link", "file"])
def test_a_stamp_folder_that_is_none_is_refused(site: Site, what: str) -> None:
    shutil.rmtree(site.stamps)
    if what == "link":
        (site.folder / "elsewhere").mkdir(mode=0o700)
        site.stamps.symlink_to("elsewhere")
    elif what == "file":
        site.stamps.touch()
    assert site.login(A) == REFUSED
    with pytest.raises(stamps.StampError, match="install -d -m 0700"):
        site.expire()
    assert site.records() == {}


@pytest.mark.parametrize("key", [A, f"Connect:{A}"])
def test_a_record_that_the_admin_has_written_and_not_built_yet_is_static_for_a_new_login(site: Site, key: str) -> None:
    site.access.write_text(f"{key} REJECT\n")
    later = site.db.stat().st_mtime + 1
    os.utime(site.access, (later, later))
    assert [site.login(A), site.login(B)] == [STATIC, GRANTED]
    assert (site.records(), site.names()) == ({B: "RELAY"}, {B})


@pytest.mark.parametrize(("said", "left"), [("RELAY", {A: "RELAY"}), ("REJECT", {}), ("", {})])
def test_a_grant_ends_unless_the_text_says_that_very_record(site: Site, said: str, left: dict[str, str]) -> None:
    site.login(A)
    site.access.write_text(f"{A}\t{said}  \n{A} other\n")  # and the admin has not built the map from it
    site.pass_window()
    would_be, told = site.expire(dry_run=True), site.expire()
    assert (told.kept, told.removed) == (would_be.kept, would_be.removed) == (([A], []) if left else ([], [A]))
    assert (site.records(), site.names()) == (left, set())


def test_a_record_that_the_admin_makes_while_grants_are_taken_out_stays(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("popips.upkeep.BATCH", 1)
    for address in (A, B):
        site.login(address)
    site.pass_window()
    take_out = upkeep._Sweep._take_out
    made: list[str] = []

    def then_made(self: upkeep._Sweep, writer: kinds.Writer, names: list[str]) -> None:
        take_out(self, writer, names)
        if not made:
            made.extend({A, B} - set(names))
            site.build(f"{made[0]}\tRELAY\n")

    monkeypatch.setattr(upkeep._Sweep, "_take_out", then_made)
    assert site.expire().kept == made
    assert (site.records(), site.names()) == ({made[0]: "RELAY"}, set())


def test_a_map_that_is_built_while_a_denial_is_made_up_for_is_looked_at(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in (A, B):
        site.login(address)
    site.expire()
    with stamps.Folder(str(site.stamps)) as folder:
        denials.add(folder, denials.Denial(A, denials.FOR_EVER, "root"), site.now)
    os.utime(site.stamps / ".denied", (site.now, site.now))
    site.now += 60
    begin = upkeep._Sweep.begin

    def once_built(self: upkeep._Sweep, is_known: bool) -> None:
        site.build("")
        begin(self, is_known)

    with monkeypatch.context() as patched:
        patched.setattr(upkeep._Sweep, "begin", once_built)
        site.expire()
    site.expire()
    assert (site.records(), site.names()) == ({B: "RELAY"}, {B})


def test_a_login_whose_grant_ends_as_anothers_just_then_gets_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.login(A)
    note = grants._note

    def ended(settings: Settings, folder: stamps.Folder, *words: Any) -> bool:
        grants.take_out(settings, folder, lambda: [A], site.now, time.monotonic() + 9)
        return note(settings, folder, *words)

    monkeypatch.setattr(grants, "_note", ended)
    assert site.login(A, "bob") == GRANTED
    assert (site.records(), site.names()) == ({A: "RELAY"}, {A})


def test_a_text_that_cannot_be_read_is_told_of_before_it_is_needed(site: Site) -> None:
    site.configure(static_source=f"{site.folder}/none")
    with pytest.raises(MapError, match=r"none: cannot be read .*; set static_source"):
        site.expire(dry_run=True)


def test_a_dry_run_tells_the_same_and_changes_nothing(site: Site) -> None:
    site.login(A)
    site.pass_window()
    site.login(B)
    site.build(f"{SIX_KEY} REJECT\n")
    (site.stamps / SIX).touch(mode=0o400)
    os.utime(site.stamps / SIX, (site.now + 9, site.now + 9))
    before = [(path.name, path.stat().st_mtime_ns) for path in sorted(site.folder.glob("**/*"))]
    told = site.expire(dry_run=True)
    assert [(path.name, path.stat().st_mtime_ns) for path in sorted(site.folder.glob("**/*"))] == before
    assert (told.removed, told.restored, told.static) == ([A], [B], [SIX])
    assert site.expire() == told


# ---- a lock that is not to be had, a map that cannot be used


def holding(path: Path) -> int:
    fd = os.open(path, os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def test_a_login_that_does_not_get_the_lock_leaves_a_stamp_for_the_next_run(site: Site) -> None:
    site.configure(lock_timeout="0.1s")
    fd = holding(site.db)
    assert site.login(A) == DEFERRED
    os.close(fd)
    assert (site.names(), site.records()) == ({A}, {})
    assert site.expire().restored == [A]
    assert site.records() == {A: "RELAY"}
    site.pass_window()
    assert site.expire().removed == [A]
    assert site.records() == {}


@pytest.mark.parametrize("value", ["RELAY", "REJECT"])
@pytest.mark.parametrize("then", ["expirer", "login"])
def test_a_deferred_login_never_claims_a_static_record(site: Site, value: str, then: str) -> None:
    site.configure(lock_timeout="0.1s", static_source="none")
    site.build(f"{A} {value}\n")
    fd = holding(site.db)
    assert site.login(A) == DEFERRED
    os.close(fd)
    if then == "expirer":
        assert site.expire().static == [A]
    else:
        assert site.login(A) == STATIC
    assert site.names() == set()
    site.pass_window()
    site.expire()
    assert site.records() == {A: value}


def test_a_deferred_stamp_that_gets_old_takes_no_record_along(site: Site) -> None:
    site.configure(lock_timeout="0.1s", static_source="none")
    site.build(f"{A} RELAY\n")
    fd = holding(site.db)
    site.login(A)
    os.close(fd)
    site.pass_window()
    assert site.expire().removed == [A]
    assert (site.names(), site.records()) == (set(), {A: "RELAY"})


def test_a_known_address_is_renewed_even_if_the_map_is_locked(site: Site) -> None:
    site.configure(lock_timeout="0.1s")
    site.login(A)
    site.now += 100
    fd = holding(site.db)
    assert site.login(A) == DEFERRED
    os.close(fd)
    assert (site.stamps / A).stat().st_mtime == site.now
    assert site.expire().live == 1
    assert site.records() == {A: "RELAY"}


def test_a_login_without_a_map_is_granted_when_there_is_one(site: Site) -> None:
    site.db.unlink()
    assert site.login(A) == DEFERRED
    site.build("")
    assert site.expire().restored == [A]
    assert site.records() == {A: "RELAY"}


# ---- who dies where


class Killed(BaseException):
    pass


def killer(*_: object, **__: object) -> None:
    raise Killed


STEPS: list[tuple[object, str]] = [
    (stamps.Folder, "write"),
    (stamps.Folder, "sync"),
    (stamps.Folder, "unsettle"),
    (stamps.Folder, "remove"),
    (journal.Journal, "keep"),
    (journal.Change, "write"),
    (journal.Journal, "clear"),
]


def after(target: object, name: str, patch: pytest.MonkeyPatch) -> None:
    real = getattr(target, name)

    def dying(*arguments: object, **more: object) -> None:
        real(*arguments, **more)
        raise Killed

    patch.setattr(target, name, dying)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(("target", "name"), STEPS, ids=[name for _, name in STEPS])
@pytest.mark.parametrize("work", ["login", "expire", "reconcile"])
def test_whoever_dies_the_next_run_leaves_no_record_without_stamp_and_every_static_one(
    site: Site, work: str, target: object, name: str, before: bool
) -> None:
    static = {"198.51.100.1": "REJECT", "example.test": "RELAY"}
    site.build("".join(f"{key} {value}\n" for key, value in static.items()))
    if work != "login":
        site.login(A)
    if work == "expire":
        site.pass_window()
    elif work == "reconcile":
        site.build("".join(f"{key} {value}\n" for key, value in static.items()))
    with pytest.MonkeyPatch.context() as patch:
        if before:
            patch.setattr(target, name, killer)
        else:
            after(target, name, patch)
        try:
            site.login(A) if work == "login" else site.expire()
        except Killed:
            pass
    # at the moment of the death already: a record of ours has its stamp
    if journal.is_idle(str(site.db)):
        assert set(site.records()) - set(static) <= site.names()
    site.expire()
    assert site.records() == static | ({A: "RELAY"} if A in site.names() else {})
    site.pass_window()
    site.expire()
    assert (site.records(), site.names()) == (static, set())


# ---- two at once


def test_a_login_while_its_grant_is_being_expired_is_not_lost(site: Site) -> None:
    """The expirer has looked at the stamp, and is about to write: it must look once more under the lock."""
    site.login(A)
    site.login(B)
    site.pass_window()
    with pytest.MonkeyPatch.context() as patch:
        keep = journal.Journal.keep

        def login_meanwhile(self: journal.Journal, change: journal.Change) -> None:
            keep(self, change)
            os.utime(site.stamps / A, (site.now, site.now))  # what a login does first, and without any lock

        patch.setattr(journal.Journal, "keep", login_meanwhile)
        run = site.expire()
    assert run.removed == [B]
    assert (site.names(), site.records()) == ({A}, {A: "RELAY"})


@pytest.mark.parametrize(("runs_before", "verdict"), [(0, RENEWED), (1, GRANTED)])
def test_a_login_after_the_record_went_and_before_the_stamp_does_keeps_its_stamp(
    site: Site, runs_before: int, verdict: str
) -> None:
    site.login(A)
    site.login(B)
    for _ in range(runs_before):  # after one that saw all of the map, the next sees only what is not settled
        site.expire()
    site.pass_window()
    with pytest.MonkeyPatch.context() as patch:
        clear = journal.Journal.clear

        def login_meanwhile(self: journal.Journal) -> None:
            clear(self)
            os.utime(site.stamps / A, (site.now, site.now))

        patch.setattr(journal.Journal, "clear", login_meanwhile)
        assert site.expire().removed == [B]
    assert site.names() == {A}
    assert site.login(A) == verdict
    assert site.records() == {A: "RELAY"}


def test_a_known_address_waits_for_a_writer_that_may_be_taking_it_out(site: Site) -> None:
    site.configure(lock_timeout="0.1s")
    site.login(A)
    with berkeley.Writer(site.place, "", site.now, time.monotonic() + 9):
        Path(f"{site.db}.popips").write_bytes(b"something")
        Path(f"{site.db}.popips").chmod(0o600)
        assert site.login(A) == DEFERRED
    assert site.names() == {A}


def hammer(folder: Path, number: int, rounds: int) -> None:
    site = OldSite(folder)
    for turn in range(rounds):
        site.now = time.time()
        if number == 0:
            site.expire()
        elif number == 1:
            upkeep.revoke(site.settings, site.place, [f"10.0.0.{turn % 20}"], site.now)
            upkeep.make_static(site.settings, site.place, {b"static%d" % turn: b"OK"}, site.now)
        else:
            grants.grant(site.settings, f"10.0.0.{(turn * number) % 20}", grants.Login("u", "s", "w"), site.now)


class OldSite(Site):
    """A site that is there already."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.kind = folder, "hash"
        self.access, self.stamps, self.conf = folder / "access", folder / "popips", folder / "popips.conf"


def test_many_at_once_end_with_stamps_and_records_in_agreement(site: Site) -> None:
    site.configure(window="0.01s", static_source="none")
    site.build("".join(f"static.{n} REJECT\n" for n in range(300)))
    workers = [multiprocessing.Process(target=hammer, args=(site.folder, n, 40)) for n in range(5)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 5
    site.configure(window="1d", static_source="none")
    site.now = time.time()
    site.expire()
    static = {f"static.{n}": "REJECT" for n in range(300)} | {f"static{n}": "OK" for n in range(40)}
    assert site.records() == static | dict.fromkeys(site.names(), "RELAY")
    site.now += 2 * 86400
    site.expire()
    assert (site.records(), site.names()) == (static, set())


# ---- any order of things


class Life(RuleBasedStateMachine):
    """Logins, expiry, rebuilds, the admin's hand and time, in any order, against a model."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        folder = self.folder / str(len(list(self.folder.iterdir())))
        folder.mkdir()
        self.site = Site(folder)
        self.text: dict[str, str] = {}  # what the admin's text file says
        self.static: dict[str, str] = {}  # what he has in the map
        self.last: dict[str, float] = {}  # the last login of each address that may relay

    addresses = st.sampled_from([A, B, "198.51.100.1"])

    @rule(address=addresses)
    def login(self, address: str) -> None:
        verdict = self.site.login(address)
        if address in self.static:
            assert verdict == STATIC
        else:
            assert verdict in (GRANTED, RENEWED)
            self.last[address] = self.site.now

    @rule(seconds=st.sampled_from([1, 300, 899, 900]))
    def wait(self, seconds: int) -> None:
        self.site.now += seconds

    @rule()
    def expire(self) -> None:
        self.site.expire()
        due = {name for name, at in self.last.items() if at <= self.site.now - 900}
        self.static |= {
            name: "RELAY" for name in due if self.text.get(name) == "RELAY"
        }  # deleted, but the text says it
        self.last = {name: at for name, at in self.last.items() if name not in due}
        self.check()

    @rule(address=addresses, value=st.sampled_from(["RELAY", "REJECT"]))
    def make_static(self, address: str, value: str) -> None:
        upkeep.make_static(self.site.settings, self.site.place, {address.encode(): value.encode()}, self.site.now)
        self.static[address] = value
        self.last.pop(address, None)

    @rule(address=addresses)
    def delete(self, address: str) -> None:
        missing = upkeep.revoke(self.site.settings, self.site.place, [address], self.site.now)
        assert missing == ([] if address in self.static or address in self.last else [address])
        self.static.pop(address, None)
        self.last.pop(address, None)

    @rule(text=st.dictionaries(addresses, st.sampled_from(["RELAY", "REJECT"])))
    def rebuild(self, text: dict[str, str]) -> None:
        self.site.build("".join(f"{key} {value}\n" for key, value in text.items()))
        self.text = text
        self.static = dict(text)
        self.site.expire()
        self.last = {n: at for n, at in self.last.items() if at > self.site.now - 900 and n not in text}
        for name in text:  # a grant that the admin overrules is gone for good when its window is over
            (self.site.stamps / name).unlink(missing_ok=True)

    @invariant()
    def check(self) -> None:
        assert self.site.records() == self.static | dict.fromkeys(self.last, "RELAY")
        assert self.site.names() == set(self.last)


def test_any_order_of_things_ends_as_the_model_says(tmp_path: Path) -> None:
    class LifeHere(Life):
        folder = tmp_path

    run_state_machine_as_test(LifeHere, settings=settings(max_examples=40, stateful_step_count=20, deadline=None))
