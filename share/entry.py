"""What hosts write into the stream: an entry has one field, FIELD, and the line `SIGN ADDRESS AGE USER SERVICE HOST`.

SIGN is + for a login, - for the end of all logins from an address up to then, ! for a change of what HOST denies, which
has no address. AGE is how many seconds ago that was when the entry was written; the entry's ID says when that was, in
milliseconds of the server's clock. HOST is a name, a slash, and which of the hosts of that name it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from popips import address
from popips.login import LONGEST_WORD, SAFE, plain, word
from popips.parsers import LONGEST_NAME, SERVICE
from share.identity import is_word

FIELD = b"e"
LOGIN, END, DENIALS = "+", "-", "!"
NOBODY = "-"  # in the place of what an entry has not
LONGEST = 2 * LONGEST_WORD + 2 * LONGEST_NAME  # bytes of a line: a user's and a service's name are all that is long
AHEAD = 60.0  # seconds that an ID may be ahead of the server's clock, which was put back


@dataclass(frozen=True)
class Entry:
    """What one host tells; time: of the login or end, in seconds since the epoch, by whichever clock is meant.

    by: which of the hosts of that name it is, "" if nobody says.
    """

    sign: str
    address: str
    time: float
    user: str
    service: str
    host: str
    by: str = ""


class Garbage(ValueError):
    """What stands in the stream is nothing that a host has written."""


class Future(Garbage):
    """An entry's ID is later than the server's clock, which was ahead; nobody can tell when it was written."""


def pack(entry: Entry, now: float) -> bytes:
    """Return the line; now: by the same clock as the entry's time."""
    age = max(0.0, now - entry.time)
    who = f"{word(entry.user)} {word(entry.service)} {entry.host}/{entry.by}"
    return f"{entry.sign} {entry.address or NOBODY} {age:.3f} {who}".encode()


def milliseconds(number: bytes) -> int:
    """Return the time that an ID says, by the server's clock."""
    return int(number.partition(b"-")[0])


def is_ahead(number: bytes, now: float) -> bool:
    """Whether an ID is one of the future; now: by the server's clock."""
    return milliseconds(number) / 1000 > now + AHEAD


def unpack(number: bytes, fields: object, now: float) -> Entry:
    """Return the entry with this ID, its time by the server's clock, which says now. Raise Garbage, or Future."""
    if not isinstance(fields, dict) or list(fields) != [FIELD]:
        raise Garbage("other fields")
    data = fields[FIELD]
    words = data.decode("ascii", "replace").split(" ") if len(data) <= LONGEST else []
    if len(words) != 6 or any(not text or text.strip(SAFE + "%!") for text in words):
        raise Garbage("no line of six words")
    sign, name, age, user, service, its = words
    host, _, by = its.partition("/")
    if sign not in (LOGIN, END, DENIALS):
        raise Garbage("no sign")
    if name != NOBODY if sign == DENIALS else not address.is_canonical(name):
        raise Garbage("no address of one client")
    if not host or host.strip(SERVICE) or len(host) > LONGEST_NAME or not (by == "" or is_word(by)):
        raise Garbage("no name of a host")
    if is_ahead(number, now):
        raise Future("a time in the future")
    name = "" if name == NOBODY else name
    return Entry(
        sign, name, min(milliseconds(number) / 1000, now) - _seconds(age), plain(user), plain(service), host, by
    )


def _seconds(age: str) -> float:
    whole, _, part = age.partition(".")
    if not (whole.isascii() and whole.isdigit() and part.isascii() and part.isdigit()) or len(age) > 15:
        raise Garbage("no age")
    return float(age)
