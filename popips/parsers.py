"""What may stand behind the = of a setting: a parser for each form, from its text to its value.

All of them raise ValueError, with what to write instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from popips.maps import MapError, Place

if TYPE_CHECKING:
    from collections.abc import Callable

Meaning = TypeVar("Meaning")
Value = TypeVar("Value")

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
SERVICE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"  # what a service's name may hold
LONGEST_VALUE = 3000  # characters
LONGEST_NAME = 100  # characters of what hosts and streams are called
LONGEST_WAIT = 2.0  # seconds: a login is not held up for longer, whatever it waits for


def one_of(first: str, second: str) -> Callable[[str], str]:
    """Return the parser that takes these two words."""

    def parse(text: str) -> str:
        if text not in (first, second):
            raise ValueError(f"write {first} or {second}")
        return text

    return parse


def unless(word: str, means: Meaning, parse: Callable[[str], Value]) -> Callable[[str], Meaning | Value]:
    """Return the parser that takes this word for what it means, and hands all else on."""
    return lambda text: means if text == word else parse(text)


def yes_or_no(text: str) -> bool:
    """Return whether it says yes."""
    if text not in ("yes", "no"):
        raise ValueError("write yes or no")
    return text == "yes"


def duration(text: str) -> float:
    """Return the seconds in a text like 90s, 15m, 2h, 1d or 1w."""
    number, unit = text[:-1], text[-1:]
    if unit not in UNITS or not number.isascii() or not number.replace(".", "", 1).isdigit():
        raise ValueError("write a number and a unit, s m h d or w: 15m")
    seconds = float(number) * UNITS[unit]
    if not 0 < seconds <= 366 * 86400:
        raise ValueError("a time is more than 0 and at most a year")
    return seconds


def wait(text: str) -> float:
    """Return the seconds that a login may wait for something."""
    seconds = duration(text)
    if seconds > LONGEST_WAIT:
        raise ValueError(f"at most {LONGEST_WAIT:g}s: a login must not be held up for longer")
    return seconds


def number(text: str) -> int:
    """Return a limit, 0 for none."""
    if not text.isascii() or not text.isdigit():
        raise ValueError("write a number, 0 for no limit")
    return int(text)


def place(text: str) -> Place:
    """Return the map at TYPE:PATH."""
    try:
        return Place.parse(text)
    except MapError as error:
        raise ValueError(str(error)) from None


def value(text: str) -> str:
    """Return the value of a record."""
    if not text.isprintable() or not text.isascii() or len(text) > LONGEST_VALUE:
        raise ValueError(f"write one line of ASCII, RELAY for instance, of at most {LONGEST_VALUE} characters")
    return text


def path(text: str) -> str:
    """Return an absolute path in its shortest form."""
    parts = text.split("/")
    if parts[0] or ".." in parts:
        raise ValueError("write an absolute path, without ..")
    return "/" + "/".join(part for part in parts if part not in ("", "."))


def services(text: str) -> tuple[str, ...]:
    """Return names of PAM services."""
    names = tuple(text.replace(",", " ").split())
    for name in names:
        if name.strip(SERVICE):
            raise ValueError(f"{name}: write the names of PAM services, pop3 and imap for instance, or all")
    return names


def group(text: str) -> str:
    """Return the name of a group."""
    if text.split() != [text]:
        raise ValueError("write the name of one group, or all")
    return text


def host(text: str) -> str:
    """Return the name that a host has among others."""
    if text.strip(SERVICE) or text[:1] in ("", ".", "-") or len(text) > LONGEST_NAME:
        raise ValueError(f"write a name of letters, digits, . _ and -, of at most {LONGEST_NAME} characters")
    return text


def stream(text: str) -> str:
    """Return the name of a stream."""
    if text.strip(SERVICE + ":{}") or len(text) > LONGEST_NAME:
        raise ValueError(f"write a name of letters, digits, : . _ and -, of at most {LONGEST_NAME} characters")
    return text


def engine(text: str) -> str:
    """Return where a Valkey or Redis server is, redis://[USER@]HOST:PORT[/NUMBER], or rediss:// for TLS."""
    scheme, _, rest = text.partition("://")
    place, slash, database = rest.partition("/")
    user, at, where = place.rpartition("@")
    name, _, port = where.rpartition(":")
    if ":" in user:
        raise ValueError("a password does not belong here: write it into a file, and name that as share_password_file")
    is_ipv6 = name.startswith("[") and name.endswith("]")
    letters, name = (SERVICE + ":", name[1:-1]) if is_ipv6 else (SERVICE, name)
    words = [name, *([user] if at else [])]
    numbers = [port, *([database] if slash else [])]
    if (
        scheme not in ("redis", "rediss")
        or any(not word or word.strip(letters) for word in words)
        or any(not number.isascii() or not number.isdigit() for number in numbers)
        or not 0 < int(port) < 1 << 16
    ):
        raise ValueError("write redis://HOST:PORT, or rediss://HOST:PORT for TLS")
    return text
