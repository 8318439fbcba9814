"""What counts of what is told, and when it is told."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popips.denials import LARGEST, MOST
from popips.parsers import LONGEST_NAME
from share import denied, entry
from share.entry import END, LOGIN, Entry, Garbage
from share.ledger import Event, is_newer, when
from share.limits import Holders

NOW, WINDOW = 1_800_000_000.0, 900.0
LIVE, OVER = True, False
# seconds since the login here; since what the others know, and whether that is a login; in how many seconds it is told
CASES = [
    (0, None, 0),
    (899, None, 0),
    (900, None, None),
    (-2, None, None),
    (0, (900, LIVE), 0),
    (0, (899, LIVE), 0),
    (0, (840, LIVE), 0),
    (0, (300, LIVE), 540),
    (0, (1, LIVE), None),
    (5, (5.001, LIVE), None),
    (5, (4, LIVE), None),
    (0, (0.5, OVER), 0),
    (5, (5, OVER), None),
    (5, (4, OVER), None),
    (5, (901, OVER), 0),
]


@pytest.mark.parametrize(("age", "known", "wait"), CASES)
def test_when_a_login_is_told(age: float, known: tuple[float, bool] | None, wait: float | None) -> None:
    there = Event(NOW - known[0], known[1]) if known else None
    assert when(NOW - age, there, NOW, WINDOW) == (None if wait is None else NOW + wait)


def test_a_renewal_comes_in_time_whatever_the_window() -> None:
    for window in (1.0, 60.0, 120.0, 900.0):
        at = when(NOW + window / 4 + 2, Event(NOW, True), NOW + window / 4 + 2, window + 8)
        assert at is not None
        assert NOW < at < NOW + window + 8


EVENTS = st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=8)


@given(EVENTS, st.randoms(use_true_random=False))
def test_all_hosts_agree_in_whatever_order_they_hear(events: list[tuple[int, bool]], order: random.Random) -> None:
    """Of logins that are more than a second apart; ends may be at any time."""
    told = [Event(2.0 * time, is_live) for time, is_live in events]
    found = []
    for _ in range(2):
        order.shuffle(told)
        known: Event | None = None
        for event in told:
            if is_newer(event, known):
                known = event
        found.append(known)
    assert found[0] == found[1] == max(told, key=lambda event: (event.time, not event.is_live))


TEXT = st.text(st.characters(codec="utf-8"), max_size=50)


@given(TEXT, TEXT, st.floats(0, 900), st.sampled_from([LOGIN, END]))
def test_an_entry_says_what_was_put_into_it(user: str, service: str, age: float, sign: str) -> None:
    its = Entry(sign, "2001:db8::10", NOW - age, user or "-", service or "-", "pop-1.example.test")
    found = entry.unpack(b"%d-5" % (NOW * 1000), {entry.FIELD: entry.pack(its, NOW)}, NOW)
    assert abs(found.time - its.time) < 0.001
    assert Entry(sign, its.address, its.time, found.user, found.service, found.host) == its


@given(st.binary(max_size=60) | st.from_regex(rb"\A[-+!] \S{1,20} [0-9.]{1,9} \S \S \S\Z"))
def test_any_bytes_are_an_entry_or_garbage(data: bytes) -> None:
    try:
        found = entry.unpack(b"1800000000000-0", {entry.FIELD: data}, NOW)
    except Garbage:
        return
    assert found.time <= NOW


def test_an_id_is_not_of_the_future() -> None:
    line = {entry.FIELD: b"+ 192.0.2.10 0.000 a b c"}
    assert entry.unpack(b"%d-0" % (1000 * (NOW + 59)), line, NOW).time == NOW
    with pytest.raises(Garbage, match="future"):
        entry.unpack(b"%d-0" % (1000 * (NOW + 61)), line, NOW)


def test_the_newest_of_a_user_stay_and_equal_ones_by_address() -> None:
    holders = Holders(2, WINDOW)
    for name, age in (("192.0.2.3", 5), ("192.0.2.1", 9), ("192.0.2.2", 9), ("192.0.2.9", 901)):
        holders.note(name, Event(NOW - age, True, "alice", "pop3", "a"))
    assert holders.surplus("alice", NOW) == [("192.0.2.1", NOW - 9)]
    holders.note("192.0.2.3", Event(NOW, False, "alice", "pop3", "a"))
    assert holders.surplus("alice", NOW) == []
    holders.note("192.0.2.4", Event(NOW, True, "alice", "-", "a"))  # the admin's own counts for nobody
    assert holders.surplus("alice", NOW) == []


def test_denials_of_others_are_moved_to_this_clock_and_what_is_none_is_left_out() -> None:
    fields = {
        b"pop1": b"192.0.2.1 - root\n",
        b"pop2": b"192.0.2.2 1800000100 root\n192.0.2.3 1799999000 root\nx - root\n192.0.2.4 %s root\n" % (b"9" * 400),
        b"pop3": b"192.0.2.2 1800000300 joe\n",
        b"@": b"192.0.2.5 - root\n",
    }
    told = denied.heeded(fields, {}, "pop1", NOW + 50)
    found = denied.merged(told, NOW, lambda there: there - 50)
    assert found == b"192.0.2.2 1800000050 root@pop2\n192.0.2.2 1800000250 joe@pop3\n"
    back = {"pop2": b"192.0.2.2 1800000100 root\n", "pop3": b"192.0.2.2 1800000300 joe\n"}
    assert denied.by_hosts(found, lambda here: here + 50) == back
    assert denied.heeded({b"pop3": b""}, back, "pop1", NOW + 99) == {"pop2": back["pop2"]}
    assert denied.heeded({}, back, "pop1", NOW + 200) == {"pop3": back["pop3"]}  # until it is over


@pytest.mark.parametrize(
    "lines",
    [
        b"".join(b"10.0.%d.%d - r\r" % divmod(n, 256) for n in range(MOST + 1)),
        b"".join(b"10.0.%d.%d - %s\n" % (*divmod(n, 256), b"\xff" * 99) for n in range(MOST)),
    ],
    ids=["lines with other ends", "names that grow"],
)
def test_whatever_a_host_tells_of_denials_no_more_of_them_are_heeded_than_can_be_read(lines: bytes) -> None:
    try:
        found = denied.merged({"pop2": lines}, NOW, float)
    except denied.TooMany:
        return
    assert found.count(b"\n") <= MOST and len(found) <= LARGEST


@pytest.mark.parametrize("name", [b"x" * 5000, b"\xff" * 5000, b"%F0%9F%98%80" * 80])
def test_a_denial_by_somebody_with_a_long_name_is_still_the_hosts_that_made_it(name: bytes) -> None:
    host = "h" * LONGEST_NAME
    found = denied.merged({host: b"192.0.2.1 - %s\n" % name}, NOW, float)
    assert list(denied.by_hosts(found, float)) == [host]  # or nobody could lift it when the server has lost its data
