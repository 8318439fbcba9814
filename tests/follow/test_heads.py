"""The head of a line is found in each form that syslogds write, and nothing of a message is ever taken for one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from follower import formats, heads, rules
from follower.heads import FORMS, epoch

PATTERN = r"mypopd: login (?P<user>[^ ]+) from (?P<address>[0-9a-f.:]+)$"
MESSAGE = "login alice from 192.0.2.10"
MOMENT = datetime(2026, 11, 21, 14, 0, 0, tzinfo=timezone.utc).timestamp()
HEADS = {  # of 14:00:00 UTC; the host's own clock shows an hour more
    "classic": "Nov 21 15:00:00 mail mypopd[7]: ",
    "classic, without a process": "Nov 21 15:00:00 mail mypopd: ",
    "classic, as it came": "<22>Nov 21 15:00:00 mail mypopd[7]: ",
    "RFC 3339": "2026-11-21T15:00:00+01:00 mail mypopd[7]: ",
    "RFC 3339, with parts of a second": "2026-11-21T15:00:00.000000+01:00 mail.example.com mypopd[7]: ",
    "RFC 3339, with nanoseconds": "2026-11-21T15:00:00.000000000+01:00 mail mypopd[7]: ",
    "RFC 3339, UTC": "2026-11-21T14:00:00Z mail mypopd[7]: ",
    "RFC 3339, as it came": "<22>2026-11-21T14:00:00Z mail mypopd[7]: ",
    "RFC 5424": "<22>1 2026-11-21T15:00:00.000000+01:00 mail mypopd 7 - - ",
    "RFC 5424, without a process": "<22>1 2026-11-21T14:00:00Z mail mypopd - - - ",
    "RFC 5424, by rsyslog": "<22>1 2026-11-21T14:00:00Z mail mypopd 7 - -  ",
    "RFC 5424, with data": r'1 2026-11-21T14:00:00Z mail mypopd 7 ID47 [a@1 b="c \"\] d" e=""][f@1] ' + "\ufeff",
    "journalctl -o short-iso": "2026-11-21T15:00:00+0100 mail mypopd[7]: ",
    "journalctl -o short-precise": "Nov 21 15:00:00.000000 mail mypopd[7]: ",
    "FreeBSD, syslogd -v": "Nov 21 15:00:00 <2.6> mail mypopd[7]: ",
    "FreeBSD, syslogd -vv": "Nov 21 15:00:00 <mail.info> mail mypopd[7]: ",
    "busybox": "Nov 21 15:00:00 mail mail.info mypopd[7]: ",
    "AIX": "Nov 21 15:00:00 mail mail:info mypopd[7]: ",
    "Solaris": "Nov 21 15:00:00 mail mypopd[7]: [ID 197553 mail.info] ",
}
NO_HEADS = [
    "{message}",
    "mypopd: {message}",
    " Nov 21 15:00:00 mail mypopd: {message}",
    "x Nov 21 15:00:00 mail mypopd: {message}",
    "Nov 21 15:00:00 mypopd: {message}",  # no host
    "Nov 21 15:00:00 sshd: mypopd: {message}",  # busybox -S has none: the program is sshd, the rest is its message
    "Nov 21 15:00:00 sshd[7]: mypopd: {message}",
    "Nov 21 15:00:00 mail mypopd {message}",
    "Nov 21 15:00:00 mail mypopd[x]: {message}",
    "Nov 21 15:00:00 mail xmypopd: {message}",
    "Nov 21 15:00:00 mail mypopdx: {message}",
    "Nov 21 15:00:00 mail x mypopd: {message}",
    "Nov 21 15:00:00 mail x.y mypopd: {message}",  # no facility
    "Nov 21 15:00:00 <x.y> mail mypopd: {message}",
    "<22x>Nov 21 15:00:00 mail mypopd: {message}",
    "2026-11-21T15:00:00 mail mypopd: {message}",  # where?
    '<22>1 2026-11-21T14:00:00Z mail other 7 - [a b="mypopd 7 - - {message}"] x',
    '<22>1 2026-11-21T14:00:00Z mail mypopd 7 - [a b="] {message}',
    "Nov 21 15:00:00 " + "x" * 300 + " mypopd: {message}",
]
INSIDE = [
    "{line}",
    " {line}",
    "user={line}",
    "<{line}>",
    "[ID 1 mail.info] {line}",
    "from=<{line}>, size=7",
    "\r{line}",
]


@pytest.fixture(autouse=True)
def central_europe(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The heads without an offset are in local time."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        heads._moments.cache_clear()
        yield
    time.tzset()
    heads._moments.cache_clear()


def own() -> formats.Format:
    return formats.own(PATTERN, "popips.conf")


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_head_is_split_into_its_parts(head: str) -> None:
    line = heads.split(head + MESSAGE, bool)
    assert line
    assert (line.program, line.pid, line.message) == (
        "mypopd",
        "7" if "7" in head.partition("mypopd")[2][:3] else "",
        MESSAGE,
    )
    assert epoch(line.stamp, FORMS, MOMENT) == MOMENT
    found = own().read(head + MESSAGE, MOMENT)
    assert found == rules.Login("192.0.2.10", "alice", "mypopd", MOMENT)


@pytest.mark.parametrize("line", NO_HEADS)
def test_what_is_no_head_makes_no_login(line: str) -> None:
    text = line.format(message=MESSAGE)
    assert own().read(text, MOMENT) is None
    assert heads.split(text, "mypopd".__eq__) is None


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("place", INSIDE)
def test_a_login_line_inside_another_line_grants_nothing(head: str, place: str) -> None:
    for inner in (head, *HEADS.values()):
        message = place.format(line=inner + MESSAGE)
        assert own().read(head.replace("mypopd", "sshd") + message, MOMENT) is None
        assert own().read(head + message, MOMENT) is None, "a head behind a head is a message"
    for tail in (" ", "\r", ", x", " x"):
        assert own().read(head + MESSAGE + tail, MOMENT) is None


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=200), st.sampled_from(list(HEADS.values()))
)
def test_no_message_of_another_program_is_a_login(text: str, head: str) -> None:
    for message in (text, text + MESSAGE, text + head + MESSAGE):
        assert own().match(head.replace("mypopd", "sshd") + message, MOMENT) is None


def test_a_line_can_be_looked_at_quickly_or_in_full_with_the_same_result() -> None:
    quick, full = own(), own()
    full.is_likely = bool
    lines = [head + MESSAGE for head in HEADS.values()] + [line.format(message=MESSAGE) for line in NO_HEADS]
    assert quick.matches(lines, MOMENT) == full.matches(lines, MOMENT)
    assert len(quick.matches(lines, MOMENT)) == len(HEADS)


@pytest.mark.parametrize("pattern", [r"(?P<q>[<'])(?P<address>[0-9.]+)(?P=q)$", r"(['<])(?P<address>[0-9.]+)\1$"])
def test_a_pattern_that_refers_to_a_part_of_itself_works(pattern: str) -> None:
    found = formats.own(f"mypopd: {pattern}", "popips.conf").read(HEADS["classic"] + "'192.0.2.10'", MOMENT)
    assert found
    assert found.address == "192.0.2.10"


# ---- times


@pytest.mark.parametrize(
    ("stamp", "now", "expected"),
    [  # now and expected: local time
        ("Dec 31 23:59:59", "2027-01-01 00:00:05", "2026-12-31 23:59:59"),
        ("Jan  1 00:00:01", "2026-12-31 23:59:59", "2027-01-01 00:00:01"),
        ("Jan  1 00:00:01", "2027-01-01 00:00:05", "2027-01-01 00:00:01"),
        ("Feb 29 12:00:00", "2028-02-29 12:00:03", "2028-02-29 12:00:00"),
        ("Feb 29 12:00:00", "2028-03-01 12:00:03", "2028-02-29 12:00:00"),
        ("Nov 21 14:00:00", "2026-11-21 13:59:00", "2026-11-21 14:00:00"),
        ("Nov  1 14:00:00.25", "2026-11-21 13:59:00", "2026-11-01 14:00:00.25"),
    ],
)
def test_a_time_without_a_year_is_the_one_nearest_to_now(stamp: str, now: str, expected: str) -> None:
    assert epoch(stamp, FORMS, datetime.fromisoformat(now).timestamp()) == float(
        datetime.strptime(expected, "%Y-%m-%d %H:%M:%S.%f" if "." in expected else "%Y-%m-%d %H:%M:%S").timestamp()
    )


def test_in_the_hour_that_comes_twice_a_time_is_of_now() -> None:
    first = datetime(2026, 10, 25, 0, 30, tzinfo=timezone.utc).timestamp()  # 02:30 CEST, and an hour later 02:30 CET
    for now in (first, first + 3600):
        assert epoch("Oct 25 02:30:00", FORMS, now + 2) == now


@pytest.mark.parametrize("stamp", ["Nov 31 14:00:00", "Dez 21 14:00:00", "Nov 21 25:00:00", "2026-13-21T14:00:00Z", ""])
def test_a_time_that_there_is_not_is_none(stamp: str) -> None:
    assert epoch(stamp, FORMS, MOMENT) is None


def test_a_format_for_a_file_of_its_own_reads_its_times() -> None:
    login = (
        "imap-login: Info: Login: user=<alice>, method=PLAIN, rip=192.0.2.10, lip=192.0.2.1, mpid=78, "
        "session=<96zCacpgjeXAAAIK>"
    )
    for head in ("Nov 21 15:00:00", "2026-11-21 15:00:00"):
        found = formats.load("dovecot-file").read(f"{head} {login}", MOMENT)
        assert found
        assert found.time == MOMENT
        assert formats.load("dovecot-file").read(f"{head} {head} {login}", MOMENT) is None
    assert os.environ["TZ"].startswith("CET")
