"""A map of its own: a hash or btree file that holds nothing but grants, so that it can be made anew from the stamps.

libdb changes it in place, without a journal. PATH.popips is the writers' lock only, and says by its mtime, which is the
map's after each change, that nobody else has written to the map, and no change of it was left unfinished. Where that
does not hold, or the map is missing or damaged, Unsound is raised; popips.grants then has the map made anew.
"""

from __future__ import annotations

import posix as os  # os itself costs a login two milliseconds
import time
from _signal import SIG_BLOCK, SIG_SETMASK, SIGHUP, SIGINT, SIGTERM, pthread_sigmask  # type: ignore[import-not-found]
from _stat import S_ISREG

from popips.maps import Busy, Failed, MapError, Missing, Place, Unsound, berkeley, lock
from popips.maps.berkeley import DAMAGE, LIMIT, Moved, Records, moved_mtime
from popips.maps.journal import Locked
from popips.maps.libdb import DB, DB_CREATE, DB_NOSYNC, DB_UNKNOWN, IN_MEMORY, TYPES, DBEnv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MODE = 0o640  # as makemap has it


class Writer(Locked):
    """The one writer of the map, as berkeley.Writer is of others."""

    def __init__(self, place: Place, now: float, until: float) -> None:
        """Take the writers' lock; raise Busy at `until` (time.monotonic()). now: seconds since the epoch."""
        super().__init__(place.path, until)
        self._place, self._now, self._until = place, now, until
        self._database: _Database | None = None  # open from the first change on, while nobody else changes the map
        self._left: int | None = None  # the mtime, in ns, that the last change gave the map
        self.held = 0.0  # seconds for which the last change had the map's lock

    def __exit__(self, *_: object) -> None:
        if self._database:
            self._database.close()
        super().__exit__()

    def give_way(self, until: float) -> None:
        """Let other writers have their turn; raise Busy at `until`."""
        super().give_way(until)
        self._until = until

    def change(self, step: Callable[[Records], None], ready: object = None, still: object = None) -> Moved | None:
        """Let step change the records, under the map's exclusive lock; give how the map's mtime has moved.

        ready and still are for a map that must not be wrong after a power failure, and is copied to be changed.

        Raise Busy, or Unsound if the map has to be made anew first.
        """
        self._database = self._database or _Database()
        fd = self._locked()
        start = time.monotonic()
        mask = pthread_sigmask(SIG_BLOCK, (SIGHUP, SIGINT, SIGTERM))
        try:
            before = os.fstat(fd).st_mtime_ns
            self._journal.check_mark(before, self._place.path)
            if self._left not in (None, before):  # what libdb has in memory is no longer what is in the file
                self._database.close()
                self._database = _Database()
            self._database.change(fd, self._place.nul, step)
            after = self._left = self._moved(fd, before)
            lock.release(fd)
            return before, after
        except DAMAGE as error:
            raise Unsound(f"{self._place.path}: damaged ({error})") from None
        except OSError as error:
            raise Failed(f"{self._place.path}: cannot be written: {error.strerror}") from None
        finally:
            os.close(fd)
            pthread_sigmask(SIG_SETMASK, mask)
            self.held = time.monotonic() - start

    def _locked(self) -> int:
        try:
            return berkeley.locked(self._place, exclusive=True, until=self._until)
        except (Busy, Failed):
            raise
        except MapError as error:
            raise Unsound(str(error)) from None

    def rebuild(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Make the map anew, in the same file if there is one, with these records. Raise MapError."""
        if _is_file(self._place.source):
            cure = "own_map = yes is for a map that holds nothing else, and has no text: name another"
            raise MapError(f"{self._place.path}: made from {self._place.source}; {cure}")
        built = os.memfd_create("popips")
        try:
            db = DB()
            db.open(f"/proc/self/fd/{built}", None, TYPES[self._place.kind], DB_CREATE)
            made = Records(db, self._place.nul)
            for key, value in records:
                made.put(key, value)
            db.close()
            fd = self._opened()
            try:
                lock.take(fd, True, self._until, self._place.path)
                before = os.fstat(fd).st_mtime_ns
                _copy(built, fd)
                self._journal.clear()
                self._moved(fd, before)
                lock.release(fd)
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise Failed(f"{self._place.path}: cannot be written: {error.strerror}") from None
        finally:
            os.close(built)

    def _moved(self, fd: int, before: int) -> int:
        """Move the map's mtime on from what it was before the change, and the journal's with it."""
        mtime = moved_mtime(before, self._now, 0)
        os.utime(fd, ns=(mtime, mtime))
        self._journal.mark(mtime)
        return mtime

    def _opened(self) -> int:
        try:
            return berkeley.opened(self._place)
        except Missing:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            fd = os.open(self._place.path, flags, MODE)
            # sendmail trusts root's files; where it runs as another user, the group of the folder is its own
            os.fchown(fd, -1, os.stat(self._place.folder).st_gid)
            return fd


class _Database:
    """The map as libdb has it open.

    In an environment of its own, because libdb can then write what has changed without a sync. At the end it would
    make up for that, which takes as long as all the rest: it opens the file by its name once more, and syncs it. So it
    gets a name that is gone by then. What was not on the disk when the power failed is made anew, whatever it was.
    """

    def __init__(self) -> None:
        self._environment = DBEnv()
        self._environment.open(None, IN_MEMORY)
        self._db = DB(self._environment)
        self._records: Records | None = None
        self._fd = -1

    def close(self) -> None:
        """Forget what has not been written."""
        if self._fd >= 0:
            os.close(self._fd)
        for part, flags in ((self._db, DB_NOSYNC), (self._environment, 0)):
            try:
                part.close(flags)
            except DAMAGE:
                pass  # all that is to be known was raised by change()

    def change(self, fd: int, nul: bytes, step: Callable[[Records], None]) -> None:
        """Let step change the records of the open file, and write them; raise one of DAMAGE."""
        if not self._records:
            self._fd = os.dup(fd)
            with LIMIT:
                self._db.open(f"/proc/self/fd/{self._fd}", None, DB_UNKNOWN, 0)
            self._records = Records(self._db, nul)
        step(self._records)
        with LIMIT:
            self._environment.memp_trickle(100)
            if self._environment.memp_stat()[0]["page_dirty"]:
                self._db.sync()


def _is_file(path: str) -> bool:
    try:
        return S_ISREG(os.stat(path).st_mode)  # a stamp folder, say, may have that name
    except OSError:
        return False


def _copy(source: int, target: int) -> None:
    size, done = os.fstat(source).st_size, 0
    os.lseek(target, 0, 0)
    while done < size:
        done += os.sendfile(target, source, done, size - done)
    os.ftruncate(target, size)
