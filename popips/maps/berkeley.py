"""Hash and btree files of Berkeley DB, as makemap and postmap make them: look up, and change in place.

A change goes: the writers' lock, finish what a dead writer left, copy the map under its shared lock, let libdb change
the copy, journal the pages that differ, and write them into the map under its exclusive lock, if it is still the map
that was copied. The exclusive lock is held for some system calls; no fsync, no libdb and no other wait is under it.
"""

from __future__ import annotations

import posix as os  # os itself costs a login two milliseconds
import pwd
import time
from _signal import SIG_BLOCK, SIG_SETMASK, SIGHUP, SIGINT, SIGTERM, alarm, pthread_sigmask  # type: ignore[import-not-found]
from _stat import S_ISREG

from popips.maps import KINDS, Busy, Failed, MapError, Missing, Place, Undone, exists, lock
from popips.maps.journal import Change, Locked, is_idle
from popips.maps.libdb import DB, DB_NOSYNC, DB_RDONLY, DB_UNKNOWN, DBError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DAMAGE = (DBError, SystemError)  # the latter is how bsddb3's cursor fails on some bad pages, with no word on why
MAGICS = {"hash": 0x061561, "btree": 0x053162}  # dbmeta.h: the magic stands at byte 12 of the first page
LIBDB_LIMIT = 60  # seconds after which SIGALRM ends a process whose libdb goes round in circles in a damaged map
TRUSTED_USER = "smmta"  # to whom Debian's makemap gives the maps that it makes (confTRUSTED_USER)
SLACK = 16 << 20  # bytes that a change may add to a small map
AHEAD = 60  # seconds that a map's mtime may run ahead of the clock


Moved = tuple[int, int]  # a map's mtime before and after a change, in ns


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

    def get(self, key: bytes) -> bytes | None:
        """Give the value of the key, None if there is none."""
        with LIMIT:
            value: bytes | None = self._db.get(key + self._nul)
        return value if value is None else value.rstrip(b"\0")

    def put(self, key: bytes, value: bytes) -> None:
        """Put the record, in place of those that had the key."""
        self.delete(key)
        with LIMIT:
            self._db.put(key + self._nul, value + self._nul)

    def delete(self, key: bytes) -> None:
        """Take out all records of the key, if there are any."""
        with LIMIT:
            if self._db.has_key(key + self._nul):
                self._db.delete(key + self._nul)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Give all records, in the file's order."""
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
    """Give the NUL that stands behind keys and values in an open database, or nothing: postmap's or makemap's habit."""
    first = db.cursor().first()
    if first:
        return b"\0" if first[0].endswith(b"\0") else b""
    return place.nul


class _Copy:
    """A copy of a map in memory, for libdb to work on. Not even reading is done in the file itself.

    In a damaged map, libdb 5.3 writes pages while it reads: it opened the file again for that, DB_RDONLY or not.
    """

    def __init__(self, place: Place, content: bytes, flags: int) -> None:
        self._place = place
        try:
            self._fd = os.memfd_create("popips")
        except OSError as error:
            raise Failed(f"{place.path}: cannot be copied: {error.strerror}") from None
        self._db = DB()
        try:
            os.write(self._fd, content)
            with LIMIT:
                self._db.open(f"/proc/self/fd/{self._fd}", None, DB_UNKNOWN, flags)
                self.records = Records(self._db, habit(self._db, place), len(content))
        except BaseException as error:
            self._close(error)
            raise

    def __enter__(self) -> _Copy:
        return self

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        self._close(error)

    def _close(self, error: BaseException | None) -> None:
        try:
            with LIMIT:
                self._db.close(DB_NOSYNC)  # what was to be written, content() has seen to
        except DAMAGE as damage:
            error = error or damage
        os.close(self._fd)
        if isinstance(error, DAMAGE):
            raise _damaged(self._place, error) from None

    def content(self, most: int) -> bytes:
        """Give the bytes, as libdb has written them by sync(); raise MapError if they are more than that."""
        with LIMIT:
            self._db.sync()
        size = os.fstat(self._fd).st_size
        if size > most:
            raise _damaged(self._place, f"libdb made {size} bytes of it")
        return os.pread(self._fd, size, 0)


class Reader:
    """The records of a map as they are now; `with Reader(...) as records`."""

    def __init__(self, place: Place, until: float) -> None:
        """Copy the map under its shared lock; raise Busy at `until` (time.monotonic()), MapError if it is unusable."""
        self._copy = _Copy(place, _content(place, until), DB_RDONLY)

    def __enter__(self) -> Records:
        return self._copy.records

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._copy.__exit__(kind, error, traceback)


class Writer(Locked):
    """The one writer of a map: holds the writers' lock, and has finished what another left when it died."""

    def __init__(self, place: Place, source: str, now: float, until: float) -> None:
        """Take the lock; raise Busy at `until` (time.monotonic()), MapError if map or journal cannot be used.

        source: the map's text file, "" if there is none. now: seconds since the epoch. Both are for the map's mtime.
        """
        self._place, self._source, self._now, self._until = place, source, now, until
        if not exists(place.path):
            raise _missing(place)
        super().__init__(place.path, until)
        try:
            self._recover()
        except BaseException:
            self._journal.release()
            raise

    def give_way(self, until: float) -> None:
        """Let other writers have their turn; raise Busy at `until`, MapError if what they have left is no good."""
        super().give_way(until)
        self._until = until
        self._recover()

    def _recover(self) -> None:
        if is_idle(self._place.path):
            return
        change = self._journal.left()
        if change:  # where no byte of it was written, it is as if it had never been
            self._commit(change, lambda fd: not change.not_begun(fd) and change.begun(fd))
        self._journal.clear()

    def change(
        self,
        step: Callable[[Records], None],
        ready: Callable[[], None] = lambda: None,
        still: Callable[[], bool] = lambda: True,
    ) -> Moved | None:
        """Let step change the records, and bring that to the disk; give how the map's mtime has moved, None if not.

        step may be called again, with fresh records, if the map was changed by others meanwhile. ready is called
        after step and before the map changes, to bring to the disk what must be there by then. still is asked under
        the exclusive lock; if it says no, step is called again, too. Raise Busy or MapError; the map is then as it
        was.
        """
        while True:
            change = Change.between(*self._changed_copy(step))
            if not change:
                ready()
                return None
            moved = self._attempt(change, ready, still)
            if moved:
                return moved
            if time.monotonic() >= self._until:
                raise Busy(f"{self._place.path}: others keep changing it")

    def _attempt(self, change: Change, ready: Callable[[], None], still: Callable[[], bool]) -> Moved | None:
        self._journal.keep(change)
        try:
            ready()  # after the journal: file systems that log both write them at once
        except BaseException:
            self._journal.clear()
            raise
        try:
            moved = self._commit(change, lambda fd: change.not_begun(fd) and still())
        except MapError as error:
            if isinstance(error, Undone) or not isinstance(error, Failed):
                self._journal.clear()  # nothing was written, or nothing of it is left
            raise
        self._journal.clear()
        return moved

    def _changed_copy(self, step: Callable[[Records], None]) -> tuple[bytes, bytes]:
        old = _content(self._place, self._until)
        with _Copy(self._place, old, 0) as copy:
            step(copy.records)
            # a hash map doubles when it grows; more is nonsense from a bad page
            return old, copy.content(most=4 * len(old) + SLACK)

    def _commit(self, change: Change, may: Callable[[int], bool]) -> Moved | None:
        """Write the change into the map if may(fd) says so under the exclusive lock; None if it does not."""
        fd = locked(self._place, exclusive=True, until=self._until)
        try:
            # a signal waits until the map is sound again
            mask = pthread_sigmask(SIG_BLOCK, (SIGHUP, SIGINT, SIGTERM))
            try:
                if not may(fd):
                    return None
                before = os.fstat(fd)
                change.write(fd)
                mtime = moved_mtime(before.st_mtime_ns, self._now, self._source_mtime())
                os.utime(fd, ns=(before.st_atime_ns, mtime))
            finally:
                pthread_sigmask(SIG_SETMASK, mask)
            lock.release(fd)
            os.fdatasync(fd)
            return before.st_mtime_ns, mtime
        except Undone as error:
            raise Undone(f"{self._place.path}: cannot be written: {error}") from None
        except OSError as error:
            raise Failed(f"{self._place.path}: cannot be written: {error.strerror}") from None
        finally:
            os.close(fd)

    def _source_mtime(self) -> int:
        try:
            return os.stat(self._source).st_mtime_ns
        except OSError:
            return 0


def moved_mtime(old_ns: int, now: float, source_ns: int) -> int:
    """Give the mtime, in ns, that shows a change to connections that have the map open.

    sendmail compares whole seconds, by > (db_map_lookup in map.c): the same second, or one before, is no change.
    source_ns: the mtime of the map's text. If that is newer than the map, an edit waits to be made: the map must
    not become newer than it, or make(1) would believe that there is nothing to do.
    """
    moved = min(max(int(now * 1e9), old_ns + 10**9), int((now + AHEAD) * 1e9))
    return min(moved, max(old_ns, source_ns - 1)) if source_ns > old_ns else moved


def opened(place: Place) -> int:
    """Open the map's file; raise Missing, Failed, or MapError if it is not a plain one of a user who may own it."""
    try:
        fd = os.open(place.path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise _missing(place) from None
    except OSError as error:
        raise Failed(f"{place.path}: cannot be opened: {error.strerror}") from None
    state = os.fstat(fd)
    if not S_ISREG(state.st_mode) or state.st_nlink > 1:  # 0: renamed over just now, as _locked will see
        os.close(fd)
        raise MapError(f"{place.path}: not a plain file; {_how_to_make(place)}")
    owners = (0, os.geteuid(), os.stat(place.folder).st_uid)
    if state.st_uid not in owners and state.st_uid != trusted_user():
        os.close(fd)
        who = f"neither root nor {TRUSTED_USER} nor its folder's"
        raise MapError(f"{place.path}: its owner is {who}; {_how_to_make(place)}")
    return fd


def trusted_user() -> int:
    """Give the uid that makemap gives maps to."""
    try:
        return pwd.getpwnam(TRUSTED_USER).pw_uid
    except KeyError:
        return 0


def locked(place: Place, exclusive: bool, until: float) -> int:
    """Open the file and lock the inode that the path names by then, for makemap's wrapper renames a new one over it."""
    while True:
        fd = opened(place)
        try:
            lock.take(fd, exclusive, until, place.path)
            ours, named = os.fstat(fd), os.stat(place.path, follow_symlinks=False)
            if (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino):
                _check_format(fd, place)
                return fd
        except FileNotFoundError:
            pass
        except OSError as error:
            os.close(fd)
            raise Failed(f"{place.path}: {error.strerror}") from None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _check_format(fd: int, place: Place) -> None:
    head = os.pread(fd, 20, 0)
    magics = int.from_bytes(head[12:16], "little"), int.from_bytes(head[12:16], "big")
    if MAGICS[place.kind] not in magics:
        what = "empty" if not head else f"not a {place.kind} file of Berkeley DB"
        raise MapError(f"{place.path}: {what}; {_how_to_make(place)}")


def _content(place: Place, until: float) -> bytes:
    fd = locked(place, exclusive=False, until=until)
    try:
        return os.pread(fd, os.fstat(fd).st_size, 0)
    except OSError as error:
        raise Failed(f"{place.path}: cannot be read: {error.strerror}") from None
    finally:
        os.close(fd)


def _missing(place: Place) -> Missing:
    return Missing(f"{place.path}: there is no such file; {_how_to_make(place)}")


def _damaged(place: Place, error: object) -> MapError:
    what = f"damaged, or of a version that this libdb does not read ({error})"
    return MapError(f"{place.path}: {what}; {_how_to_make(place)}")


def _how_to_make(place: Place) -> str:
    if place.own:
        return "popips-expire makes it anew"
    if place.source.endswith(tuple(KINDS.values())):
        return f"is it the right path? {place.source} is a map's own name"  # which makemap would overwrite
    if exists(place.source):
        return f"make it: {place.build(place.source)}"
    return f"is it the right path? an empty one is made by: {_empty(place)}"


def _empty(place: Place) -> str:
    return f"touch {place.source}; {place.build(place.source)}" if place.postfix else place.build("/dev/null")
