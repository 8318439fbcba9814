"""Two at once, and many: a login that was told yes keeps its grant, whatever falls between which two steps."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from popips import grant, lane, limits
from popips.fate import BAR, EXPIRE
from popips.grant import DEFERRED, GRANTED, RENEWED
from popips.login import Login
from popips.maps import pages
from popips.maps.journal import Journal
from popips.stamps.folder import Folder
from tests.conftest import Site

A, B, C = "192.0.2.10", "192.0.2.11", "192.0.2.12"

BETWEEN: list[tuple[Any, str, str]] = [
    (Folder, "unsettle", "before"),
    (Folder, "unsettle", "after"),
    (Journal, "keep", "before"),
    (Journal, "keep", "after"),
    (pages.Change, "write", "before"),
    (pages.Change, "write", "after"),
    (Journal, "clear", "after"),
    (Folder, "remove", "before"),
    (Folder, "remove", "after"),
]


def let(meanwhile: Callable[[], None], target: Any, name: str, when: str, patch: pytest.MonkeyPatch) -> None:
    """Have something done once, before or after the first call of a function."""
    real = getattr(target, name)
    done: list[int] = []

    def call(*words: Any, **more: Any) -> Any:
        is_first = not done
        done.append(1)
        if is_first and when == "before":
            meanwhile()
        result = real(*words, **more)
        if is_first and when == "after":
            meanwhile()
        return result

    patch.setattr(target, name, call)


@pytest.mark.parametrize("why", ["due", "one too many"])
@pytest.mark.parametrize(("target", "name", "when"), BETWEEN, ids=[f"{when} {name}" for _, name, when in BETWEEN])
def test_a_login_by_the_lane_that_is_told_yes_keeps_its_grant_however_far_a_run_has_come(
    site: Site, why: str, target: Any, name: str, when: str
) -> None:
    """The run has looked at the stamp, and is about to end its grant: it must look once more under the lock."""
    site.login(A, "alice")
    site.now += 1
    site.login(B, "alice" if why == "one too many" else "bob")
    site.expire()
    if why == "due":
        site.now += site.settings.window - 1  # of A, when the login looks, a second is left; the run begins later
    else:
        site.configure(max_per_user="1")
        site.now += 1
    then = site.now
    told: list[bool] = []

    def renew() -> None:
        with site.host as host:
            told.append(host.folder.renew(A, Login("alice", "pop3", "test"), then + 2))

    site.now += 1
    with pytest.MonkeyPatch.context() as patch:
        let(renew, target, name, when, patch)
        done = site.expire()
    assert len(told) == 1
    if told == [True]:
        assert A in site.names()
        assert A not in [*done.get(EXPIRE, []), *done.get(BAR, [])]
    else:  # the login goes the long way
        site.now += 2
        assert site.login(A, "alice") in (GRANTED, RENEWED)
    assert A in site.names()
    assert set(site.records()) == site.names()


def test_a_run_looks_at_the_stamps_once_more_under_the_lock(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.login(A)
    site.login(B)
    site.expire()
    site.pass_window()
    renewed: list[bool] = []
    unsettle = Folder.unsettle

    def renew(folder: Folder, name: str) -> None:
        if name == A and not renewed:
            renewed.append(folder.renew(A, None, site.now))
        unsettle(folder, name)

    monkeypatch.setattr(Folder, "unsettle", renew)
    assert site.expire()[EXPIRE] == [B]
    assert (renewed, site.names(), site.records()) == ([True], {A}, {A: "RELAY"})
    with site.host as host:
        assert lane.renewed(host, A, Login("alice", "pop3", "test"))


def test_a_grant_that_a_login_renews_while_the_limit_is_counted_stays(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.login(A)
    site.now += 1
    site.login(B)
    site.expire()
    site.configure(max_per_user="1")
    count = limits.surplus

    def counted(host: Any, latest: Any = None) -> Any:
        over = count(host, latest)
        host.folder.renew(A, None, site.now + 1)
        return over

    monkeypatch.setattr(limits, "surplus", counted)
    site.expire()
    assert site.names() == {A, B}


def test_what_another_has_dealt_with_meanwhile_is_not_dealt_with_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has the lock first grants it, the admin ends it, and the one who waited must not bring it back."""

    def dealt_with_and_ended() -> None:
        with site.host as host:
            grant.serve(host, lambda *_: None)
        assert site.end(A) == [A]

    let(dealt_with_and_ended, grant, "_judged", "after", monkeypatch)
    assert site.login(A) == "by another"
    site.expire()
    assert (site.names(), site.records()) == (set(), {})


def test_a_login_that_finds_a_run_at_work_for_too_long_is_dealt_with_by_the_next(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.configure(lock_timeout="0.01s")
    site.login(A)
    site.expire()
    site.pass_window()
    told: list[str] = []
    let(lambda: told.append(site.login(C)), Folder, "unsettle", "before", monkeypatch)
    assert site.expire() == {EXPIRE: [A]}
    assert (told, site.names()) == ([DEFERRED], set())
    site.expire()
    assert site.names() == {C} == set(site.records())


# ---- many at once


def hammer(folder: Path, number: int, rounds: int) -> None:
    site = OldSite(folder)
    for turn in range(rounds):
        site.now = time.time()
        if number == 0:
            site.expire()
        elif number == 1:
            site.take_out(f"10.0.0.{turn % 20}")
            site.put(f"static{turn}", "OK")
        else:
            assert site.login(f"10.0.0.{(turn * number) % 20}") in ("granted", "renewed", "by another", "refused")


class OldSite(Site):
    """A site that is there already."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.kind = folder, "hash"
        self.told = []
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
