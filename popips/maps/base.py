"""What the writers of all kinds of maps have in common: the writers' lock, the seal, and the mtime."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from signal import SIG_BLOCK, SIG_SETMASK, SIGHUP, SIGINT, SIGTERM, pthread_sigmask
from typing import TYPE_CHECKING, Any

from popips.files import identity_of, opened
from popips.maps.errors import Unsound, explained
from popips.maps.file import locked
from popips.maps.journal import Journal
from popips.maps.kinds import Task
from popips.maps.lock import PAUSE, Locked, Wait
from popips.maps.seal import AHEAD, SECOND, UNKNOWN, Seal, moved, next_second, state_of
from popips.maps.text import Text

PATIENCE = 2.0  # seconds to wait for the writers' lock again

if TYPE_CHECKING:
    from popips.maps import Records
    from popips.maps.database import Copy


class Base:
    """A popips.maps.Writer but for the change itself."""

    def __init__(self, task: Task) -> None:
        """Take the writers' lock; raise Busy, NotNeeded or MapError."""
        self._place, self._until = task.place, task.until
        self._text = Text(task.text, task.place.postfix)
        self._began = task.now - time.monotonic()
        self._journal = Journal(task.place, Wait(task.until, task.gone))
        self.held = 0.0

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.release()

    def give_way(self, until: float) -> None:
        """Let other writers have their turn; raise Busy at `until` (time.monotonic())."""
        self._pause(2 * PAUSE, until)  # who waits looks at it every PAUSE

    def _pause(self, seconds: float, until: float) -> None:
        self._journal.release()
        time.sleep(seconds)
        self._journal.take(Wait(until))
        self._until = until

    def sealed(self) -> bool:
        """Whether nobody but popips has changed the map since it was last looked at, in this boot."""
        return self._seal() is not None

    def agrees(self) -> bool:
        """Whether it is known that the map says all that the admin's text says."""
        return not self._text.path or self._knows_text(self._seal())

    def _seal(self, state: str | None = None) -> Seal | None:
        """Return the seal if it holds; state: what the map is now, if that has been looked at."""
        seal = self._journal.seal
        return seal if seal and seal.map == (self._state() if state is None else state) else None

    def _sound(self, state: str | None = None) -> Seal:
        """Return the seal of a map of popips' own; raise Unsound if it does not hold. state: as for _seal()."""
        seal = self._seal(state)
        if not seal:
            raise Unsound(f"{self._place.path}: a change of it was not finished, or not made by popips")
        return seal

    def _state(self) -> str:
        """Return what the map is now, "" if there is none."""
        try:
            with opened(self._place.path) as fd:
                return self._state_of(fd)
        except OSError:
            return ""

    def _state_of(self, fd: int) -> str:
        return state_of(fd)

    def _look(self, copy: Copy, step: Callable[[Records], None]) -> None:
        """Let step read the records of a copy, and seal the state that it was made in."""
        with copy as records:
            step(records)
            seal = self._seal(copy.state)
            text = self._agreed(records, seal)
        self._journal.seal = Seal(copy.state, text, shown=_is_shown(seal))

    def _knows_text(self, seal: Seal | None) -> bool:
        return seal is not None and seal.text != UNKNOWN and seal.text == identity_of(self._text.path)

    def _agreed(self, records: Records, seal: Seal | None) -> str:
        """Return the identity of the text if the map says all that it says, else "-"."""
        if seal and self._knows_text(seal):
            return seal.text
        said = self._text.records().items()
        agrees = all((records.get(key) or b"").rstrip() == value for key, value in said)
        return self._text.identity if agrees else UNKNOWN

    def show(self) -> None:
        """Let connections that have the map open see what has changed; it may wait for the clock's next second."""
        if _is_shown(self._seal()):
            return
        with explained(self._place.path, "looked at"):
            wait = (next_second(os.stat(self._place.path).st_mtime_ns) - self._now()) / SECOND
        if 0 < wait <= 1:  # more: it is ahead of the clock, and moves on from there
            self._pause(wait, max(self._until, time.monotonic() + wait + PATIENCE))
        with self._locked() as fd, explained(self._place.path):
            seal = self._seal(self._state_of(fd))
            if not _is_shown(seal):
                self._advance(fd)
                self._renew(seal, fd, shown=True)

    def _advance(self, fd: int) -> None:
        """Move the mtime on by a second at least; the text's too, if that would hide an edit of it from make(1)."""
        old, text = os.fstat(fd), mtime_of(self._text.path)
        is_edited, new = old.st_mtime_ns < text, next_second(old.st_mtime_ns)
        if not is_edited:
            new = max(new, self._now())
        if is_edited and text <= new:
            os.utime(self._text.path, ns=(text, new + SECOND))  # first: whoever is killed here has hidden nothing
        os.utime(fd, ns=(old.st_atime_ns, new))

    def _move(self, fd: int, before: int) -> bool:
        """Move an open map's mtime on from what it was before a change, in ns; whether open connections see that."""
        # no make(1) looks at a map of our own, or at Postfix's, whose smtpd lives on from client to client
        ahead = AHEAD if self._place.own or self._place.postfix else 0
        mtime = moved(before, self._now(), mtime_of(self._text.path), ahead)
        os.utime(fd, ns=(os.fstat(fd).st_atime_ns, mtime))
        return mtime // SECOND > before // SECOND

    def _renew(self, seal: Seal | None, fd: int, shown: bool) -> None:
        """Seal what an open map is now, if the seal held before the change."""
        if seal:
            self._journal.seal = Seal(self._state_of(fd), seal.text, shown)

    def _locked(self) -> Locked | opened:
        return locked(self._place, True, self._until)

    def _now(self) -> int:
        """Return the time in ns."""
        return int((self._began + time.monotonic()) * 1e9)


class uninterrupted:  # noqa: N801 (used like a function)
    """In a `with`: signals that end a program wait until the map is sound again."""

    def __enter__(self) -> None:
        self._mask = pthread_sigmask(SIG_BLOCK, (SIGHUP, SIGINT, SIGTERM))

    def __exit__(self, *_: object) -> None:
        pthread_sigmask(SIG_SETMASK, self._mask)


def try_times(fd: int) -> None:
    """Set an open file's times to what they are; who may not do that must not begin to write."""
    state = os.fstat(fd)
    os.utime(fd, ns=(state.st_atime_ns, state.st_mtime_ns))


def mtime_of(path: str) -> int:
    """Return a file's mtime in ns, 0 if there is none."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _is_shown(seal: Seal | None) -> bool:
    return seal is not None and seal.shown
