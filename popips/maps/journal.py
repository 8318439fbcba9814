"""What is about to be written into a map, kept beside it until it is there: PATH.popips.

libdb gives no crash safety without an environment that sendmail and makemap know nothing of: a process killed while
libdb wrote a page split lost a hundred records of others, and db_verify saw nothing. So libdb never writes into the
map itself. It changes a copy in memory; the pages in which the copy differs go, old and new, into the journal; when
that is on the disk, the new ones go into the map. Whoever takes the writers' lock next finishes what was begun.

The file stays between changes: its flock is the lock that lets one writer of popips in at a time. Its mode says whether
what it holds is to be finished: 0700 is done with, and kept only because new blocks for each change cost more than all
the rest of the journal; any other is not, unless the file is empty.
"""

from __future__ import annotations

import fcntl
import posix as os  # os itself costs a login two milliseconds
import time
from _stat import S_ISREG, S_IXUSR

from popips.maps import Busy, Failed, MapError, Undone, Unsound
from popips.maps.lock import PAUSE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

CHUNK = 4096  # bytes: what is compared and written as one
SECTOR = 512  # bytes: the least that a disk writes whole
ROOM = 1 << 16  # bytes of the journal that stay on the disk; a login's change takes less
LEFT, DONE = 0o600, 0o700
MAGIC = b"popips1\n"
PRIME = 2**61 - 1


class Change:
    """The chunks in which a map's new bytes differ from its old ones: (offset, old, new), and both sizes."""

    __slots__ = ("chunks", "new_size", "old_size")

    def __init__(self, old_size: int, new_size: int, chunks: list[tuple[int, bytes, bytes]]) -> None:
        self.old_size, self.new_size, self.chunks = old_size, new_size, chunks

    @classmethod
    def between(cls, old: bytes, new: bytes) -> Change | None:
        """Give what differs, page 0 always among it, for its uid and counters tell the map's state; None if nothing."""
        if old == new:
            return None
        chunks = []
        for offset in range(0, max(len(old), len(new)), CHUNK):
            before, after = old[offset : offset + CHUNK], new[offset : offset + CHUNK]
            if before != after or offset == 0:
                chunks.append((offset, before, after))
        return cls(len(old), len(new), chunks)

    def pack(self) -> bytes:
        """Write it as bytes that unpack() reads."""
        body = [_packed(self.old_size, self.new_size, len(self.chunks))]
        for offset, old, new in self.chunks:
            body += (_packed(offset, len(old), len(new)), old, new)
        content = b"".join(body)
        return MAGIC + _packed(_checksum(content)) + content

    @classmethod
    def unpack(cls, data: bytes) -> Change | None:
        """Read what pack() wrote; None if it is not whole, for then nothing has been written into the map either."""
        head, content = data[: len(MAGIC) + 8], data[len(MAGIC) + 8 :]
        if len(content) < 24 or head != MAGIC + _packed(_checksum(content)):
            return None
        old_size, new_size, count = _numbers(content, 0)
        chunks, at = [], 24
        for _ in range(count):
            offset, olds, news = _numbers(content, at)
            at += 24
            chunks.append((offset, content[at : at + olds], content[at + olds : at + olds + news]))
            at += olds + news
        return cls(old_size, new_size, chunks)

    def not_begun(self, fd: int) -> bool:
        """Tell whether the map still holds the old bytes wherever this changes it."""
        return os.fstat(fd).st_size == self.old_size and all(
            os.pread(fd, len(old), offset) == old for offset, old, _ in self.chunks
        )

    def begun(self, fd: int) -> bool:
        """Tell whether the map holds nothing but old and new bytes there: nobody else has written since."""
        for offset, old, new in self.chunks:
            there = os.pread(fd, CHUNK, offset)
            for at in range(0, len(there), SECTOR):
                sector = slice(at, at + SECTOR)
                if there[sector] not in (old[sector], new[sector], bytes(len(there[sector]))):
                    return False
        return True

    def write(self, fd: int) -> None:
        """Put the new bytes into the map: the pages added at its end first, page 0 last.

        Raise Undone if that fails and the old bytes could be put back, OSError if not even that.
        """
        try:
            for offset, _, new in reversed(self.chunks):
                _write_all(fd, new, offset)
            if self.new_size < self.old_size:
                os.ftruncate(fd, self.new_size)
        except OSError as error:
            for offset, old, _ in reversed(self.chunks):
                _write_all(fd, old, offset)
            os.ftruncate(fd, self.old_size)
            raise Undone(error.strerror) from None


def _packed(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(8, "little") for number in numbers)


def _numbers(data: bytes, at: int) -> tuple[int, int, int]:
    """Give the three numbers that stand there."""
    first, second, third = (int.from_bytes(data[n : n + 8], "little") for n in range(at, at + 24, 8))
    return first, second, third


def _checksum(data: bytes) -> int:
    """Give the bytes, read as one number, modulo a prime: it needs no import, and a torn write changes it."""
    return int.from_bytes(data + b"\1", "little") % PRIME


class Journal:
    """The journal of one map, open and locked."""

    def __init__(self, map_path: str, until: float) -> None:
        """Open or make the file and take the writers' lock; raise Busy at `until`, MapError if the file is unsafe."""
        self.path = journal_of(map_path)
        self.take(until)

    def take(self, until: float) -> None:
        """Take the lock again that was released."""
        while True:
            self.fd = _open(self.path)
            try:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                ours, named = os.fstat(self.fd), os.stat(self.path, follow_symlinks=False)
                if (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino):
                    return
            except (BlockingIOError, FileNotFoundError):
                pass
            except OSError as error:
                self.release()
                raise Failed(f"{self.path}: {error.strerror}") from None
            self.release()
            if time.monotonic() >= until:
                raise Busy(f"{self.path}: another writer keeps it locked")
            time.sleep(PAUSE)

    def release(self) -> None:
        """Let others write."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def check_mark(self, mtime: int, map_path: str) -> None:
        """Raise Unsound unless a map of its own has the mtime, in ns, that its last change by popips gave it."""
        if os.fstat(self.fd).st_mtime_ns != mtime:
            raise Unsound(f"{map_path}: a change of it was not finished, or not made by popips")

    def mark(self, mtime: int) -> None:
        """Note the mtime, in ns, that a map of its own has after a change."""
        os.utime(self.fd, ns=(mtime, mtime))

    def left(self) -> Change | None:
        """Give the change that a writer left when it died, if there is one."""
        state = os.fstat(self.fd)
        return None if _is_done(state) else Change.unpack(os.pread(self.fd, state.st_size, 0))

    def keep(self, change: Change) -> None:
        """Bring the change to the disk; raise Failed if that is not possible."""
        data = change.pack()
        try:
            _write_all(self.fd, data, 0)
            os.ftruncate(self.fd, len(data))
            os.fchmod(self.fd, LEFT)  # after the bytes: those of the change before are not to be taken for left
            os.fsync(self.fd)
        except OSError as error:
            self.clear()
            raise Failed(f"{self.path}: cannot be written: {error.strerror}") from None

    def clear(self) -> None:
        """Say that the map holds the change, or never will. Not synced: to write it once more does no harm."""
        try:
            os.fchmod(self.fd, DONE)
            if os.fstat(self.fd).st_size > ROOM:
                os.ftruncate(self.fd, ROOM)
        except OSError:
            pass  # for the same reason


class Locked:
    """What holds the writers' lock of a map; use it in a `with`."""

    def __init__(self, map_path: str, until: float) -> None:
        self._journal = Journal(map_path, until)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.release()

    def give_way(self, until: float) -> None:
        """Let other writers have their turn; raise Busy at `until` (time.monotonic())."""
        self._journal.release()
        time.sleep(2 * PAUSE)  # who waits looks at it every PAUSE
        self._journal.take(until)


def journal_of(map_path: str) -> str:
    """Give the path of a map's journal."""
    return map_path + ".popips"


def is_idle(map_path: str) -> bool:
    """Tell, without the lock, that no writer is at work on the map and none died there."""
    try:
        return _is_done(os.stat(journal_of(map_path), follow_symlinks=False))
    except FileNotFoundError:
        return True


def _is_done(state: os.stat_result) -> bool:
    return state.st_size == 0 or bool(state.st_mode & S_IXUSR)


def _open(path: str) -> int:
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        try:
            fd = os.open(path, flags)
        except FileNotFoundError:
            fd = os.open(path, flags | os.O_CREAT, LEFT)
            os.utime(fd, (0, 0))  # a map made just now might have the very same time: see popips.maps.own
            sync_folder(path.rpartition("/")[0])
    except FileNotFoundError:
        raise Failed(f"{path}: its folder is missing; make that, or name another map") from None
    except OSError as error:
        raise Failed(f"{path}: cannot be opened: {error.strerror}") from None
    state = os.fstat(fd)
    roots_own = state.st_uid in (0, os.geteuid()) and not state.st_mode & 0o022
    if not S_ISREG(state.st_mode) or state.st_nlink > 1 or not roots_own:
        os.close(fd)
        raise MapError(f"{path}: not a plain file of root that only root may write: remove it")
    return fd


def sync_folder(path: str) -> None:
    """Bring the names in the folder to the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes, offset: int) -> None:
    while data:
        done = os.pwrite(fd, data, offset)
        data, offset = data[done:], offset + done
