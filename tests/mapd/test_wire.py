"""Requests are found however a connection cuts them up, and what is none ends it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapd import wire
from mapd.wire import Garbage

Split = Callable[[bytes], "tuple[list[bytes], bytes]"]


def netstring(text: bytes) -> bytes:
    return b"%d:%s," % (len(text), text)


def fed(split: Split, pieces: list[bytes]) -> tuple[list[bytes], bytes]:
    """What is found when the pieces come one by one."""
    found: list[bytes] = []
    left = b""
    for piece in pieces:
        requests, left = split(left + piece)
        found += requests
    return found, left


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends)]


PLACES = st.lists(st.integers(min_value=0, max_value=1 << 16), max_size=40)


@given(st.lists(st.binary(max_size=300), max_size=8), PLACES)
def test_netstrings_are_found_wherever_they_are_cut(texts: list[bytes], places: list[int]) -> None:
    assert fed(wire.netstrings, cut(b"".join(map(netstring, texts)), places)) == (texts, b"")


@given(
    st.lists(st.lists(st.from_regex(rb"[a-z_]{1,9}=[^\n]{0,30}", fullmatch=True), min_size=1), max_size=6),
    PLACES,
)
def test_policy_requests_are_found_wherever_they_are_cut(requests: list[list[bytes]], places: list[int]) -> None:
    whole = [b"\n".join(lines) for lines in requests]
    assert fed(wire.policies, cut(b"".join(one + b"\n\n" for one in whole), places)) == (whole, b"")


@given(st.binary(max_size=200), PLACES)
def test_whatever_comes_is_found_the_same_wherever_it_is_cut(data: bytes, places: list[int]) -> None:
    for split in (wire.netstrings, wire.policies):
        try:
            whole = split(data)
        except Garbage:
            with pytest.raises(Garbage):
                fed(split, cut(data, places))
        else:
            assert fed(split, cut(data, places)) == whole


@given(st.binary(max_size=6000))
def test_what_is_kept_of_a_request_is_bounded(data: bytes) -> None:
    for split, longest in ((wire.netstrings, wire.LONGEST + wire.DIGITS + 1), (wire.policies, wire.LONGEST_POLICY)):
        try:
            assert len(split(data)[1]) <= longest
        except Garbage:
            pass


@pytest.mark.parametrize(
    "data",
    [b":,", b"x", b"-1:", b"+1:a,", b" 1:a,", b"1 :a,", b"4097:", b"00000", b"99999999999", b"1:ab", b"0:x", b"0x1:a,"],
)
def test_what_is_no_netstring_ends_the_connection(data: bytes) -> None:
    with pytest.raises(Garbage):
        wire.netstrings(data)


def test_a_netstring_and_a_policy_request_of_the_longest_are_taken_and_one_byte_more_is_not() -> None:
    longest = b"x" * wire.LONGEST
    assert wire.netstrings(netstring(longest)) == ([longest], b"")
    with pytest.raises(Garbage):
        wire.netstrings(netstring(longest + b"x"))
    longest = b"x" * wire.LONGEST_POLICY
    assert wire.policies(longest + b"\n\n") == ([longest], b"")
    with pytest.raises(Garbage):
        wire.policies(longest + b"x")


POLICY = b"request=smtpd_access_policy\nprotocol_state=RCPT\nclient_address=192.0.2.10"


@pytest.mark.parametrize(
    ("request_", "address"),
    [
        (POLICY, "192.0.2.10"),
        (POLICY + b"\nsender=a=b@example.test\nhelo_name=", "192.0.2.10"),
        (POLICY.replace(b"RCPT", b"DATA"), ""),
        (POLICY.replace(b"RCPT", b"VRFY"), ""),
        (POLICY.replace(b"smtpd_access_policy", b"other"), ""),
        (POLICY.replace(b"client_address", b"server_address"), ""),
        (b"client_address=192.0.2.11\n" + POLICY, ""),  # twice
        (POLICY + b"\nprotocol_state=RCPT", ""),
        (POLICY + b"\nno attribute", ""),
        (b"", ""),
    ],
)
def test_a_policy_request_asks_for_an_address_only_at_the_rcpt(request_: bytes, address: str) -> None:
    assert wire.client(request_) == address
