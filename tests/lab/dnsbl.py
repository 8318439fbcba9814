"""dnsbl.py ZONE: a name server on 127.0.0.1 that lists each client: all names in the zone are A 127.0.0.2."""

import socket
import struct
import sys

LISTED = struct.pack("!HHHIH4B", 0xC00C, 1, 1, 60, 4, 127, 0, 0, 2)  # RFC 1035, 4.1.3: the name asked for, A, IN
AUTHORITATIVE, NXDOMAIN, A = 0x8400, 3, 1


def reply(query: bytes, zone: bytes) -> bytes:
    """Return the answer to a query of one question."""
    end = query.index(b"\0", 12) + 5
    name, kind = query[12 : end - 4], int.from_bytes(query[end - 4 : end - 2], "big")
    is_listed = name.lower().endswith(zone)
    answers = int(is_listed and kind == A)
    flags = AUTHORITATIVE | (0 if is_listed else NXDOMAIN)
    return query[:2] + struct.pack("!5H", flags, 1, answers, 0, 0) + query[12:end] + LISTED * answers


zone = b"".join(bytes([len(label)]) + label.encode() for label in sys.argv[1].split(".")) + b"\0"
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind(("127.0.0.1", 53))
    while True:
        query, client = server.recvfrom(512)
        server.sendto(reply(query, zone), client)
