"""cdb, as sendmail's makemap makes it from the text: a new file, which takes the place of the old one by a rename.

makemap itself writes into the file that is there, which sendmail has mapped into its memory.
"""

from __future__ import annotations

import os

from popips.files import copy_file, opened
from popips.maps.errors import MapError, explained
from popips.maps.file import for_the_mta
from popips.maps.kinds import Place, exists
from popips.maps.seal import SECOND
from popips.maps.spawn import run, trouble

LAST = 2**33 * SECOND  # ns since the epoch: an mtime later than any; a file system without it takes its own latest one
FULL = os.strerror(-1)  # smcdb.c returns -1 where it cannot write, and makemap takes that for an errno
OLD = ".popips-old"  # behind the name of a map of which sendmail does not know yet that it is old
PROGRAMS = ("/usr/sbin/makemap", "/usr/bin/makemap", "/usr/local/sbin/makemap")


def make(place: Place) -> None:
    """Make the map; raise Full if there is no room, Failed, MapError if this sendmail has no such type."""
    new, old = f"{place.source}.new{place.row.suffix}", place.path + OLD
    if not exists(place.path):
        check_type(place)
    with explained(old):
        _outdate(old)
    with explained(new):
        _remove(new)  # a makemap whose caller was killed may still write into it
    try:
        status, said = _run(place, new)
        if status:
            check_type(place)
            raise trouble(f"{place}: makemap", status, said, FULL)
        with explained(place.path):
            _put_in_place(new, place, old)
    finally:
        with explained(new):
            _remove(new)


def check_type(place: Place) -> None:
    """Raise MapError if makemap lacks the type, or gives its files names that end in another way."""
    status, types = run(PROGRAMS, ["-x"])
    wanted = f"{place.kind}:{place.row.suffix[1:]}"
    if status == 0 and wanted not in types.split():
        found = f"makemap -x lists {' '.join(types.split())}, and not {wanted}"
        raise MapError(f"{place}: this sendmail has no such {place.kind}: {found}; name hash, or set map = mapd")


def _run(place: Place, new: str) -> tuple[int, str]:
    """Have makemap make a new file; return its exit status and what it says.

    It gives to sendmail's TrustedUser not the file but what it reads, a copy: smcdb.c leaves cdbmap_fd at 0.
    """
    with explained(place.source, "read"):
        copy = os.memfd_create("popips")
    try:
        with explained(place.source, "read"), opened(place.source) as text:
            copy_file(text, copy)
        return run(PROGRAMS, [place.kind, new], f"/proc/self/fd/{copy}")
    finally:
        os.close(copy)


def _put_in_place(new: str, place: Place, old: str) -> None:
    """Have the new file take the place of the old one; raise OSError.

    sendmail asks the file that it has open until that one's own mtime is newer (cdb_map_lookup in map.c). So the old
    one has another name until it is: whoever is killed in between leaves it to the next.
    """
    with opened(new) as fd:
        for_the_mta(fd, place)
        os.fsync(fd)
    try:
        with opened(place.path) as fd:
            _link(place.path, old)
            os.rename(new, place.path)
            _move(fd)
    except FileNotFoundError:
        os.rename(new, place.path)
    _remove(old)


def _link(path: str, name: str) -> None:
    try:
        os.link(path, name)
    except OSError:
        pass  # not every file system has links, and one that is full has no room for any


def _outdate(old: str) -> None:
    """Let who still has a file open see that it is old, and take its name away; raise OSError."""
    try:
        with opened(old) as fd:
            _move(fd)
    except FileNotFoundError:
        return
    os.unlink(old)


def _move(fd: int) -> None:
    """Have the mtime be newer than any that sendmail has seen, for it may have been set back meanwhile."""
    os.utime(fd, ns=(0, LAST))


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
