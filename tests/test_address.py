"""Only the canonical text of a unicast address ever becomes the name of a stamp or a key of the map."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from popips import address
from popips.settings import Settings

DATA = Path(__file__).parent / "data" / "addresses.txt"


def cases() -> list[tuple[str, str]]:
    lines = [line for line in DATA.read_text().splitlines() if not line.startswith("#")]
    pairs = [line.rpartition("| ")[::2] for line in lines]
    texts = [left.removesuffix(" ").encode("latin-1", "backslashreplace").decode("unicode_escape") for left, _ in pairs]
    return [*zip(texts, (verdict for _, verdict in pairs)), ("1" * 10_000, "refused"), ("::" + "0" * 10_000, "refused")]


def verdict(text: str) -> str:
    try:
        return address.parse(text)
    except address.Refused:
        return "refused"


@pytest.mark.parametrize(("text", "expected"), cases())
def test_each_text_in_the_data_file_gets_its_verdict(text: str, expected: str) -> None:
    assert verdict(text) == expected


@given(st.one_of(st.text(), st.text("0123456789abcdefABCDEF.:%/[] \0\nx"), st.ip_addresses().map(str)))
@example("::ffff:1.2.3.4")
def test_whatever_is_taken_is_an_address_in_canonical_text(text: str) -> None:
    name = verdict(text)
    if name != "refused":
        assert str(ipaddress.ip_address(name)) == name
        assert address.parse(name) == name
        assert set(name) <= set("0123456789abcdef.:")


@given(st.ip_addresses())
def test_an_address_is_taken_just_as_the_standard_library_reads_it(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    plain = getattr(ip, "ipv4_mapped", None) or ip
    not_one_client = plain.is_multicast or any(plain in network for network in NOBODY[plain.version])
    loopback = str(plain) == "::1"
    for text in (str(ip), ip.exploded, str(ip).upper()):
        assert verdict(text) == ("refused" if not_one_client and not loopback else str(plain))


NOBODY = {
    4: [ipaddress.ip_network("240.0.0.0/4"), ipaddress.ip_network("0.0.0.0/8")],
    6: [ipaddress.ip_network("::/96")],
}


@pytest.mark.parametrize(
    ("name", "style", "compressed", "key"),
    [
        ("192.0.2.10", "bare", False, b"192.0.2.10"),
        ("192.0.2.10", "connect", False, b"connect:192.0.2.10"),
        ("2001:db8::a:1", "bare", False, b"ipv6:2001:db8:0:0:0:0:a:1"),
        ("2001:db8::a:1", "bare", True, b"ipv6:2001:db8::a:1"),
        ("2001:db8::a:1", "connect", False, b"connect:ipv6:2001:db8:0:0:0:0:a:1"),
        ("::1", "bare", False, b"ipv6:0:0:0:0:0:0:0:1"),
    ],
)
def test_the_key_is_the_one_that_sendmail_looks_up(name: str, style: str, compressed: bool, key: bytes) -> None:
    assert address.key(name, style, compressed) == key
    assert address.of_key(key.decode()) == name


@given(st.ip_addresses(), st.ip_addresses(), st.integers(0, 128))
def test_a_network_holds_what_the_standard_library_says(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address, base: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int
) -> None:
    bits = min(bits, base.max_prefixlen)
    network = ipaddress.ip_network((base, bits), strict=False)
    if getattr(ip, "ipv4_mapped", None) is getattr(base, "ipv4_mapped", None) is None:
        assert address.is_in(str(ip), address.networks(f"{base}/{bits}")) == (ip in network)


@pytest.mark.parametrize(
    ("text", "is_there"), [("192.0.2.0/120", True), ("192.0.2.1", True), ("192.0.3.0/120", False), ("0:0/96", False)]
)
def test_a_network_of_mapped_addresses_is_one_of_ipv4(text: str, is_there: bool) -> None:
    assert address.is_in(address.parse("::ffff:192.0.2.1"), address.networks(f"::ffff:{text}")) == is_there


@pytest.mark.parametrize("text", ["10.0.0.0/33", "10/8", "fe80::/129", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/x", "mx"])
def test_a_wrong_network_is_named(text: str) -> None:
    with pytest.raises(address.Refused, match=text.replace("/", "/")):
        address.networks(f"192.0.2.0/24, {text}")


@pytest.mark.parametrize("name", ["127.0.0.1", "127.9.9.9", "::1", "169.254.1.1", "fe80::1", "febf::1"])
def test_by_default_no_grant_goes_to_loopback_or_link_local(name: str) -> None:
    assert address.is_in(name, Settings().never)


@pytest.mark.parametrize(
    "name", ["192.0.2.10", "10.0.0.1", "2001:db8::1", "fec0::1", "fd00::1", "128.0.0.1", "170.0.0.1"]
)
def test_by_default_others_get_one(name: str) -> None:
    assert not address.is_in(name, Settings().never)


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("192.0.2.10", "192.0.2.0/24"),
        ("192.0.2.255", "192.0.2.0/24"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8:0:0:ffff:ffff:ffff:ffff", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
    ],
)
def test_a_customers_network_is_a_64_of_ipv6_and_a_24_of_ipv4(name: str, network: str) -> None:
    assert address.network(name) == network
    assert address.is_in(address.parse(name), address.networks(network))


@pytest.mark.parametrize(
    ("key", "wider"),
    [
        ("192.0.2.10", ["192.0.2", "192.0", "192"]),
        ("connect:192.0.2.10", ["connect:192.0.2", "connect:192.0", "connect:192"]),
        (
            "ipv6:2001:db8:0:0:0:0:0:10",
            [
                f"ipv6:{g}"
                for g in [
                    "2001:db8:0:0:0:0:0",
                    "2001:db8:0:0:0:0",
                    "2001:db8:0:0:0",
                    "2001:db8:0:0",
                    "2001:db8:0",
                    "2001:db8",
                    "2001",
                ]
            ],
        ),
        ("2001:db8::10", ["2001:db8:", "2001:db8", "2001"]),
    ],
)
def test_the_networks_of_a_key_are_those_that_the_mta_asks_for(key: str, wider: list[str]) -> None:
    assert [found.decode() for found in address.wider(key.encode()) if found[-1:] != b":" or key[0] != "i"] == wider
