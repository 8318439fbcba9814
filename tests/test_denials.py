"""Whom the admin keeps out: his grants end at once, he gets no other, and that holds whoever was killed when."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from popips import denials, policy, revoke
from popips.db import deny
from popips.db.task import Task
from popips.fate import BAR
from popips.grant import DEFERRED, GRANTED, REFUSED, RENEWED
from popips.maps import Busy
from popips.stamps import StampError
from popips.stamps.folder import Folder
from tests.conftest import Site

A, B, V6 = "192.0.2.10", "192.0.2.11", "2001:db8::10"
DAY = 86400.0


def test_a_denied_address_loses_its_grant_and_gets_no_other(either: Site) -> None:
    for user, address in (("alice", A), ("bob", B), ("carol", V6)):
        either.login(address, user)
    assert sorted(either.deny("192.0.2.9/30")) == [A, B]
    with Folder(str(either.stamps)) as folder:
        assert [denial.text for denial in denials.load(folder)] == ["192.0.2.8/30"]
    assert either.names() == {V6}
    assert either.login(A) == REFUSED
    assert [outcome.reason for _, outcome in either.told] == [
        "192.0.2.8/30 is denied by admin: popips-db undeny 192.0.2.8/30"
    ]
    either.expire()
    assert either.records() == {"ipv6:2001:db8:0:0:0:0:0:10": "RELAY"}


def test_a_denial_ends_when_its_time_is_over_or_when_it_is_lifted(site: Site) -> None:
    site.deny(A, until=site.now + DAY)
    site.deny(V6)
    site.now += DAY - 1
    assert (site.login(A), site.login(V6)) == (REFUSED, REFUSED)
    site.now += 1
    with Folder(str(site.stamps)) as folder:
        assert denials.lift(folder, V6)
        assert not denials.lift(folder, V6)
    assert (site.login(A), site.login(V6)) == (GRANTED, GRANTED)


def test_a_list_that_no_login_could_read_in_time_is_refused_and_not_made(site: Site) -> None:
    path = site.stamps / ".denied"
    for line, many in ((f"{B} - root\n", denials.OWN), (f"{B} - {'x' * 1000}\n", denials.LARGEST // (len(B) + 1004))):
        path.write_text(line * many)
        with Folder(str(site.stamps)) as folder, pytest.raises(StampError, match=f"{many} denials are all that it may"):
            denials.add(folder, denials.Denial("2001:db8::/32", denials.FOR_EVER, "x" * 1000), site.now)
        site.now += 1
        assert site.login(A) in (GRANTED, RENEWED)
    path.write_text(f"{V6} - root\n" + f"{B} - root\n" * denials.OWN)
    assert site.login(V6) == REFUSED
    assert f"{path}: more than {denials.OWN} denials, so nobody knows who is denied" in site.told[-1][1].reason
    with Folder(str(site.stamps)) as folder:
        assert denials.lift(folder, V6)  # which is how one too many is mended
    assert site.login("192.0.2.12") == GRANTED
    os.truncate(path, denials.LARGEST + 1)
    assert site.login(V6) == REFUSED
    assert f"{path}: more than {denials.LARGEST} bytes, so nobody knows who is denied" in site.told[-1][1].reason


def test_all_can_be_denied(site: Site) -> None:
    site.login(A)
    site.login(V6)
    assert (site.deny("0.0.0.0/0"), site.deny("::/0")) == ([A], [V6])
    assert (site.login(B), site.records()) == (REFUSED, {})


def test_denying_again_takes_the_place_of_the_first_time(site: Site) -> None:
    site.deny(A)
    site.deny(A, until=site.now + 1)
    site.now += 1
    assert site.login(A) == GRANTED


def test_a_denial_that_finds_another_writer_ends_its_grants_in_the_next_run(
    either: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    either.login(A)
    either.login(B)
    either.expire()
    with Path(f"{either.db}.popips").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        either.configure(own_map="yes" if not either.access.exists() else "no", lock_timeout="0.01s")
        with pytest.raises(Busy):
            either.deny(A)
    assert either.login(A) == REFUSED
    either.expire()
    assert (either.names(), either.records()) == ({B}, {B: "RELAY"})


@pytest.mark.parametrize("mtime", [0, -3600, 3600])
def test_a_denial_whose_grants_were_not_ended_holds_from_the_next_run_on_whatever_the_lists_mtime(
    either: Site, mtime: float
) -> None:
    """Whoever wrote it was killed before he came to the grants, or the list was put back from a backup."""
    either.login(A)
    either.login(B)
    either.expire()
    with Folder(str(either.stamps)) as folder:
        denials.add(folder, denials.Denial(A, denials.FOR_EVER, "root"), either.now)
    os.utime(either.stamps / ".denied", (either.now + mtime, either.now + mtime))
    either.now += 60
    assert either.expire(dry_run=True) == either.expire() == {BAR: [A]}
    assert (either.names(), either.records()) == ({B}, {B: "RELAY"})


def test_a_login_that_has_not_seen_the_denial_loses_its_grant_by_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has looked, and makes its stamp under the writers' lock: the denial looks for stamps under that, too."""
    denier = threading.Thread(target=site.deny, args=(A,))
    real = denials.load

    def looked(folder: Folder, strictly: bool = True) -> list[denials.Denial]:
        found = real(folder, strictly)
        if not strictly and not denier.ident:
            denier.start()
            while not (site.stamps / ".denied").exists():
                time.sleep(0.001)
        return found

    monkeypatch.setattr(denials, "load", looked)
    assert site.login(A) == GRANTED
    denier.join()
    site.expire()
    assert (site.names(), site.records()) == (set(), {})


def test_a_login_just_after_deny_has_ended_the_grant_gets_no_other(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.login(A)
    denied = revoke.denied
    told: list[str] = []

    def then_logs_in(*words: Any) -> Iterator[list[str]]:
        yield from denied(*words)
        told.append(site.login(A))

    monkeypatch.setattr(revoke, "denied", then_logs_in)
    assert deny.work(Task(site.settings, site.place, Namespace(words=[A], map=None, json=False))) == 0
    assert (told, site.names(), site.records()) == ([REFUSED], set(), {})


def test_a_static_record_of_a_denied_address_stays(site: Site) -> None:
    site.build(f"{A}\tRELAY\n")
    site.deny(A)
    assert site.records() == {A: "RELAY"}
    assert site.login(A) == REFUSED


def test_a_denial_that_comes_between_the_login_and_its_grant_counts(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "of_login", lambda *_: "")
    monkeypatch.setattr(policy, "strict", lambda _: lambda _: "")  # the login looked just before
    deny_list = denials.Denial(A, denials.FOR_EVER, "admin").pack()
    (site.stamps / ".denied").write_text(deny_list)
    assert site.login(A) == REFUSED
    assert [outcome.reason for _, outcome in site.told] == ["denied just now: popips-db why says by whom"]
    assert (site.names(), site.records()) == (set(), {})


def test_a_login_that_waited_when_the_denial_came_gets_no_grant(either: Site) -> None:
    either.login(B)
    own = "no" if either.access.exists() else "yes"
    either.configure(own_map=own, lock_timeout="0.01s")
    with Path(f"{either.db}.popips").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert either.login(A) == DEFERRED
    assert either.deny(A) == []
    either.expire()
    assert (either.names(), either.records()) == ({B}, {B: "RELAY"})


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_a_stamp_that_comes_from_somewhere_gets_no_record_once_it_is_denied(site: Site, mode: int) -> None:
    site.deny(A)
    site.expire()  # nothing but new and odd stamps is looked at from now on
    (site.stamps / A).touch(mode)
    os.utime(site.stamps / A, (site.now, site.now))
    site.now += 3600
    os.utime(site.stamps / A, (site.now, site.now))
    site.expire()
    assert (site.names(), site.records()) == (set(), {})


@pytest.mark.parametrize("line", ["nonsense", "x - admin", f"{A} soon admin", f"{A} -", "192.0.2.0/40 - admin"])
def test_a_line_that_cannot_be_read_refuses_all_logins_and_names_file_and_line(site: Site, line: str) -> None:
    (site.stamps / ".denied").write_text(f"{B} - admin\n{line}\n")
    assert site.login("198.51.100.1") == REFUSED
    ((_, outcome),) = site.told
    assert f"{site.stamps}/.denied:2: " in outcome.reason
    assert "remove the line; popips-db deny writes" in outcome.reason
    with pytest.raises(StampError, match=r"\.denied:2: "):
        site.deny(A)


def test_such_a_line_stops_neither_expiry_nor_the_mending_of_the_map_nor_the_lines_beside_it(either: Site) -> None:
    for address in (A, B, V6):
        either.login(address)
    os.utime(either.stamps / A, (0, 0))
    (either.stamps / ".denied").write_text(f"nonsense\n{V6} - admin\n")
    if either.access.exists():
        either.build("")
    else:
        either.db.unlink()
    either.expire()
    assert (either.names(), either.records()) == ({B}, {B: "RELAY"})


def test_the_list_is_changed_by_one_at_a_time_and_as_a_whole(site: Site) -> None:
    site.deny(A)
    before = (site.stamps / ".denied").read_bytes()
    with Folder(str(site.stamps)) as other:
        fcntl.flock(other.fd, fcntl.LOCK_EX)
        with pytest.raises(StampError, match="another popips-db is changing it"):
            site.deny(B)
    assert (site.stamps / ".denied").read_bytes() == before


def test_whoever_it_was_that_denied_is_one_word(site: Site) -> None:
    with Folder(str(site.stamps)) as folder:
        denials.add(folder, denials.Denial(A, site.now + 1.9, "ad min\n"), site.now)
        denials.add(folder, denials.Denial("2001:DB8::/32", denials.FOR_EVER, ""), site.now)
    assert (site.stamps / ".denied").read_text() == f"{A} {site.now + 1:.0f} ad%20min%0A\n2001:db8::/32 - -\n"
