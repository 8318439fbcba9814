"""Logins on other hosts, where the map is a file: what popips-share has told is a grant within a run, and no other."""

from __future__ import annotations

import errno
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from expirer import expire
from expirer.fleet import COARSE
from expirer.fleet import Fleet as TakenUp
from popips import denials, fate, run
from popips.db import main
from popips.elsewhere import Elsewhere, Heard, Others, Told
from popips.files import opened
from popips.grant import DEFERRED, Outcome
from popips.log import Log
from popips.stamps import StampFailed
from tests.box import Box
from tests.conftest import Installed, Site
from tests.elsewhere import AGENT, OTHER, From
from tests.test_kinds import KINDS, Host, Kind

A, B, C, V6 = "192.0.2.10", "192.0.2.11", "192.0.2.12", "2001:db8::10"
HOUR = 3600.0


def tick() -> None:
    """Wait until what was told so far has an older ctime than a run that begins now, for it may be finer than that."""
    now = time.time_ns()
    while time.clock_gettime_ns(COARSE) <= now:
        pass


class Fleet(From):
    """An installation, and what it is told."""

    def __init__(self, installed: Installed) -> None:
        self.installed, self.site = installed, installed.site
        super().__init__(installed.site, installed.site.folder)

    def run(self, *words: str) -> list[str]:
        """Run popips-expire, and return what it says, the last line aside: how many are live, and have ended."""
        tick()
        done = self.installed.run("popips-expire", *(words or ["-v"]))
        assert done.returncode == 0, done.stderr
        return [line for line in done.stdout.splitlines() if " live, " not in line]

    def is_taken_up(self, name: str) -> bool:
        """Whether the stamp is of the login that was told, and has its time."""
        stamp, told = self.site.stamps / name, self.path / name
        is_of_it = stamp.read_text() == f"bob imap @{OTHER}\n"
        return is_of_it and abs(stamp.stat().st_mtime - told.stat().st_mtime) < 0.001


@pytest.fixture
def fleet(installed: Installed) -> Fleet:
    made = Fleet(installed)
    made.run()  # one that looks at all, so that those to come do not
    return made


SHOWN = [kind for kind in KINDS if str(kind) in ("sendmail-hash", "sendmail-hash-own", "postfix-lmdb-own")]


@pytest.mark.parametrize("kind", SHOWN, ids=str)
def test_a_login_elsewhere_is_a_grant_in_each_kind_of_map_until_it_is_due(box: Box, kind: Kind) -> None:
    host = Host(box, kind)
    its = {"mta": kind.mta, "map": f"{kind.kind}:{host.text}", **({"own_map": "yes"} if kind.own else {})}
    others = From(box, box.scratch)
    others.configure(**its)
    for name in (A, V6):
        others.tell(name, age=300)
    host.expire()
    assert [host.ask(name) for name in (A, V6, B)] == [kind.value, kind.value, ""]
    assert (box.stamps / A).read_text() == f"bob imap @{OTHER}\n"
    assert 300 <= time.time() - (box.stamps / A).stat().st_mtime < 360
    logged = f'granted: address={A} user=bob service=imap map={kind.kind}:{host.file} reason="logged in on {OTHER}"'
    assert logged in box.logged("popips-expire")
    others.tell(V6, age=100)
    host.expire()
    assert 100 <= time.time() - (box.stamps / V6).stat().st_mtime < 160
    box.let_the_window_pass(A)
    host.expire()
    assert [host.ask(name) for name in (A, V6, "198.51.100.7")] == ["", kind.value, host.static]


def test_a_run_takes_up_each_login_once_and_keeps_the_later_of_two(fleet: Fleet) -> None:
    for name in (A, B, C):
        fleet.installed.pam(name)
    fleet.installed.age(A, minutes=14)
    fleet.tell(A, age=60)
    fleet.tell(B, age=60)
    fleet.run()
    assert fleet.is_taken_up(A)
    assert (fleet.site.stamps / B).read_text() == "alice pop3 popips-hook\n"
    assert fleet.installed.run("popips-db", "end", A).returncode == 0
    assert fleet.run() == []
    assert A not in fleet.site.records()  # the admin has ended it, and only a later login opens again
    fleet.tell(A, age=30)
    fleet.run()
    assert A in fleet.site.records() and fleet.is_taken_up(A)


@pytest.mark.parametrize("words", [["end", A], ["end", "--all"], ["del", A], ["end", "--user", "bob"]], ids=" ".join)
def test_what_the_admin_ends_while_popips_share_does_not_run_stays_ended(fleet: Fleet, words: list[str]) -> None:
    fleet.tell(A, age=60)
    fleet.tell(B, age=60, who=f"carol imap {OTHER}\n")
    fleet.run()
    (fleet.path / f".{A}.new").write_text("of one who was killed")
    assert fleet.installed.run("popips-db", *words).returncode == 0
    fleet.site.configure()
    fleet.run()
    fleet.configure()  # which is taken up anew as a whole
    fleet.run()
    assert sorted(fleet.site.records()) == ([] if "--all" in words else [B])
    told = fleet.path / A
    assert (told.stat().st_uid, told.stat().st_mode & 0o777) == (AGENT, 0o600)
    assert told.read_text() == f"bob imap {os.uname().nodename}\n"
    assert sorted(path.name for path in fleet.path.iterdir()) == [".denied", A, B]


@pytest.mark.parametrize("words", [["end", "--all"], ["deny", "192.0.2.0/24"], ["del", A, B]], ids=" ".join)
@pytest.mark.parametrize("is_hopeless", [False, True], ids=["that can be freed", "that cannot"])
def test_where_the_memory_of_what_is_told_is_full_all_ends_that_is_to_end(
    site: Site,
    words: list[str],
    is_hopeless: bool,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    others = From(site, site.folder)
    site.now = time.time()
    for name in (A, B):
        others.tell(name, age=60)
        site.login(name)

    def opened_(path: str, *words: Any, **more: Any) -> opened:
        if path.endswith(".new") and (is_hopeless or len(list(others.path.glob("192.*"))) == 2):
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(path, *words, **more)

    monkeypatch.setattr("popips.elsewhere.opened", opened_)
    monkeypatch.setattr("popips.turns.BATCH", 1)
    status = main.main(["-c", str(site.conf), *words])
    said = capfd.readouterr()
    assert (site.records(), site.names()) == ({}, set())
    assert not [path for path in others.path.glob("192.*") if path.stat().st_mode & 0o100]
    assert (status, "No space left on device" in said.err) == ((74, True) if is_hopeless else (0, False))
    (ended,) = [line for line in said.out.splitlines() if line.startswith(("ended: ", "deleted: "))]
    assert A in ended and B in ended


def test_a_login_elsewhere_renews_a_grant_before_it_would_be_due(fleet: Fleet) -> None:
    fleet.installed.pam(A)
    fleet.installed.age(A, minutes=16)
    fleet.tell(A, age=60)
    assert [line.partition(":")[0] for line in fleet.run()] == ["renewed"]  # not ended, and then granted anew
    assert fleet.is_taken_up(A)


def test_what_is_ended_elsewhere_ends_here_but_not_a_later_login(fleet: Fleet) -> None:
    fleet.tell(A, age=100)
    fleet.run()
    for name in (B, C):
        fleet.installed.pam(name)
    for name, age in ((A, 50), (B, -30), (C, 10), (V6, 10)):
        fleet.tell(name, age, is_live=False)
    said = fleet.run()
    assert sorted(fleet.site.records()) == [C]
    assert sorted(fleet.site.names()) == [C]
    assert sorted(line.partition(" map=")[0] for line in said) == [f"removed: address={name}" for name in (A, B)]
    assert all(line.endswith('reason="ended on another host"') for line in said)
    assert fleet.run() == []
    fleet.tell(A, age=5)
    fleet.run()
    assert A in fleet.site.records()


@pytest.mark.parametrize("step", [30, HOUR], ids=["half a minute", "an hour"])
def test_what_was_ended_elsewhere_stays_ended_when_the_clock_is_put_back(fleet: Fleet, step: float) -> None:
    for name in (A, B, C):
        fleet.installed.pam(name)
        fleet.installed.age(name, minutes=-step / 60)
    fleet.tell(A, age=-step - 5, is_live=False)  # as it was told, or at the time of the stamp
    fleet.tell(B, age=-step + 5, is_live=False)  # and there was a login after that
    would, said = fleet.run("-n"), fleet.run()
    assert [line.partition(" map=")[0] for line in said] == [f"removed: address={A}"]
    assert would == [f"would be {line}" for line in said]
    assert sorted(fleet.site.records()) == [B, C]
    assert fleet.run() == []
    assert all((fleet.site.stamps / name).stat().st_mtime < time.time() + 60 for name in (B, C))


def test_what_is_ended_elsewhere_counts_no_more_for_max_per_user(fleet: Fleet) -> None:
    for name in (A, B):
        fleet.installed.pam(name)
    fleet.installed.age(A, minutes=1)
    fleet.run()
    fleet.configure(max_per_user="1")
    fleet.tell(B, is_live=False)
    would, said = fleet.run("-n"), fleet.run()
    assert [line.partition(" map=")[0] for line in said] == [f"removed: address={B}"]
    assert would == [f"would be {line}" for line in said]
    assert sorted(fleet.site.records()) == [A]


def test_who_logs_in_while_a_run_ends_what_another_host_has_ended_keeps_his_grant(site: Site) -> None:
    for name in (A, B):
        site.login(name)
    others = Others()
    others.heard = lambda: Heard(ended={A: site.now, B: site.now - 1})  # type: ignore[method-assign] # before B's login
    with site.host as host:
        done = run.run(host, lambda *_: None, others=others)
    assert (site.names(), done.done.get(fate.ELSEWHERE)) == ({B}, [A])


def test_what_is_ended_elsewhere_while_a_run_takes_up_what_it_has_heard_gets_no_grant(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.now = time.time()
    others, real = From(site, site.folder), TakenUp.heard
    for name in (A, B):
        others.tell(name, age=60)

    def heard(its: TakenUp) -> Heard:
        found = real(its)
        others.tell(A, is_live=False)
        return found

    monkeypatch.setattr(TakenUp, "heard", heard)
    tick()
    with site.host as host:
        expire._expire(host, expire._Told(site.settings, Log("test")), math.inf)
    assert sorted(site.records()) == [B]


def test_whom_another_host_denies_loses_his_grant_and_gets_no_other_until_that_is_lifted(fleet: Fleet) -> None:
    for name in (A, B):
        fleet.installed.pam(name)
    fleet.run()
    fleet.deny("192.0.2.10/32", "2001:db8::/32")
    fleet.tell(V6)
    said = "\n".join(fleet.run())
    assert sorted(fleet.site.records()) == [B]
    assert f"removed: address={A}" in said and f"refused: address={V6}" in said
    done = fleet.installed.pam(A)
    assert (done.returncode, A in fleet.site.records()) == (0, False)
    told = fleet.installed.run("popips-db", "why", A).stdout
    assert f"{A} is denied by root@{OTHER}" in told
    fleet.deny()
    fleet.run()
    fleet.installed.pam(A)
    assert sorted(fleet.site.records()) == [A, B]
    fleet.deny(A)
    fleet.run()
    fleet.site.configure()  # without `share` nobody is kept out by others
    fleet.run()
    fleet.installed.pam(A)
    assert A in fleet.site.records()


def test_limits_and_policy_count_logins_elsewhere_as_those_here(fleet: Fleet) -> None:
    fleet.configure(max_per_user="2", only_services="imap pop3")
    for name, age in ((A, 300), (B, 200), (C, 100)):
        fleet.tell(name, age)
    fleet.tell(V6, who=f"eve smtp {OTHER}\n")
    fleet.tell("2001:db8::11", who=f"anonymous imap {OTHER}\n")
    fleet.tell("127.0.0.1")
    said = "\n".join(fleet.run())
    assert sorted(fleet.site.names()) == [B, C]
    assert f"refused: address={A}" in said and "max_per_user: bob" in said
    assert f"refused: address={V6} user=eve service=smtp" in said
    assert "refused: address=2001:db8::11 user=anonymous" in said
    assert fleet.run() == []  # each was told of once


def test_an_address_that_the_admin_rejects_gets_no_grant_by_a_login_elsewhere(fleet: Fleet) -> None:
    fleet.site.build(f"{A}\tREJECT\n")
    fleet.tell(A)
    assert [line.partition(":")[0] for line in fleet.run()] == ["static"]
    assert (fleet.site.records(), fleet.site.names()) == ({A: "REJECT"}, set())
    assert fleet.run() == []


def link(path: Path) -> None:
    path.symlink_to(path.parent / B)


def garbage(path: Path) -> None:
    path.write_bytes(b"\xff\x00 garbage")
    path.chmod(0o744)


def cut_off(path: Path) -> None:
    path.write_text("bob imap mx2")
    path.chmod(0o744)


def huge(path: Path) -> None:
    path.write_text(f"bob imap {OTHER}\n")
    os.truncate(path, 1 << 40)
    path.chmod(0o744)


ODD = [link, os.mkfifo, Path.mkdir, garbage, cut_off, huge]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.__name__)
@pytest.mark.parametrize("name", [A, ".hidden", "192.0.2", "mail.example.test", "224.0.0.1", "192.0.2.010"])
def test_what_is_no_line_about_an_address_is_left_and_the_rest_is_taken_up(
    fleet: Fleet, odd: Callable[[Path], object], name: str
) -> None:
    fleet.installed.pam(C)
    fleet.tell(B)
    odd(fleet.path / name)
    fleet.run()
    assert sorted(fleet.site.records()) == [B, C]
    assert sorted(fleet.site.names()) == [B, C]


def test_what_is_told_of_the_future_or_of_before_the_window_is_left(fleet: Fleet) -> None:
    fleet.installed.pam(C)
    for name, age, is_live in ((A, -HOUR, True), (B, HOUR, True), (C, -HOUR, False)):
        fleet.tell(name, age, is_live)
    assert fleet.run() == []
    assert sorted(fleet.site.records()) == [C]


def writable(fleet: Fleet) -> str:
    fleet.path.chmod(0o757)
    return f"others may write to it: chmod go-w {fleet.path}"


def replaceable(fleet: Fleet) -> str:
    fleet.path.parent.chmod(0o777)
    return "others may put another in its place: name another folder in popips.conf: share_from = /run/popips/from"


def gone(fleet: Fleet) -> str:
    fleet.path.rename(fleet.path.with_name("away"))
    return "there is no such folder; popips-share makes it: does it run?"


def garbled(fleet: Fleet) -> str:
    (fleet.path / ".denied").write_text("nonsense\n")
    return ".denied:1: "


def outnumbered(fleet: Fleet) -> str:
    (fleet.path / ".denied").write_text("192.0.2.13 - x\n" * (denials.MOST + 1))
    return f".denied: more than {denials.MOST} denials, so nobody knows who is denied"


def swollen(fleet: Fleet) -> str:
    os.truncate(fleet.path / ".denied", denials.LARGEST + 1)
    return f".denied: more than {denials.LARGEST} bytes, so nobody knows who is denied"


def unasked(fleet: Fleet) -> str:
    (fleet.path / ".denied").unlink()
    return ".denied: not there: popips-share writes it as soon as the server has told it"


@pytest.mark.parametrize("harm", [writable, replaceable, gone, garbled, outnumbered, swollen, unasked])
def test_where_the_folder_cannot_be_believed_that_is_said_and_nothing_here_is_lost(
    fleet: Fleet, harm: Callable[[Fleet], str]
) -> None:
    fleet.tell(A)
    fleet.deny(C)
    fleet.run()
    fleet.installed.pam(B)
    fleet.tell(V6)
    fleet.tell(B, is_live=False)
    word = harm(fleet)
    (said,) = [line for line in fleet.run() if "error: " in line]
    assert said.startswith(f"error: no login on another host counts: {fleet.path}") and word in said
    assert sorted(fleet.site.records()) == [A, B]
    fleet.installed.pam(C)
    assert C not in fleet.site.records()  # whom they kept out stays out
    assert [line for line in fleet.run() if "error: " in line] == []  # said once an hour


def test_a_dry_run_says_what_the_run_does_and_changes_nothing(fleet: Fleet) -> None:
    fleet.site.build(f"{B}\tREJECT\n")
    fleet.run()
    fleet.installed.pam(C)
    fleet.installed.pam("192.0.2.13")
    for name in (A, B):
        fleet.tell(name, age=60)
    fleet.tell(C, age=-1, is_live=False)
    fleet.deny("192.0.2.13")
    before = (fleet.site.records(), fleet.site.names(), sorted(os.listdir(fleet.site.stamps)))
    would = fleet.run("-n")
    assert (fleet.site.records(), fleet.site.names(), sorted(os.listdir(fleet.site.stamps))) == before
    assert sorted(line.removeprefix("would be ") for line in would) == sorted(fleet.run())
    assert len(would) == 4


def test_a_dry_run_says_what_is_wrong_with_the_folder(fleet: Fleet) -> None:
    word = writable(fleet)
    done = fleet.installed.run("popips-expire", "-n")
    assert (done.returncode, done.stderr) == (os.EX_CONFIG, f"popips-expire: {fleet.path}: {word}\n")


def test_a_run_takes_up_thousands(fleet: Fleet) -> None:
    names = [f"10.0.{n >> 8}.{n & 255}" for n in range(1200)]
    for name in names:
        fleet.tell(name, age=10)
    fleet.run()
    assert len(fleet.site.records()) == len(names)
    assert not list((fleet.site.stamps / ".requests").iterdir())


def two_are_told_one_by_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> expire._Told:
    """Have two logins told elsewhere, which a run takes up in a batch each; return what hears of the run."""
    site.now = time.time()
    others = From(site, site.folder)
    monkeypatch.setattr("popips.turns.BATCH", 1)
    for name in (A, B):
        others.tell(name, age=60)
    tick()
    return expire._Told(site.settings, Log("test"))


def test_what_could_not_be_put_into_the_map_in_time_is_taken_up_by_the_next_run(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = two_are_told_one_by_one(site, monkeypatch)
    with monkeypatch.context() as patch, site.host as host:
        patch.setattr("popips.grant.serve", lambda *_: Outcome(DEFERRED, A, "locked"))
        expire._expire(host, told, math.inf)
    assert [line for line in told.lines if "error" in line] == [
        "error: logins on other hosts wait for the next run: locked"
    ]
    with site.host as host:
        expire._expire(host, told, math.inf)
    assert sorted(site.records()) == [A, B]


def test_what_is_due_ends_before_anything_that_was_told_is_looked_through(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.now = time.time() - HOUR
    for name in (A, C):
        site.login(name)
    others, real, seen = From(site, site.folder), Elsewhere.all, []
    for name in (A, B):
        others.tell(name, age=60)  # A is due here, but not there
    site.now = time.time()

    def all_(its: Elsewhere) -> Iterator[tuple[str, Told]]:
        seen.append(sorted(site.records()))
        return real(its)

    monkeypatch.setattr(Elsewhere, "all", all_)
    told = expire._Told(site.settings, Log("test"))
    tick()
    with site.host as host:
        expire._expire(host, told, math.inf)
    assert (seen, sorted(site.records())) == ([[A]], [A, B])
    assert [line.partition(":")[0] for line in told.lines[:3]] == ["renewed", "granted", "removed"]


def test_what_takes_too_long_to_take_up_waits_for_the_next_run(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    told = two_are_told_one_by_one(site, monkeypatch)
    with monkeypatch.context() as patch, site.host as host:
        patch.setattr("popips.run.HEARING", 0.0)
        expire._expire(host, told, math.inf)
    assert list(site.records()) == [A]
    assert (
        "error: logins on other hosts wait for the next run: there are more than can be taken up in 0 s" in told.lines
    )
    with site.host as host:
        expire._expire(host, told, math.inf)
    assert sorted(site.records()) == [A, B]


def test_a_full_disk_does_not_keep_open_what_is_due(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.now = time.time() - HOUR
    site.login(C)
    From(site, site.folder).tell(A)
    site.now = time.time()

    def full(*_: object) -> str:
        raise StampFailed("No space left on device")

    monkeypatch.setattr("popips.requests.leave", full)
    told = expire._Told(site.settings, Log("test"))
    with site.host as host:
        expire._expire(host, told, math.inf)
    assert site.records() == {}
    assert "error: logins on other hosts wait for the next run: No space left on device" in told.lines
