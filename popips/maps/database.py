"""A file of Berkeley DB, hash or btree, as libdb has it open: its records, and a copy of a map for libdb to work on."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from signal import alarm

from popips.files import copy_file
from popips.maps.errors import NO_ROOM, Failed, MapError, explained, failure
from popips.maps.file import locked
from popips.maps.kinds import MOST, Place
from popips.maps.libdb import DB, DB_NOSYNC, DB_RDONLY, DB_UNKNOWN, DBError
from popips.maps.pages import Change
from popips.maps.seal import state_of

DAMAGE = (DBError, SystemError)  # the latter is how bsddb3's cursor fails on some bad pages, with no word on why
SYSTEMS = (errno.ENOMEM, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE, *NO_ROOM)  # a DBError that is no damage
LIBDB_LIMIT = 60  # seconds after which SIGALRM ends a process whose libdb goes round in circles in a damaged map
SLACK = 16 << 20  # bytes that a change may add to a small map


class _Limit:
    """In a `with`: a call of libdb, which ends the process if it goes on for too long."""

    def __enter__(self) -> None:
        alarm(LIBDB_LIMIT)

    def __exit__(self, *_: object) -> None:
        alarm(0)


LIMIT = _Limit()


class Records:
    """The records of an open database, in its own habit: with a NUL behind key and value, or without.

    sendmail and Postfix look a key up in both forms, but stay with the form of their first hit: a file that mixes
    the two loses keys. makemap writes none, postmap does.
    """

    def __init__(self, db: DB, nul: bytes, most: float = float("inf")) -> None:
        """nul: the habit, a NUL or nothing; see habit(). most: so many records there are at most."""
        self._db, self._nul, self._most = db, nul, most
        self.has_changed = False

    def get(self, key: bytes) -> bytes | None:
        """Return the value of the key, None if there is none."""
        with LIMIT:
            value: bytes | None = self._db.get(key + self._nul)
        return value if value is None else value.rstrip(b"\0")

    def put(self, key: bytes, value: bytes) -> None:
        """Put the record, in place of those that had the key."""
        self.delete(key)
        self.has_changed = True
        with LIMIT:
            self._db.put(key + self._nul, value + self._nul)

    def delete(self, key: bytes) -> None:
        """Take out all records of the key, if there are any."""
        with LIMIT:
            if self._db.has_key(key + self._nul):
                self.has_changed = True
                self._db.delete(key + self._nul)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Return all records, in the file's order."""
        cursor = self._db.cursor()
        with LIMIT:
            record = cursor.first()
        given = 0
        while record:
            yield record[0].rstrip(b"\0"), record[1].rstrip(b"\0")
            given += 1
            if given > self._most:  # the pages of a damaged map may go round in a circle
                raise DBError("more records than bytes")
            with LIMIT:
                record = cursor.next()


def habit(db: DB, place: Place) -> bytes:
    """Return the NUL that stands behind keys and values in a file that postmap made, nothing for one of makemap's."""
    with LIMIT:
        first = db.cursor().first()
    if first:
        return b"\0" if first[0].endswith(b"\0") else b""
    return place.nul


class Copy:
    """In a `with`: the records of a copy of a map in memory. Not even reading is done in the file itself.

    In a damaged map, libdb 5.3 writes pages while it reads: it opened the file again for that, DB_RDONLY or not.
    state: of the map when it was copied, under its shared lock.
    """

    def __init__(self, place: Place, until: float, flags: int = DB_RDONLY) -> None:
        """until: when to give up waiting for the lock, by time.monotonic()."""
        self._place, self._until, self._flags = place, until, flags
        self._copy = -1
        self.state = ""

    def __enter__(self) -> Records:
        """Copy and open it; raise Busy, Failed, MapError if it is damaged or no such map."""
        self._file, self._db = locked(self._place, False, self._until), DB()
        try:
            with explained(self._place.path, "copied"):
                self._take()
            with LIMIT:
                self._db.open(f"/proc/self/fd/{self._copy}", None, DB_UNKNOWN, self._flags)
            self._records = Records(self._db, habit(self._db, self._place), os.fstat(self._copy).st_size)
            return self._records
        except BaseException as error:
            self.__exit__(None, error, None)
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        try:
            with LIMIT:
                self._db.close(DB_NOSYNC)  # what was to be written, changes() has seen to
        except DAMAGE as damage:
            error = error or damage
        self._file.close()
        if self._copy >= 0:
            os.close(self._copy)
        if isinstance(error, DAMAGE):
            raise trouble(self._place, error) from None
        if isinstance(error, MemoryError):
            raise Failed(f"{self._place.path}: not enough memory") from None

    def _take(self) -> None:
        fd = self._file.fd
        size = os.fstat(fd).st_size
        if size >= MOST:
            cure = "name a map of popips' own (own_map = yes), which is changed in place"
            raise MapError(f"{self._place.path}: too big to be copied at each change ({size >> 20} MiB); {cure}")
        self._copy = os.memfd_create("popips")
        copy_file(fd, self._copy)
        self.state = state_of(fd)
        self._file.release()

    def changes(self) -> Change | None:
        """Return what libdb has changed in the copy, None if nothing; compared with the map as it is now."""
        if not self._records.has_changed:
            return None
        with LIMIT:
            self._db.sync()
        size, before = os.fstat(self._copy).st_size, os.fstat(self._file.fd).st_size
        if size > 4 * before + SLACK:  # a hash map doubles when it grows; more is nonsense from a bad page
            raise trouble(self._place, f"libdb made {size} bytes of it")
        with explained(self._place.path, "read"):
            return Change.between(self._file.fd, self._copy)


def trouble(place: Place, error: object) -> MapError:
    """Return what an error of libdb means for a map: the system refused something, or the map is damaged."""
    number = error.args[0] if isinstance(error, DBError) and error.args else 0
    if number in SYSTEMS:
        return failure(f"{place.path}: cannot be worked on", number, os.strerror(number))
    what = f"damaged, or of a version that this libdb does not read ({error})"
    return MapError(f"{place.path}: {what}; {place.cure()}")
