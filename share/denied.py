"""Whom hosts keep out, as they tell it to each other: a hash on the server, in which each has a field with its denials.

A field's lines are those of the file .denied in the stamp folder, but for the times, which are the server's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from popips.denials import FEWER, FOR_EVER, LARGEST, MOST, Denial
from popips.login import ELSEWHERE, plain
from popips.parsers import LONGEST_NAME, SERVICE

LONGEST = 12  # digits of a time in seconds since the epoch
LONGEST_BY = 50  # characters of an admin's name: with a host's behind it, word() leaves all of both
Convert = Callable[[float], float]  # from one clock's time to another's


class TooMany(Exception):
    """They cannot all be heeded, so that what was known before holds; str() names the host that has most, and cures."""


def pack(denied: Iterable[Denial], there: Convert) -> bytes:
    """Return a host's field; there: from its own clock to the server's."""
    return "".join(sorted(_moved(one, there, "").pack() for one in denied)).encode()


def heeded(fields: Mapping[bytes, bytes], known: Mapping[str, bytes], but: str, now: float) -> dict[str, bytes]:
    """Return what each host tells but for one of them, and of those that have no field what was known of them.

    now: by the server's clock.
    """
    there = of_hosts(fields)
    gone = {host: _live(lines, now) for host, lines in known.items() if host not in there}
    return {host: lines for host, lines in {**gone, **there}.items() if lines and host != but}


def merged(told: Mapping[str, bytes], now: float, here: Convert) -> bytes:
    """Return whom the hosts keep out, in the form of the file .denied.

    here: from the server's clock to this host's, which says now. What is no denial is left out. Raise TooMany.
    """
    bound(told)  # before any of it is looked into
    found: dict[tuple[str, str], Denial] = {}
    for host, lines in told.items():
        for one in _unpacked(lines):
            moved, key = _moved(one, here, f"{ELSEWHERE}{host}"), (one.text, host)
            if moved.until > now and (key not in found or found[key].until < moved.until):
                found[key] = moved
    packed = {key: found[key].pack() for key in sorted(found)}
    bound({host: "".join(packed[key] for key in packed if key[1] == host).encode() for host in told})  # it may grow
    return "".join(packed.values()).encode()


def by_hosts(data: bytes, there: Convert) -> dict[str, bytes]:
    """Return what merged() has made, by host, as each would tell it; there: from this host's clock to the server's."""
    found: dict[str, list[Denial]] = {}
    for one in _unpacked(data):
        if one.host:
            found.setdefault(one.host, []).append(Denial(one.text, one.until, plain(one.by.rpartition(ELSEWHERE)[0])))
    return {host: pack(denied, there) for host, denied in found.items()}


def bound(told: Mapping[str, bytes]) -> None:
    """Raise TooMany if hosts tell more than each login can look through."""
    number = sum(lines.count(b"\n") for lines in told.values())
    size = sum(len(lines) + lines.count(b"\n") * (LONGEST_NAME + 1) for lines in told.values())  # with their names
    if number <= MOST and size <= LARGEST:
        return
    first = max(told, key=lambda host: len(told[host]))
    cure = f"lift some there, for {FEWER}; if it is gone for good, popips-share(8) says how to lift all of them"
    raise TooMany(f"{number} denials, most of them by {first}; hosts can heed {MOST}: {cure}")


def of_hosts(fields: Mapping[bytes, bytes]) -> dict[str, bytes]:
    """Return what the hosts tell; a field that is none's is left out."""
    named = ((field.decode("ascii", "replace"), lines) for field, lines in fields.items())
    return {host: lines for host, lines in named if 0 < len(host) <= LONGEST_NAME and not host.strip(SERVICE)}


def _live(lines: bytes, now: float) -> bytes:
    return "".join(one.pack() for one in _unpacked(lines) if one.until > now).encode()


def _unpacked(lines: bytes) -> Iterator[Denial]:
    for line in lines.decode("ascii", "replace").split("\n"):  # and at no other sign, for by this one they are counted
        try:
            text, until, by = line.split(" ")
            if len(until) <= LONGEST:
                yield Denial(text, FOR_EVER if until == "-" else int(until), plain(by))
        except ValueError:  # address.Refused is one, too
            pass


def _moved(one: Denial, to: Convert, behind: str) -> Denial:
    until = FOR_EVER if one.until == FOR_EVER else round(to(one.until))
    return Denial(one.text, until, plain(one.by)[:LONGEST_BY] + behind)
