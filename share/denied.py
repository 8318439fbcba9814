"""Whom hosts keep out, as they tell it to each other: a hash on the server, in which each has a field with its denials.

A field's lines are those of the file .denied in the stamp folder, but for the times, which are the server's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from popips.denials import FEWER, FOR_EVER, LARGEST, MOST, Denial
from popips.login import ELSEWHERE, plain
from popips.parsers import LONGEST_NAME, SERVICE

LONGEST = 12  # digits of a time in seconds since the epoch
Convert = Callable[[float], float]  # from one clock's time to another's


class TooMany(Exception):
    """They cannot all be heeded, so that what was known before holds; str() names the host that has most, and cures."""


def pack(denied: Iterable[Denial], there: Convert) -> bytes:
    """Return a host's field; there: from its own clock to the server's."""
    return "".join(sorted(_moved(one, there, "").pack() for one in denied)).encode()


def merged(fields: Mapping[bytes, bytes], but: str, now: float, here: Convert) -> bytes:
    """Return whom the hosts keep out, but for one of them, in the form of the file .denied.

    here: from the server's clock to this host's, which says now. What is no denial is left out. Raise TooMany.
    """
    told = {host: lines for host, lines in _by_host(fields).items() if host != but}
    bound(told)
    found: dict[str, Denial] = {}
    for host, lines in told.items():
        for line in lines.decode("ascii", "replace").splitlines():
            one = _unpacked(line)
            if one is None:
                continue
            one = _moved(one, here, f"{ELSEWHERE}{host}")
            if one.until > now and (one.text not in found or found[one.text].until < one.until):
                found[one.text] = one
    return "".join(found[text].pack() for text in sorted(found)).encode()


def with_own(fields: Mapping[bytes, bytes], host: str, own: bytes) -> dict[str, bytes]:
    """Return what the hosts tell, and a host its own anew."""
    return {**_by_host(fields), host: own}


def bound(told: Mapping[str, bytes]) -> None:
    """Raise TooMany if hosts tell more than each login can look through."""
    number = sum(lines.count(b"\n") for lines in told.values())
    size = sum(len(lines) + lines.count(b"\n") * (LONGEST_NAME + 1) for lines in told.values())  # with their names
    if number <= MOST and size <= LARGEST:
        return
    first = max(told, key=lambda host: len(told[host]))
    cure = f"lift some there, for {FEWER}; if it is gone for good, popips-share(8) says how to lift all of them"
    raise TooMany(f"{number} denials, most of them by {first}; hosts can heed {MOST}: {cure}")


def _by_host(fields: Mapping[bytes, bytes]) -> dict[str, bytes]:
    """Return what the hosts tell; a field that is none's is left out."""
    named = ((field.decode("ascii", "replace"), lines) for field, lines in fields.items())
    return {host: lines for host, lines in named if 0 < len(host) <= LONGEST_NAME and not host.strip(SERVICE)}


def _unpacked(line: str) -> Denial | None:
    try:
        text, until, by = line.split(" ")
        if len(until) > LONGEST:
            return None
        return Denial(text, FOR_EVER if until == "-" else int(until), plain(by))
    except ValueError:  # address.Refused is one, too
        return None


def _moved(one: Denial, to: Convert, behind: str) -> Denial:
    until = FOR_EVER if one.until == FOR_EVER else round(to(one.until))
    return Denial(one.text, until, plain(one.by) + behind)
