"""What the words mean that the admin writes: addresses, and the keys of records."""

from __future__ import annotations

import re
import sys

from popips import address, command, form
from popips.settings import Settings

FROM_STANDARD_INPUT = "If an argument is -, arguments are read from standard input, one per line."
OF_RECORDS = FROM_STANDARD_INPUT[:-1] + "; for ins a line is ADDRESS or KEY VALUE."


def arguments(words: list[str]) -> list[str]:
    """Return the arguments, with the lines of standard input in place of each "-"."""
    found: list[str] = []
    for word in words:
        found += [line.strip() for line in sys.stdin if line.strip()] if word == "-" else [word]
    return found


def like_an_address(word: str) -> bool:
    """Whether a word is an address, a part of one or a network, or was meant to be."""
    return bool(re.fullmatch(r"[0-9a-fA-F.:]*[.:][0-9a-fA-F.:]*(/[0-9]*|%\w*)?", word))


def canonical(word: str, cure: str = "write an address") -> str:
    """Return the canonical form of an address; raise UsageError with the cure if it is none."""
    try:
        return address.parse(word)
    except address.Refused as reason:
        raise command.UsageError(f"{word}: {reason}; {cure}") from None


def address_of(word: str) -> str:
    """Return the address that a word is, or that it is the key of; raise UsageError if it is neither."""
    return address.of_key(word.lower()) or canonical(word)


def network(word: str) -> address.Network:
    """Return the network, or address, that a word is; raise UsageError if it is neither."""
    try:
        (found,) = address.networks(word)
    except ValueError as reason:
        raise command.UsageError(f"{word}: {reason}; write ADDRESS/BITS") from None
    return found


def host_bits(word: str) -> list[str]:
    """Return a warning where a word has an address in the place of a network, as 203.0.113.5/24 does."""
    base, slash, _ = word.partition("/")
    if not slash or network(word).first == network(base).first:
        return []
    return [f"{word}: taken for the network {network(word)}; for the address alone write {base}"]


def normal_key(settings: Settings, text: str) -> str:
    """Return the key by which the MTA asks for what a text says: lower case, and an IPv6 address in its own form."""
    text = text.lower()
    name = address.of_key(text)
    style = "connect" if text.startswith("connect:") else "postfix" if settings.mta == "postfix" else "bare"
    return address.key(name, style, settings.compressed_ipv6).decode() if name else text


def keys(settings: Settings, text: str) -> list[str]:
    """Return the keys that a text names: as it is written, for somebody may have put it so, and as the MTA asks."""
    return list(dict.fromkeys([text.lower(), normal_key(settings, text)]))


def forms(settings: Settings, text: str) -> list[str]:
    """Return the keys that a text may stand for: itself, or the keys of the address that it is."""
    if not address.is_address(text):
        return keys(settings, text)
    name = address.parse(text)
    ours, _ = form.of(settings).record(name)
    asked = (ours, *reversed(form.keys(settings, name)))
    return list(dict.fromkeys([*(key.decode() for key in asked), text.lower()]))
