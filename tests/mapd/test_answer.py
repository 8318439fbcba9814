"""Who relays by popips-mapd: by the stamp, exact to the fraction of a second, and nobody whom a login would refuse."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mapd.answer import Answers
from popips import address, denials
from popips.configuration import SettingsError
from popips.log import Log
from popips.stamps import StampFailed
from tests.conftest import NOW, Site
from tests.mapd.test_wire import POLICY

V4, V6 = "192.0.2.10", "2001:db8::10"
FOUND, NOT_FOUND = b"8:OK RELAY,", b"9:NOTFOUND ,"
WINDOW = 900


class Mapd:
    """The answers on a site, whose log lines are kept."""

    def __init__(self, site: Site) -> None:
        self.site, self.said = site, list[str]()
        log = Log("test")
        log.line = lambda level, text: self.said.append(text)  # type: ignore[method-assign]
        self.answers = Answers(str(site.conf), log)

    def stamp(self, name: str, age: float = 0) -> Path:
        path = self.site.stamps / name
        path.touch(0o700)
        then = int((NOW - age) * 1e9)
        os.utime(path, ns=(then, then))
        return path

    def ask(self, key: str, name: str = "popips") -> bytes:
        self.answers.look()
        return self.answers.of_map(f"{name} {key}".encode(), NOW)

    def is_open(self, key: str = V4) -> bool:
        return self.ask(key) == FOUND


@pytest.fixture
def mapd(site: Site) -> Mapd:
    return Mapd(site)


@pytest.mark.parametrize(
    ("age", "is_open"),
    [(0, True), (WINDOW - 0.001, True), (WINDOW, False), (WINDOW + 0.001, False), (-0.001, False), (-3600, False)],
)
def test_the_window_is_exact_and_a_stamp_from_the_future_opens_nothing(mapd: Mapd, age: float, is_open: bool) -> None:
    mapd.stamp(V4, age)
    assert mapd.is_open() == is_open


@pytest.mark.parametrize("key", [V6, "ipv6:2001:db8:0:0:0:0:0:10", "IPv6:2001:DB8::10", "2001:db8:0:0:0:0:0:10"])
def test_an_ipv6_address_is_known_in_each_of_the_mtas_forms(mapd: Mapd, key: str) -> None:
    mapd.stamp(V6)
    assert (mapd.ask(key), mapd.ask(key, "postfix-clients")) == (FOUND, b"5:OK OK,")


@pytest.mark.parametrize(
    "key",
    [
        *("", " ", "localhost", "mail.example.test", "192.0.2", "2001:db8", "2001:db8:", "192.0.2.10/32", "192.0.2.11"),
        *(".denied", "../popips/192.0.2.10", "192.0.2.10 ", "192.0.2.10\n", "192.0.2.010", "connect:192.0.2.10"),
        *("224.0.0.1", "\0", "192.0.2.10\0", "é", "x" * 4000, f"user@[{V4}]", f"[{V4}]"),
    ],
)
def test_whatever_is_not_the_address_is_not_found(mapd: Mapd, key: str) -> None:
    mapd.stamp(V4)
    mapd.stamp("224.0.0.1")
    assert (mapd.ask(key), mapd.ask(key, "postfix"), mapd.ask(V4)) == (NOT_FOUND, NOT_FOUND, FOUND)


def test_the_policy_protocol_says_ok_for_a_live_client_and_dunno_for_all_else(mapd: Mapd) -> None:
    mapd.stamp(V4)
    mapd.answers.look()
    cases = [
        POLICY,
        POLICY.replace(b"RCPT", b"DATA"),
        POLICY.replace(b".10", b".11"),
        POLICY.replace(b"192", b"x"),
        b"",
    ]
    assert [mapd.answers.of_policy(one, NOW) == b"action=OK\n\n" for one in cases] == [True, *[False] * 4]
    assert {mapd.answers.of_policy(one, NOW) for one in cases[1:]} == {b"action=DUNNO\n\n"}


ODD: dict[str, Callable[[Path], object]] = {
    "folder": lambda path: path.mkdir(),
    "link": lambda path: path.symlink_to("192.0.2.11"),
    "fifo": os.mkfifo,
}


@pytest.mark.parametrize("kind", ODD)
def test_only_a_plain_file_is_a_stamp(mapd: Mapd, kind: str) -> None:
    mapd.stamp("192.0.2.11")
    ODD[kind](mapd.site.stamps / V4)
    os.utime(mapd.site.stamps / V4, (NOW, NOW), follow_symlinks=False)
    assert (mapd.is_open(V4), mapd.is_open("192.0.2.11")) == (False, True)


def test_never_and_the_denials_close_at_once_and_open_again(mapd: Mapd) -> None:
    for name in (V4, "127.0.0.1", V6):
        mapd.stamp(name)
    assert [mapd.is_open(name) for name in (V4, "127.0.0.1", V6)] == [True, False, True]
    with mapd.site.host as host:
        denials.add(host.folder, denials.Denial("192.0.2.0/24", denials.FOR_EVER, "admin"), NOW)
        assert (mapd.is_open(V4), mapd.is_open(V6)) == (False, True)
        denials.lift(host.folder, "192.0.2.0/24")
        denials.add(host.folder, denials.Denial(V6, NOW - 1, "admin"), NOW - 2)  # over by now
    assert (mapd.is_open(V4), mapd.is_open(V6)) == (True, True)


@pytest.mark.parametrize("line", ["192.0.2.0/24 forever admin\n", "\n", "\xff"])
def test_where_nobody_knows_who_is_denied_nobody_relays(mapd: Mapd, line: str) -> None:
    mapd.stamp(V4)
    denied = mapd.site.stamps / ".denied"
    denied.write_text(line)
    for _ in range(3):
        assert not mapd.is_open()
    assert len(mapd.said) == 1 and f"nobody relays: {denied}:1: " in mapd.said[0]
    denied.unlink()
    assert mapd.is_open() and len(mapd.said) == 2


def test_popips_conf_is_read_again_and_one_with_a_mistake_leaves_what_it_said(mapd: Mapd) -> None:
    mapd.stamp(V4, 60)
    assert mapd.is_open()
    mapd.site.configure(window="30s")
    assert not mapd.is_open()
    mapd.site.configure(window="2m")
    assert mapd.is_open()
    before = os.stat(mapd.site.conf)
    mapd.site.configure(window="2x")
    os.utime(mapd.site.conf, ns=(before.st_atime_ns, before.st_mtime_ns))  # the mtime alone tells nothing
    for _ in range(3):
        assert mapd.is_open()
    assert len(mapd.said) == 1 and "window" in mapd.said[0]
    mapd.site.configure(window="30s", never=V6)
    assert not mapd.is_open()


@pytest.mark.parametrize("what", ["popips.conf", "denials"])
def test_what_cannot_be_read_for_a_moment_closes_and_is_looked_at_again(
    mapd: Mapd, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    mapd.stamp(V4)
    assert mapd.is_open()
    failing = {"popips.conf": "popips.configuration._content", "denials": "popips.stamps.folder.Folder.read"}[what]
    with monkeypatch.context() as patch:
        if what == "popips.conf":
            mapd.site.configure(never=V6)
            patch.setattr(failing, lambda path: _unreadable(SettingsError, path))
        else:
            mapd.site.deny(V6)
            patch.setattr(failing, lambda folder, name, *_: _unreadable(StampFailed, name))
        for _ in range(2):
            assert not mapd.is_open()
    assert mapd.is_open()
    mapd.stamp(V6)
    assert not mapd.is_open(V6)


def _unreadable(kind: type[Exception], path: str) -> None:
    try:
        raise OSError(5, "Input/output error")
    except OSError as error:
        raise kind(f"{path}: {error}") from None


def test_without_a_popips_conf_that_can_be_used_nobody_relays_until_there_is_one(mapd: Mapd) -> None:
    mapd.stamp(V4)
    mapd.site.configure(window="2x")
    for _ in range(2):
        assert not mapd.is_open()
    assert len(mapd.said) == 2  # what is wrong, and that nobody relays
    mapd.site.configure()
    assert mapd.is_open()


def test_a_stamp_folder_that_is_gone_or_that_others_may_write_closes_and_a_new_one_opens(mapd: Mapd) -> None:
    mapd.stamp(V4)
    assert mapd.is_open()
    mapd.site.stamps.chmod(0o777)
    assert not mapd.is_open()
    mapd.site.stamps.chmod(0o700)
    assert mapd.is_open()
    away = mapd.site.stamps.with_name("away")
    mapd.site.stamps.rename(away)
    for _ in range(2):
        assert not mapd.is_open()
    mapd.site.stamps.mkdir(0o700)
    assert not mapd.is_open()
    mapd.stamp(V4)
    assert mapd.is_open()


def test_every_address_of_a_run_of_the_hook_is_found_by_the_key_that_the_mta_makes_of_it(mapd: Mapd) -> None:
    for name in (V4, V6, "2001:db8:1:2:3:4:5:6", "::1"):
        mapd.stamp(name)
        for style in ("bare", "postfix"):
            for compressed in (False, True):
                key = address.key(name, style, compressed).decode()
                assert mapd.is_open(key) == (name != "::1"), key
