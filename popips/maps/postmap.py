"""lmdb and cdb, as Postfix's postmap makes them from the text."""

from __future__ import annotations

import os
import sys
from struct import calcsize

from popips.files import opened
from popips.maps.errors import Full, MapError
from popips.maps.kinds import Place
from popips.maps.spawn import run, trouble

PROGRAMS = ("/usr/sbin/postmap", "/usr/local/sbin/postmap")
TYPES = ("/usr/sbin/postconf", "/usr/local/sbin/postconf")
WORD = calcsize("P")  # bytes
SYSTEMS = os.sysconf("SC_PAGESIZE")  # bytes of a page, and so of LMDB's
TRANSACTION = 32 + 14 * WORD  # where LMDB has the number of its last transaction: MDB_page, MDB_meta in mdb.c


def make(place: Place) -> None:
    """Make the map; raise Full if there is no room, Failed, MapError if this Postfix has no such type."""
    before = _made(place)
    status, said = run(PROGRAMS, [place.name])
    if status and "unsupported dictionary type" in said:
        types = " ".join(run(TYPES, ["-m"])[1].split())
        cure = f"install postfix-{place.kind}, or name one of the types that it has"
        raise MapError(f"{place}: this Postfix has no {place.kind}: {cure}: {types}")
    if status:
        raise trouble(f"{place}: postmap", status, said)
    if _made(place) in (before, None):  # postmap does not look whether the transaction of an lmdb was written
        raise Full(f"{place}: postmap has not changed it, for want of room")


def _made(place: Place) -> tuple[int, int] | None:
    """Return what is another each time that a map is made: inode, last transaction of an lmdb; None if it was not yet.

    LMDB writes its two first pages in turns. Where that fails it puts the old number back, and leaves the rest.
    """
    try:
        with opened(place.path) as fd:
            inode, pages = os.fstat(fd).st_ino, [os.pread(fd, SYSTEMS, number * SYSTEMS) for number in range(2)]
    except OSError:
        return None
    if place.kind != "lmdb":
        return inode, 0
    last = max(int.from_bytes(page[TRANSACTION : TRANSACTION + WORD], sys.byteorder) for page in pages)
    return (inode, last) if last else None
