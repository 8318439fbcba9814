"""A login counts from its own time on; one of long ago, or of another clock, grants nothing, nor does a cut piece."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from follower import formats, rules
from follower.rules import AHEAD, LONGEST_USER, Login
from popips import grant, login
from popips.maps import Writer
from popips.site import Site as Host
from tests.conftest import NOW, Installed, Site

PATTERN = r"mypopd: login (?P<user>.+) from (?P<address>[0-9a-f.:]+)$"
A, B = "192.0.2.10", "192.0.2.11"
WINDOW = 900.0


def line(message: str, ago: float = 0, now: float = NOW, program: str = "mypopd[7]") -> str:
    """A line of so many seconds ago."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now - ago))
    return f"{stamp}Z mail {program}: {message}"


def own() -> formats.Format:
    return formats.own(PATTERN, "popips.conf")


@pytest.mark.parametrize(
    ("ago", "expected"),
    [
        (0.0, NOW),
        (10.5, NOW - 10.5),
        (WINDOW - 1, NOW - WINDOW + 1),
        (WINDOW, None),
        (86400.0, None),
        (-10.0, NOW),  # another host's clock is a bit ahead: no login counts from later than now
        (-AHEAD, NOW),
        (-AHEAD - 1, None),
        (-86400.0, None),
        (None, None),
    ],
)
def test_a_login_counts_from_its_own_time(ago: float | None, expected: float | None) -> None:
    found = Login(A, "alice", "pop3", None if ago is None else NOW - ago)
    assert rules.when(found, NOW, WINDOW) == expected


def test_many_logins_are_granted_each_from_its_own_time_in_one_change_of_the_map(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    ages = {f"198.51.100.{n}": float(n) for n in range(1, 200)}
    told: list[str] = []
    many = [(name, login.Login("alice", "pop3", "test"), NOW - ago) for name, ago in ages.items()]
    before = site.db.stat().st_mtime_ns
    with site.host as host:
        real = type(host).writer
        changes: list[object] = []

        def counted(host: Host, gone: Callable[[], bool] | None = None) -> Writer:
            changes.append(host)
            return real(host, gone)

        monkeypatch.setattr(type(host), "writer", counted)
        grant.grant_all(host, many, lambda _, outcome: told.append(outcome.verdict))
    assert len(changes) == 1
    assert told == ["granted"] * len(ages)
    assert {name: NOW - (site.stamps / name).stat().st_mtime for name in site.names()} == ages
    assert site.records() == dict.fromkeys(ages, "RELAY")
    assert site.db.stat().st_mtime_ns != before


def test_a_login_of_before_does_not_take_back_the_time_of_a_later_one(site: Site) -> None:
    assert site.login(A) == "granted"
    site.expire()
    with site.host as host:
        grant.grant_all(host, [(A, login.Login("bob", "pop3", "test"), NOW - 600)], lambda *_: None)
    assert (site.stamps / A).stat().st_mtime == NOW


def test_of_many_logins_each_that_cannot_be_is_told_by_itself(site: Site) -> None:
    told: list[tuple[str, str]] = []
    names = [A, "127.0.0.1", "1.2.3", "x", B]
    many = [(name, login.Login("alice", "pop3", "test"), NOW) for name in names]
    with site.host as host:
        grant.grant_all(host, many, lambda _, outcome: told.append((outcome.address, outcome.verdict)))
    assert sorted(told) == sorted(
        [(A, "granted"), ("127.0.0.1", "refused"), ("1.2.3", "refused"), ("x", "refused"), (B, "granted")]
    )


def test_what_stays_because_the_map_is_missing_is_told_and_the_next_run_grants_it(site: Site) -> None:
    told: list[str] = []
    site.db.rename(f"{site.db}.away")
    with site.host as host:
        many = [(name, login.Login("alice", "pop3", "test"), NOW) for name in (A, B)]
        grant.grant_all(host, many, lambda _, outcome: told.append(outcome.verdict))
    assert told == ["deferred", "deferred"]
    site.db.with_name(f"{site.db.name}.away").rename(site.db)
    site.expire()
    assert site.records() == {A: "RELAY", B: "RELAY"}


def test_a_log_that_is_read_once_more_grants_only_what_is_of_now(installed: Installed) -> None:
    now, where = time.time(), "from 192.0.2"
    log = "".join(
        f"{line(f'login u{n} {where}.{n}', ago, now)}\n" for n, ago in ((1, 3), (2, 86400), (3, 800), (4, 905))
    )
    installed.site.configure(follow_pattern=PATTERN)
    done = installed.run("popips-follow", "--format", "own", stdin=log)
    assert done.returncode == 0
    assert installed.site.names() == {"192.0.2.1", "192.0.2.3"}
    ages = [now - (installed.site.stamps / f"192.0.2.{n}").stat().st_mtime for n in (1, 3)]
    assert [round(age, -1) for age in ages] == [0, 800]


# ---- what holds whatever the format


@pytest.mark.parametrize(
    ("user", "service", "named", "reason"),
    [
        ("alice", "pop3", (), ""),
        ("alice", "imaps", (), ""),
        ("x" * LONGEST_USER, "pop3", (), ""),
        ("x" * (LONGEST_USER + 1), "pop3", (), "more than"),
        ("ä" * (LONGEST_USER // 2 + 1), "pop3", (), "more than"),
        ("anonymous", "imap", (), "anonymous"),
        ("Anonymous", "imap", ("imap",), "anonymous"),
        ("alice", "submission", (), "no mailbox"),
        ("alice", "smtp", (), "no mailbox"),
        ("alice", "managesieve", (), "no mailbox"),
        ("alice", "managesieve", ("pop3",), "no mailbox"),
        ("alice", "", (), "no mailbox"),
        ("alice", "-", ("-",), "no mailbox"),  # what the admin grants by hand
        ("alice", "drop", ("drop",), "no mailbox"),  # the drop folder's
        ("alice", "submission", ("submission",), ""),
    ],
)
def test_what_no_format_lets_through(user: str, service: str, named: tuple[str, ...], reason: str) -> None:
    found = rules.refusal(Login(A, user, service, NOW), named)
    assert reason in found
    assert bool(found) == bool(reason)


def test_a_service_that_is_no_mailbox_is_named_in_only_services(installed: Installed) -> None:
    pattern = r"mypopd: (?P<service>[a-z]+) login (?P<user>[^ ]+) from (?P<address>[0-9a-f.:]+)$"
    log = line(f"submission login alice from {A}", now=time.time()) + "\n"
    for more, granted in (({}, set()), ({"only_services": "submission"}, {A})):
        installed.site.configure(follow_pattern=pattern, **more)
        assert installed.run("popips-follow", "--format", "own", stdin=log).returncode == 0
        assert installed.site.names() == granted


def test_the_two_lines_of_a_login_belong_together_by_their_process() -> None:
    def read(*lines: tuple[str, str, float]) -> list[str]:
        following = formats.load("popa3d")
        return [
            one.address for one in following.matches([line(t, ago, program=f"popa3d{p}") for p, t, ago in lines], NOW)
        ]

    begin, other, end = f"Session from {A}", f"Session from {B}", "Authentication passed for alice"
    assert read(("[7]", begin, 0), ("[8]", other, 0), ("[7]", end, 0)) == [A]
    assert read(("[7]", begin, 0), ("[8]", end, 0)) == []
    assert read(("[7]", begin, 0), ("[7]", end, 0), ("[7]", end, 0)) == [A]
    assert read(("[7]", begin, 0), ("[7]", other, 0), ("[7]", end, 0)) == [B]
    assert read(("", begin, 0), ("", end, 0)) == []  # whose session?
    assert read(("[7]", begin, formats.SESSION), ("[7]", end, 0)) == [A]
    assert read(("[7]", begin, formats.SESSION + 1), ("[7]", end, 0)) == []  # another process by now


@pytest.mark.parametrize("text", ["x {}", "{} x", "user {}", "Session from 192.0.2.11 {}"])
def test_the_line_before_a_login_counts_as_a_whole(text: str) -> None:
    before = line(text.format(f"Session from {A}"), program="popa3d[7]")
    assert (
        formats.load("popa3d").matches([before, line("Authentication passed for alice", program="popa3d[7]")], NOW)
        == []
    )


def test_no_more_sessions_are_kept_than_there_are_processes() -> None:
    following = formats.load("popa3d")
    for pid in range(formats.PROCESSES + 5):
        following.match(line(f"Session from {A}", program=f"popa3d[{pid}]"), NOW)
    assert len(following.sessions) == formats.PROCESSES
