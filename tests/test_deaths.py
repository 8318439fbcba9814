"""Whoever is killed between two steps: no record of ours is without its stamp, and the next run makes up for it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from popips import requests, settle
from popips.maps import own, pages
from popips.maps.journal import Journal, is_idle
from popips.stamps.folder import Folder
from tests.conftest import Site

A, B, C, D = "192.0.2.10", "192.0.2.11", "192.0.2.12", "198.51.100.9"
STATIC = {"198.51.100.1": "REJECT", "example.test": "RELAY"}
TEXT = "".join(f"{key} {value}\n" for key, value in STATIC.items())

# what changes a file of popips' or a map: a kill falls before each call, and after the last
STEPS: list[tuple[Any, str]] = [
    *((Folder, name) for name in ("make", "renew", "unsettle", "settle", "replace", "remove", "sync")),
    *((requests, name) for name in ("leave", "mark", "unmark", "withdraw")),
    (Journal, "keep"),
    (Journal, "clear"),
    (pages.Change, "write"),
    (own.Writer, "rebuild"),
    (own._Database, "write"),
    (settle, "_change"),
]
KILLED = 9


def die(work: Callable[[], object], after: int) -> bool:
    """Do the work in another process, which is killed before the step after so many; return whether it was."""
    child = os.fork()
    if not child:
        try:
            _let_die(after)
            work()
        except BaseException:
            os.abort()
        finally:
            os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.waitstatus_to_exitcode(status) in (0, KILLED)
    return status != 0


def _let_die(after: int) -> None:
    left = count(after, -1)
    for target, name in STEPS:
        real = getattr(target, name)

        def step(*words: Any, real: Any = real, **more: Any) -> Any:
            if next(left) <= 0:
                os._exit(KILLED)
            return real(*words, **more)

        setattr(target, name, step)


# ---- what is done: how it begins, what is killed, and whether an address has a grant after it and the next run


def nothing(site: Site) -> None:
    """There is none yet."""


def settled(site: Site) -> None:
    site.login(A)
    site.login(B)
    site.expire()


def due(site: Site) -> None:
    settled(site)
    site.pass_window()
    site.login(B)


def lost(site: Site) -> None:
    settled(site)
    if site.settings.own_map:
        site.db.unlink()
    else:
        site.build(TEXT)


def waiting(site: Site) -> None:
    site.login(B)
    with Path(f"{site.db}.popips").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        site.configure(lock_timeout="0.01s", **own_map(site))
        for address in (A, C):
            site.login(address)
    site.configure(**own_map(site))


def too_many(site: Site) -> None:
    settled(site)
    site.configure(max_per_user="1", **own_map(site))
    site.now += 1


def other_value(site: Site) -> None:
    settled(site)
    site.configure(value="OK", **own_map(site))


def own_map(site: Site) -> dict[str, str]:
    return {"own_map": "no" if site.access.exists() else "yes"}


def login(site: Site) -> None:
    site.login(A)


def expire(site: Site) -> None:
    site.expire()


def end(site: Site) -> None:
    assert site.end(A, B)


def deny(site: Site) -> None:
    site.deny(A)


def delete(site: Site) -> None:
    assert site.take_out(A) == []


WORKS = [
    (nothing, login),
    (settled, login),
    (lost, login),
    (due, login),
    (waiting, login),
    (too_many, login),
    (due, expire),
    (lost, expire),
    (waiting, expire),
    (too_many, expire),
    (other_value, expire),
    (settled, end),
    (other_value, end),
    (settled, deny),
    (settled, delete),
    (waiting, deny),
]


@pytest.mark.parametrize("own", [False, True], ids=["access", "own"])
@pytest.mark.parametrize(("begin", "work"), WORKS, ids=[f"{work.__name__}, {begin.__name__}" for begin, work in WORKS])
def test_whoever_is_killed_where_no_grant_is_open_without_its_stamp_and_every_static_record_stays(
    tmp_path: Path, begin: Callable[[Site], None], work: Callable[[Site], None], own: bool
) -> None:
    for after in count():
        site = made(tmp_path / str(after), own)
        begin(site)
        has_died = die(lambda site=site: work(site), after)  # type: ignore[misc]
        check(site, own, after, owed={C} if begin is waiting else set())
        if not has_died:
            assert after > 0
            break


def made(folder: Path, own: bool) -> Site:
    folder.mkdir()
    site = Site(folder)
    if own:
        site.access.unlink()
        site.configure(own_map="yes")
    else:
        site.build(TEXT)
    return site


def check(site: Site, own: bool, died_at: int, owed: set[str]) -> None:
    """See that all is well; owed: who has a grant after the next run, whoever was killed."""
    static = {} if own else STATIC

    def ours() -> set[str]:
        there = site.records()
        assert {key: there.get(key) for key in static} == static
        return set(there) - set(static)

    if not own and is_idle(site.place):  # at the moment of the death
        assert ours() <= site.names(), died_at
    site.expire()
    assert ours() == site.names() >= owed, died_at
    assert set(site.records().values()) - set(static.values()) <= {site.settings.value}
    if (site.stamps / ".denied").exists():
        assert A not in site.names(), died_at
    assert site.login(D, "dave") == "granted", died_at  # a dead granter is in nobody's way
    site.pass_window()
    site.expire()
    assert (ours(), site.names()) == (set(), set()), died_at
    assert not os.listdir(site.stamps / ".requests")
