"""Many logins at once cost a few changes of the map: whoever has the writers' lock deals with all that wait."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from popips import grant, limits, requests, turns
from popips.grant import DEFERRED, GRANTED, Outcome
from popips.login import Login
from popips.maps.journal import Journal
from popips.stamps.folder import Folder
from tests.conftest import Site

A = "192.0.2.10"
CROWD = [f"198.51.100.{number}" for number in range(50)]


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of pages of each change of the map, as the journal has them."""
    seen: list[int] = []
    keep = Journal.keep

    def kept(self: Journal, change: Any) -> None:
        seen.append(len(change.chunks))
        keep(self, change)

    monkeypatch.setattr(Journal, "keep", kept)
    return seen


def leave(site: Site, *addresses: str, user: str = "alice") -> None:
    """Leave a request for each, as their hooks do."""
    with Folder(str(site.stamps)) as folder:
        for address in addresses:
            requests.leave(folder, address, Login(user, "pop3", "popips-hook"), site.now)


@pytest.mark.parametrize("by", ["login", "run"])
def test_fifty_that_wait_are_one_change_of_the_map(site: Site, changes: list[int], by: str) -> None:
    leave(site, *CROWD)
    if by == "login":
        assert site.login(A) == GRANTED
    else:
        site.expire()
    assert len(changes) == 1
    assert set(site.records()) == site.names() >= set(CROWD)
    assert len(site.told) == 50 + (by == "login")
    assert not list((site.stamps / ".requests").iterdir())


def test_two_that_find_no_folder_for_requests_are_both_granted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a host where no run has been: the other one has made the folder, and left his request in it, just now."""
    write = requests._write

    def late(folder: Folder, *words: Any) -> None:
        if not (site.stamps / ".requests").exists():
            (site.stamps / ".requests").mkdir()
            write(folder, f".requests/{CROWD[0]}-77", *words[1:])
            raise FileNotFoundError
        write(folder, *words)

    monkeypatch.setattr(requests, "_write", late)
    assert site.login(A) == GRANTED
    assert site.names() == set(site.records()) == {A, CROWD[0]}


def test_each_is_logged_in_the_name_of_the_program_that_saw_it(site: Site) -> None:
    leave(site, A)
    with Folder(str(site.stamps)) as folder:
        requests.leave(folder, CROWD[0], Login("bob", "imap", "popips-postlogin"), site.now)
    told: list[tuple[Login, Outcome]] = []
    with site.host as host:
        grant.serve(host, lambda login, outcome: told.append((login, outcome)))
    assert sorted((login.writer, login.user, outcome.address) for login, outcome in told) == [
        ("popips-hook", "alice", A),
        ("popips-postlogin", "bob", CROWD[0]),
    ]


def test_of_one_address_the_latest_login_counts_and_each_is_told(site: Site) -> None:
    with Folder(str(site.stamps)) as folder:
        for later, user in enumerate(("alice", "bob", "carol")):
            requests.leave(folder, A, Login(user, "pop3", "popips-hook"), site.now - 10 + later)
    site.expire()
    assert [(user, outcome.verdict) for user, outcome in site.told] == [
        (user, GRANTED) for user in ("alice", "bob", "carol")
    ]
    assert (site.stamps / A).read_text() == "carol pop3 popips-hook\n"
    assert (site.stamps / A).stat().st_mtime == site.now - 8


def test_a_request_never_sets_a_stamps_time_back_nor_ahead_of_the_clock(site: Site) -> None:
    site.login(A)
    with Folder(str(site.stamps)) as folder:
        requests.leave(folder, A, Login("alice", "pop3", "popips-hook"), site.now - 100)
        requests.leave(folder, CROWD[0], Login("alice", "pop3", "popips-hook"), site.now + 100)
    site.expire()
    assert [(site.stamps / name).stat().st_mtime for name in (A, CROWD[0])] == [site.now, site.now]


def test_more_than_one_change_can_take_are_done_by_turns(
    site: Site, changes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "MOST", 20)
    leave(site, *CROWD)
    site.expire()
    assert len(changes) == 3
    assert site.names() == set(CROWD)


def test_whoever_waits_while_another_deals_with_his_request_does_nothing(site: Site) -> None:
    """He waits for the lock, sees that his request has gone, and looks no further."""
    site.login(CROWD[1])
    told: list[str] = []
    with Path(f"{site.db}.popips").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        (site.stamps / ".granter").write_text("1\n")  # one that lives
        waiting = threading.Thread(target=lambda: told.append(site.login(A)))
        waiting.start()
        folder = site.stamps / ".requests"
        while not folder.exists() or not list(folder.iterdir()):
            time.sleep(0.001)
        for path in folder.iterdir():
            path.unlink()
        waiting.join(1.5)  # the wait for the lock is 2 s
        assert not waiting.is_alive()
    assert told == ["by another"]
    assert A not in site.names()


def test_the_granter_is_marked_before_it_looks_and_looks_once_more_after(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login that sees the marker leaves its request and waits: nobody else may come."""
    unmark = requests.unmark
    late = iter(CROWD[:3])

    def then_comes_one(folder: Folder) -> None:
        address = next(late, None)
        if address:
            requests.leave(folder, address, Login("late", "pop3", "popips-hook"), site.now)
        unmark(folder)

    monkeypatch.setattr(requests, "unmark", then_comes_one)
    assert site.login(A) == GRANTED
    assert site.names() == {A, *CROWD[:3]}
    assert not (site.stamps / ".granter").exists()


def test_a_granter_that_cannot_have_the_map_takes_its_marker_away_and_leaves_all_requests(site: Site) -> None:
    site.login(CROWD[1])
    leave(site, CROWD[0])
    site.configure(lock_timeout="0.01s")
    with Path(f"{site.db}.popips").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert site.login(A) == DEFERRED
    assert [outcome.address for _, outcome in site.told] == [A]  # of the other, who left it tells
    assert not (site.stamps / ".granter").exists()
    assert len(list((site.stamps / ".requests").iterdir())) == 2


def test_one_who_is_refused_keeps_nobody_from_his_grant(site: Site, changes: list[int]) -> None:
    site.configure(only_services="pop3", never="192.0.2.0/24")
    with Folder(str(site.stamps)) as folder:
        requests.leave(folder, A, Login("alice", "pop3", "popips-hook"), site.now)
        requests.leave(folder, CROWD[0], Login("alice", "smtp", "popips-hook"), site.now)
        requests.leave(folder, CROWD[1], Login("alice", "pop3", "popips-hook"), site.now)
    site.expire()
    assert sorted((outcome.address, outcome.verdict) for _, outcome in site.told) == [
        (A, "refused"),
        (CROWD[0], "refused"),
        (CROWD[1], GRANTED),
    ]
    assert (site.names(), len(changes)) == ({CROWD[1]}, 1)


def test_a_crowd_counts_against_the_limits_in_one_look_at_the_stamps(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.configure(max_per_network="3")
    looks: list[int] = []
    surplus = limits.surplus
    monkeypatch.setattr(limits, "surplus", lambda *words: looks.append(1) or surplus(*words))  # type: ignore[func-returns-value]
    for later, address in enumerate(CROWD):
        with Folder(str(site.stamps)) as folder:
            requests.leave(folder, address, Login("alice", "pop3", "popips-hook"), site.now - 100 + later)
    with site.host as host:
        grant.serve(host, lambda *_: None)
    assert len(looks) == 1
    assert site.names() == set(CROWD[-3:])


@pytest.mark.parametrize("odd", ["folder", "link", "fifo", "empty", "huge", "unreadable name"])
def test_what_is_no_request_in_their_folder_keeps_nobody_from_his_grant(site: Site, odd: str) -> None:
    leave(site, CROWD[0])
    file = site.stamps / ".requests" / f"{A}-1"
    if odd == "folder":
        file.mkdir()
    elif odd == "link":
        file.symlink_to(site.conf)
    elif odd == "fifo":
        os.mkfifo(file)
    elif odd == "empty":
        file.touch()
    elif odd == "huge":
        file.write_bytes(b"x" * 100_000)
    else:
        Path(os.fsdecode(bytes(file) + b"\xff\n")).touch()
    os.utime(file, (site.now, site.now), follow_symlinks=False) if file.is_symlink() or file.exists() else None
    site.expire()
    assert site.names() == {CROWD[0]}
    site.now += 61
    site.expire()
    assert site.names() == {CROWD[0]}


def test_the_turns_of_a_run_are_for_more_than_a_batch(site: Site, changes: list[int]) -> None:
    for number in range(turns.BATCH + 1):
        stamp = site.stamps / f"10.0.{number // 256}.{number % 256}"
        stamp.touch(0o600)
        os.utime(stamp, (site.now, site.now))
    site.expire()
    assert len(changes) == 2
    assert len(site.records()) == turns.BATCH + 1
