"""A map of its own: a hash or btree file that holds nothing but grants, so that it can be made anew from the stamps.

libdb changes it in place, without a journal. Where the seal does not hold, somebody else has written to the map, or a
change of it was left unfinished; then, and if the map is missing or damaged, Unsound is raised, and it is to be made
anew.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator

from popips.files import copy_file
from popips.maps import Records
from popips.maps.base import Base, try_times, uninterrupted
from popips.maps.database import DAMAGE, LIMIT, Copy, trouble
from popips.maps.database import Records as Opened
from popips.maps.errors import Busy, Failed, MapError, Missing, Unsound, explained
from popips.maps.file import for_the_mta, locked, opened
from popips.maps.kinds import Task
from popips.maps.libdb import DB, DB_CREATE, DB_FAST_STAT, DB_NOSYNC, DB_UNKNOWN, IN_MEMORY, TYPES, DBEnv
from popips.maps.lock import Locked, Wait
from popips.maps.seal import Seal, state_of

MODE = 0o640  # as makemap has it
MOMENT = 0.1  # seconds that a map which took long to be made may still wait for look-ups of the MTA
CACHE = 12 << 20  # bytes of libdb's cache for a map that is made anew; a smaller one writes its pages many times
Reader = Copy


class Writer(Base):
    """The one writer of such a map; see popips.maps.Writer."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._database: _Database | None = None  # open from the first change on, while nobody else changes the map
        self._left = ""  # the state in which the last change left the map

    def __exit__(self, *_: object) -> None:
        self._close()
        super().__exit__()

    def _close(self) -> None:
        if self._database:
            self._database.close()
        self._database = None

    def change(self, step: Callable[[Records], None], secure: Callable[[], None]) -> None:
        """Let step change the records while the MTA may read them; then keep it out, and change the map."""
        try:
            file = locked(self._place, False, self._until)
        except (Busy, Failed):
            raise
        except MapError as error:
            raise Unsound(str(error)) from None
        self.held = 0.0
        with file as fd:
            try:
                self._change(file, step, secure)
            except DAMAGE as error:
                self._close()
                told = trouble(self._place, error)
                is_whole = isinstance(told, Failed) and self._seal(state_of(fd))
                raise told if is_whole else Unsound(str(told)) from None
            except BaseException:
                self._close()  # what libdb has begun is not to be written by the next
                raise

    def _change(self, file: Locked, step: Callable[[Records], None], secure: Callable[[], None]) -> None:
        with explained(self._place.path):
            state = state_of(file.fd)
            seal = self._sound(state)
            if self._left != state:  # what libdb has in memory is not what is in the file
                self._close()
            database = self._database = self._database or _Database(file.fd, self._place.nul)
        changed = _Changed(database.records)
        step(changed)
        secure()
        if not changed.to:
            self._left = state
            return
        with explained(self._place.path, "locked"):
            file.exclude(Wait(self._until), self._place.path)
            if state_of(file.fd) != state:
                raise Unsound(f"{self._place.path}: somebody else has changed it, and it is popips' own")
        start = time.monotonic()
        with uninterrupted():
            self._write(file.fd, database, changed, seal)
        self.held = time.monotonic() - start

    def _write(self, fd: int, database: _Database, changed: _Changed, seal: Seal) -> None:
        with explained(self._place.path):
            old = os.fstat(fd)
            changed.apply()
            try:
                _take_room(fd, database.size())
            except OSError:
                self._renew(seal, fd, seal.shown)  # nothing has been written
                raise
            if database.write():
                self._renew(seal, fd, self._move(fd, old.st_mtime_ns))
            self._left = state_of(fd)

    def look(self, step: Callable[[Records], None]) -> None:
        """Let step read the records as they are; they are not to be trusted where they were not sealed before."""
        self._sound()
        self._look(Copy(self._place, self._until), step)

    def rebuild(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Make the map anew, in the same file if there is one, with these records."""
        self._place.refuse_text()
        self._close()
        with explained(self._place.path):
            built = os.memfd_create("popips")
        try:
            self._build(built, pairs)
            path, wait = self._place.path, Wait(max(self._until, time.monotonic() + MOMENT))
            with explained(path), Locked(path, self._opened, True, wait) as fd, uninterrupted():
                old = os.fstat(fd)
                try_times(fd)
                _take_room(fd, os.fstat(built).st_size)  # if there is none, the old map stays whole
                copy_file(built, fd)
                shown = self._move(fd, old.st_mtime_ns)
                self._journal.seal = Seal(state_of(fd), shown=shown)
        except DAMAGE as error:
            raise trouble(self._place, error) from None
        finally:
            os.close(built)

    def _build(self, fd: int, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Make a database of these records in an empty file."""
        db, nul = DB(), self._place.nul
        db.set_cachesize(0, CACHE)
        db.open(f"/proc/self/fd/{fd}", None, TYPES[self._place.kind], DB_CREATE)
        try:
            for key, value in pairs:
                db.put(key + nul, value + nul)
        finally:
            db.close()

    def _opened(self) -> int:
        """Open the map's file, made if it is missing."""
        try:
            return opened(self._place)
        except Missing:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            fd = os.open(self._place.path, flags, MODE)
            for_the_mta(fd, self._place)
            return fd


class _Changed:
    """Records, and what is to become of them; libdb itself, changing some, may cut the file off at once."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self.to: dict[bytes, bytes | None] = {}  # keys, and the values that they are to have, if any

    def get(self, key: bytes) -> bytes | None:
        """Return the value of the key, None if there is none."""
        return self.to[key] if key in self.to else self._records.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Put the record, in place of those that had the key."""
        self.to[key] = value

    def delete(self, key: bytes) -> None:
        """Take out all records of the key, if there are any."""
        self.to[key] = None

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Return all records."""
        yield from (record for record in self._records.items() if record[0] not in self.to)
        yield from ((key, value) for key, value in self.to.items() if value is not None)

    def apply(self) -> None:
        """Have libdb change the records."""
        for key, value in self.to.items():
            if value is None:
                self._records.delete(key)
            else:
                self._records.put(key, value)


class _Database:
    """The map as libdb has it open.

    In an environment of its own, because libdb can then write what has changed without a sync. At the end it would
    make up for that, which takes as long as all the rest: it opens the file by its name once more, and syncs it. So it
    gets a name that is gone by then. What was not on the disk when the power failed is made anew, whatever it was.
    """

    def __init__(self, fd: int, nul: bytes) -> None:
        """Open the map that is open already; raise one of DAMAGE."""
        self._environment = DBEnv()
        self._environment.open(None, IN_MEMORY)
        self._db = DB(self._environment)
        self._fd = os.dup(fd)
        self.records: Records = Opened(self._db, nul)
        try:
            with LIMIT:
                self._db.open(f"/proc/self/fd/{self._fd}", None, DB_UNKNOWN, 0)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Forget what has not been written."""
        os.close(self._fd)
        for part, flags in ((self._db, DB_NOSYNC), (self._environment, 0)):
            try:
                part.close(flags)
            except DAMAGE:
                pass  # all that is to be known was raised by then

    def size(self) -> int:
        """Return how many bytes the file has, or will have when all is written."""
        with LIMIT:
            told = self._db.stat(DB_FAST_STAT)
        return int(told["pagecnt"]) * int(told["pagesize"])

    def write(self) -> bool:
        """Write what has changed; whether anything had."""
        with LIMIT:
            if not self._environment.memp_stat()[0]["page_dirty"]:
                return False
            try_times(self._fd)
            self._environment.memp_trickle(100)
            if self._environment.memp_stat()[0]["page_dirty"]:
                self._db.sync()
        return True


def _take_room(fd: int, size: int) -> None:
    """Have the file grow to that size with blocks of its own; raise OSError, and the size is as it was."""
    state, system = os.fstat(fd), os.fstatvfs(fd)
    if size <= state.st_size:
        return
    if size - state.st_size > system.f_bfree * system.f_frsize:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    try:
        os.posix_fallocate(fd, state.st_size, size - state.st_size)
    except OSError:
        os.ftruncate(fd, state.st_size)
        os.utime(fd, ns=(state.st_atime_ns, state.st_mtime_ns))
        raise
