"""One address of a client: parse it, normalise it, refuse it; and its key in sendmail's access map.

This is on the way of every login: hence _socket and integers, where `ipaddress` would cost more than the rest.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton

LONGEST = 45  # an IPv4-mapped IPv6 address in full: RFC 4291, section 2.2
MAPPED = bytes(10) + b"\xff\xff"


class Refused(ValueError):
    """The text is no address that may be granted; str() of it is the reason."""


class Network:
    """A block of addresses: the first `bits` bits of `first`, which is packed (4 or 16 bytes)."""

    __slots__ = ("bits", "first", "prefix", "shift")

    def __init__(self, first: bytes, bits: int) -> None:
        self.first, self.bits = first, bits
        self.shift = 8 * len(first) - bits
        self.prefix = int.from_bytes(first, "big") >> self.shift

    def __str__(self) -> str:
        return _text(self.first) + (f"/{self.bits}" if self.bits < 8 * len(self.first) else "")


def _packed(text: str) -> bytes:
    """Return the 4 or 16 bytes of an address in text, IPv4-mapped as IPv4; raise Refused if it is none."""
    if len(text) > LONGEST:
        raise Refused("too long for an address")
    try:
        if ":" not in text:
            return inet_pton(AF_INET, text)
        packed = inet_pton(AF_INET6, text)
    except (OSError, ValueError):  # ValueError: a NUL, or bytes that are no text
        raise Refused("not an IPv4 or IPv6 address") from None
    return packed[12:] if packed.startswith(MAPPED) else packed


def _text(packed: bytes) -> str:
    return inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed)


def _is_in(packed: bytes, nets: tuple[Network, ...]) -> bool:
    number, length = int.from_bytes(packed, "big"), len(packed)
    for net in nets:  # noqa: SIM110 (any() takes twice as long, and a run asks for each of a million stamps)
        if number >> net.shift == net.prefix and length == len(net.first):
            return True
    return False


def parse(text: str) -> str:
    """Return the canonical text (RFC 5952, IPv4-mapped as IPv4) of a unicast address; raise Refused for all else.

    Names, ports, brackets, scopes, blanks and every shorthand of IPv4 (0x7f.1, 010.1.2.3) are refused.
    """
    packed = _packed(text)
    if packed != LOOPBACK and _is_in(packed, NOT_UNICAST):
        raise Refused("not a unicast address")
    return _text(packed)


def is_address(text: str) -> bool:
    """Whether parse() takes the text."""
    try:
        parse(text)
    except Refused:
        return False
    return True


def is_canonical(text: str) -> bool:
    """Whether the text is an address just as parse() writes it."""
    try:
        return parse(text) == text
    except Refused:
        return False


def networks(text: str) -> tuple[Network, ...]:
    """Return addresses and ADDRESS/BITS blocks, separated by blanks or commas; raise Refused, naming a wrong one."""
    found = []
    for word in text.replace(",", " ").split():
        base, slash, bits = word.partition("/")
        try:
            first = inet_pton(AF_INET6 if ":" in base else AF_INET, base)
        except (OSError, ValueError):
            raise Refused(f"{word}: not an address or ADDRESS/BITS") from None
        longest = 8 * len(first)
        if slash and not (bits.isascii() and bits.isdigit() and int(bits) <= longest):
            raise Refused(f"{word}: the number of bits goes from 0 to {longest}")
        shift = longest - (int(bits) if slash else longest)
        if first.startswith(MAPPED) and shift < 32:  # as parse() gives the addresses in it
            first, longest = first[12:], 32
        masked = int.from_bytes(first, "big") >> shift << shift
        found.append(Network(masked.to_bytes(len(first), "big"), longest - shift))
    return tuple(found)


# never one client's address: unspecified and "this network", multicast, reserved and broadcast (RFC 6890, RFC 5771);
# ::/96 holds the deprecated IPv4-compatible addresses (RFC 4291, 2.5.5.1), and the loopback address among them
NOT_UNICAST = networks("0.0.0.0/8 224.0.0.0/4 240.0.0.0/4 ::/96 ff00::/8")
LOOPBACK = bytes(15) + b"\1"


def is_in(address: str, nets: tuple[Network, ...]) -> bool:
    """Whether one of the networks holds the canonical address."""
    return _is_in(_packed(address), nets)


def number(address: str) -> tuple[int, int]:
    """Return the canonical address as a number, and how many bytes that has: 4 or 16."""
    packed = _packed(address)
    return int.from_bytes(packed, "big"), len(packed)


def key(address: str, style: str, compressed_ipv6: bool) -> bytes:
    """Return the key of a canonical address, in the style "bare", "connect" or "postfix".

    Postfix looks a client up by its address as it is, IPv6 compressed (access(5)).
    sendmail looks an IPv6 client up as "ipv6:" and eight groups in lower case without leading zeros, unless
    UseCompressedIPv6Addresses is set (anynet_ntop in its conf.c); "connect:" is the access map's own tag.
    """
    if style == "postfix":
        return address.encode()
    tag = "connect:" if style == "connect" else ""
    if ":" in address:
        packed = _packed(address)
        groups = [f"{packed[i] << 8 | packed[i + 1]:x}" for i in range(0, 16, 2)]
        address = "ipv6:" + (address if compressed_ipv6 else ":".join(groups))
    return (tag + address).encode()


def of_key(text: str) -> str | None:
    """Return the canonical address that a text is, or that it is a key of; None for any other text."""
    for tag in ("connect:", "ipv6:"):
        text = text[len(tag) :] if text.startswith(tag) else text
    return parse(text) if is_address(text) else None


def wider(key: bytes) -> list[bytes]:
    """Return the keys of the networks that the address of a key is in, as the MTA asks for them: access(5)."""
    text, found = key.decode(), []
    part = ":" if text.count(":") > 1 else "."
    while (text := text.rpartition(part)[0]) and not text.endswith("ipv6"):
        found.append(text.encode())
    return found


def network(address: str) -> str:
    """Return the network that one customer has, as a rule: the /64 of an IPv6 address, the /24 of an IPv4 address."""
    packed = _packed(address)
    return str(Network(packed[:8] + bytes(8), 64) if len(packed) == 16 else Network(packed[:3] + b"\0", 24))
