"""What comes over a connection, and what goes back: by a socket map of sendmail or Postfix, or by Postfix's policies.

A question and its answer on a socket map are netstrings, `MAP KEY` and `OK VALUE` or `NOTFOUND `: socketmap_table(5),
socket_map_lookup in sendmail's map.c. A policy request is lines NAME=VALUE and an empty one: SMTPD_POLICY_README.
"""

from __future__ import annotations

LONGEST = 4096  # bytes of a netstring: the longest key is a name of the DNS
LONGEST_POLICY = (
    16384  # bytes of a policy request: some thirty attributes, with the subject of a certificate among them
)
DIGITS = len(str(LONGEST))

OPEN, CLOSED = b"action=OK\n\n", b"action=DUNNO\n\n"  # of a policy request
NOT_FOUND = b"9:NOTFOUND ,"


class Garbage(Exception):
    """What came is no request, or longer than one can be: the connection is worth nothing."""


def netstrings(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the netstrings that are whole, and what is left; raise Garbage."""
    found, start = [], 0
    while start < len(data):
        colon = data.find(b":", start, start + DIGITS + 1)
        digits = data[start : start + DIGITS + 1] if colon < 0 else data[start:colon]
        if not digits.isdigit() or len(digits) > DIGITS or int(digits) > LONGEST:
            raise Garbage
        if colon < 0:
            break
        end = colon + 1 + int(digits)
        if len(data) <= end:
            break
        if data[end] != ord(","):
            raise Garbage
        found.append(data[colon + 1 : end])
        start = end + 1
    return found, data[start:]


def question(request: bytes) -> tuple[str, str]:
    """Return the map's name and the key of a request to a socket map; what is not ASCII is no key that there is."""
    name, _, key = request.decode("ascii", "replace").partition(" ")
    return name, key


def value(name: str) -> bytes:
    """Return the answer for an address that may relay, to the map of that name."""
    return b"5:OK OK," if name.startswith("postfix") else b"8:OK RELAY,"


def policies(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the policy requests that are whole, and what is left; raise Garbage."""
    *found, left = data.split(b"\n\n")
    if any(len(request) > LONGEST_POLICY for request in (*found, left)):
        raise Garbage
    return found, left


def client(request: bytes) -> str:
    """Return the address that a policy request asks for, at the RCPT; "" for each other request.

    An attribute that stands there twice is none of Postfix's.
    """
    found: dict[bytes, bytes] = {}
    for line in request.split(b"\n"):
        name, equals, text = line.partition(b"=")
        if not equals or name in found:
            return ""
        found[name] = text
    if (found.get(b"request"), found.get(b"protocol_state")) != (b"smtpd_access_policy", b"RCPT"):
        return ""
    return found.get(b"client_address", b"").decode("ascii", "replace")
