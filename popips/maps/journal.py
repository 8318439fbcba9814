"""The file beside a map, PATH.popips: the writers' lock, the seal, and what is about to be written into the map.

libdb gives no crash safety without an environment that sendmail and makemap know nothing of: a process killed while
libdb wrote a page split lost a hundred records of others, and db_verify saw nothing. So libdb never writes into the
admin's map itself. It changes a copy in memory; the pages in which the copy differs go, old and new, into the journal;
when that is on the disk, the new ones go into the map. Whoever takes the writers' lock next finishes what was begun.

The seal is a line at the start of the file, the change stands at CHANGE. The file's mode says whether that is to be
finished: 0700 is done with. ROOM bytes stay: new blocks for each change cost more than all the rest of the journal, and
where the disk is full, a change of few records is still possible.
"""

from __future__ import annotations

import os
from stat import S_IMODE, S_ISREG, S_IXUSR

from popips.files import sync_folder, write_all
from popips.maps.errors import Failed, MapError, explained
from popips.maps.kinds import Place
from popips.maps.lock import Locked, Wait
from popips.maps.pages import Change
from popips.maps.seal import Seal

CHANGE = 4096  # where the change begins: the seal is never in the same block
ROOM = CHANGE + (1 << 17)  # bytes
LEFT, DONE = 0o600, 0o700


class Journal:
    """The journal of one map, open and locked."""

    def __init__(self, place: Place, wait: Wait) -> None:
        """Open or make it and take the writers' lock; raise Busy or NotNeeded at the end of the wait, MapError."""
        self.path = place.journal
        self.take(wait)

    def take(self, wait: Wait) -> None:
        """Take the lock again that was released."""
        with explained(self.path, "locked"):
            self._file = Locked(self.path, self._opened, True, wait)
        self.make_room(ROOM)

    def release(self) -> None:
        """Let others write."""
        self._file.close()

    @property
    def seal(self) -> Seal | None:
        """The seal; whether it holds is another question."""
        return Seal.unpack(os.pread(self._file.fd, CHANGE, 0))

    @seal.setter
    def seal(self, seal: Seal) -> None:
        with explained(self.path):
            write_all(self._file.fd, seal.pack(), 0)

    def left(self) -> Change | None:
        """Return the change that a writer left when it died, if there is one."""
        state = os.fstat(self._file.fd)
        return None if _is_done(state) else Change.unpack(os.pread(self._file.fd, state.st_size, CHANGE))

    def keep(self, change: Change) -> None:
        """Bring the change to the disk; raise Full if there is no room for it, Failed."""
        fd = self._file.fd
        try:
            with explained(self.path):
                write_all(fd, change.pack(), CHANGE)
                os.fchmod(fd, LEFT)  # after the bytes: those of the change before are not to be taken for left
                os.fsync(fd)
        except BaseException:
            self.clear()
            raise

    def clear(self) -> None:
        """Say that the map holds the change, or never will. Not synced: to write it once more does no harm."""
        try:
            os.fchmod(self._file.fd, DONE)
            if os.fstat(self._file.fd).st_size > ROOM:
                os.ftruncate(self._file.fd, ROOM)
        except OSError:
            pass  # for the same reason

    def make_room(self, size: int) -> None:
        """Have the file be of that size, as long as there is room; a disk that is full now may have some later."""
        fd = self._file.fd
        there = os.fstat(fd).st_size
        if there < size:
            try:
                if there <= CHANGE:
                    os.fchmod(fd, DONE)  # it holds no change
                write_all(fd, bytes(size - there), there)
            except OSError:
                pass

    def give_room(self) -> None:
        """Let others have the room of the file; make_room() is to get it back."""
        with explained(self.path):
            os.ftruncate(self._file.fd, CHANGE)

    def _opened(self) -> int:
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            with explained(self.path, "opened"):
                try:
                    fd = os.open(self.path, flags)
                except FileNotFoundError:
                    fd = os.open(self.path, flags | os.O_CREAT, LEFT)
                    sync_folder(os.path.dirname(self.path))
        except Failed as error:
            if os.path.isdir(os.path.dirname(self.path)):
                raise
            raise Failed(f"{error}: its folder is missing; make that, or name another map") from None
        try:
            _check(fd, self.path)
        except BaseException:
            os.close(fd)
            raise
        return fd


def is_idle(place: Place) -> bool:
    """Whether, as far as can be told without the lock, no writer is at work on the map and none died there."""
    try:
        return _is_done(os.stat(place.journal, follow_symlinks=False))
    except FileNotFoundError:
        return True


def _is_done(state: os.stat_result) -> bool:
    return state.st_size <= CHANGE or bool(state.st_mode & S_IXUSR)


def _check(fd: int, path: str) -> None:
    state = os.fstat(fd)
    roots_own = state.st_uid in (0, os.geteuid()) and not S_IMODE(state.st_mode) & 0o022
    if not S_ISREG(state.st_mode) or state.st_nlink > 1 or not roots_own:
        raise MapError(f"{path}: not a plain file of root that only root may write: remove it")
