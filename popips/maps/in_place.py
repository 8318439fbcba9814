"""Hash and btree maps of the admin's, as makemap and postmap make them: looked up, and changed in place.

A change goes: the writers' lock, finish what a dead writer left, copy the map under its shared lock, let libdb change
the copy, journal the pages that differ, and write them into the map under its exclusive lock, if it is still the map
that was copied. The exclusive lock is held for some system calls; no fsync, no libdb and no other wait is under it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable

from popips.maps import Records
from popips.maps.base import Base, try_times, uninterrupted
from popips.maps.database import Copy
from popips.maps.errors import Busy, MapError, Unfinished, explained
from popips.maps.file import locked, missing
from popips.maps.journal import is_idle
from popips.maps.kinds import Task, exists
from popips.maps.pages import Change
from popips.maps.seal import state_of

Reader = Copy


class Writer(Base):
    """The one writer of such a map; see popips.maps.Writer."""

    def __init__(self, task: Task) -> None:
        """Take the writers' lock and finish what is left; raise Missing and others if there is no map to change."""
        if not exists(task.place.path):
            raise missing(task.place)  # and no journal is made beside it
        super().__init__(task)
        try:
            self._recover()
        except BaseException:
            self._journal.release()
            raise

    def _pause(self, seconds: float, until: float) -> None:
        super()._pause(seconds, until)
        self._recover()

    def _recover(self) -> None:
        change = self._journal.left()
        if change:  # where no byte of it was written, it is as if it had never been
            self._commit(change, lambda fd: not change.not_begun(fd) and change.begun(fd))
        if not is_idle(self._place):
            self._journal.clear()

    def look(self, step: Callable[[Records], None]) -> None:
        """Let step read the records as they are, and seal that state."""
        self._look(Copy(self._place, self._until), step)

    def rebuild(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Refuse: it holds records of the admin's."""
        raise MapError(f"{self._place}: is the admin's; {self._place.cure()}")

    def change(self, step: Callable[[Records], None], secure: Callable[[], None]) -> None:
        """Let step change the records of a copy, and bring that to the disk; once more if others changed the map."""
        while not self._attempt(step, secure):
            if time.monotonic() >= self._until:
                raise Busy(f"{self._place.path}: others keep changing it")

    def _attempt(self, step: Callable[[Records], None], secure: Callable[[], None]) -> bool:
        copy = Copy(self._place, self._until, flags=0)
        with copy as records:
            step(records)
            change = copy.changes()
        if not change:
            secure()
            return True
        self._journal.keep(change)
        try:
            secure()  # after the journal: file systems that log both write them at once
        except BaseException:
            self._journal.clear()
            raise
        try:
            done = self._commit(change, lambda fd: state_of(fd) == copy.state and change.not_begun(fd))
        except Unfinished:
            raise
        except MapError:
            self._journal.clear()  # nothing was written, or nothing of it is left
            raise
        self._journal.clear()
        return done

    def _commit(self, change: Change, may: Callable[[int], bool]) -> bool:
        """Write the change into the map if may(fd) says so under the exclusive lock; whether it did.

        Raise Unfinished if that fails, and the map is not as it was before.
        """
        file = locked(self._place, True, self._until)
        with file as fd, uninterrupted(), explained(self._place.path):
            start = time.monotonic()
            if not may(fd):
                return False
            old, seal = os.fstat(fd), self._seal(state_of(fd))
            try_times(fd)
            change.write(fd)
            try:
                self._renew(seal, fd, self._move(fd, old.st_mtime_ns))
                file.release()
                self.held = time.monotonic() - start
                os.fdatasync(fd)
            except OSError as error:
                raise Unfinished(f"{self._place.path}: cannot be written: {error.strerror}") from None
        return True
