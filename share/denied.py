"""Whom hosts keep out, as they tell it to each other: a hash on the server, in which each has a field with its denials.

A field's lines are those of the file .denied in the stamp folder, but for the times, which are the server's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from popips.denials import FOR_EVER, Denial
from popips.login import plain
from popips.parsers import LONGEST_NAME, SERVICE

LONGEST = 12  # digits of a time in seconds since the epoch
Convert = Callable[[float], float]  # from one clock's time to another's


def pack(denied: Iterable[Denial], there: Convert) -> bytes:
    """Return a host's field; there: from its own clock to the server's."""
    return "".join(sorted(_moved(one, there, "").pack() for one in denied)).encode()


def merged(fields: Mapping[bytes, bytes], but: str, now: float, here: Convert) -> bytes:
    """Return whom the hosts keep out, but for one of them, in the form of the file .denied.

    here: from the server's clock to this host's, which says now. What is no denial is left out.
    """
    found: dict[str, Denial] = {}
    for field, lines in fields.items():
        host = field.decode("ascii", "replace")
        if host == but or host.strip(SERVICE) or len(host) > LONGEST_NAME:
            continue
        for line in lines.decode("ascii", "replace").splitlines():
            one = _unpacked(line)
            if one is None:
                continue
            one = _moved(one, here, f"@{host}")
            if one.until > now and (one.text not in found or found[one.text].until < one.until):
                found[one.text] = one
    return "".join(found[text].pack() for text in sorted(found)).encode()


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
