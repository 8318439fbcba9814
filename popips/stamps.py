"""The stamp folder: a file for each address that logged in, its mtime the time of the last login.

A stamp holds two lines: `KEY VALUE`, the record that was put for it, so that it is known again after key or value were
changed in popips.conf, and `USER SERVICE WRITER`, the latest login. The record stands first, for it is the same whoever
writes: lane.sh reads byte by byte, while another lane.sh may write. A stamp without the lines is valid.

Its mode says how far it has come: 0400 is pending, left while the map was locked, and nobody has seen yet whether the
address has a static record; 0700 is settled, its record was seen in the map, or put there; any other, one made by hand
for instance, is neither.
"""

from __future__ import annotations

import posix as os  # os itself costs a login two milliseconds
from _stat import S_ISREG, S_IWUSR, S_IXUSR

from popips import address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PENDING = 0o400
SEEN = 0o600
SETTLED = 0o700  # a bit that sh can test, too
LONGEST = 4096  # bytes: what a stamp holds is less, see popips.parsers.LONGEST_VALUE
SAFE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@+-/:%"  # what a word may hold as it is
RUN_FILE = ".expire"  # the expirer's own: locked while it runs, its mtime the begin of the last whole run
ASIDE = ".due-"  # before the name of a stamp that is being removed
TOLD = ".told-"  # and what has been told: a file for each thing, its mtime the last time
TOLD_FILES = {what: TOLD + what for what in ("expirer", "edit", "phase")}
LANE = ".lane"  # the fast lane's: see popips.lane
ALIVE = ".alive"  # its mtime is when the expirer counts as dead
DENIED = ".denied"  # whom the admin keeps out: see popips.denials
DENIED_NEW = ".denied-new"  # and the list while it is being written
OWN_FILES = frozenset((RUN_FILE, LANE, ALIVE, DENIED, DENIED_NEW, *TOLD_FILES.values()))
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


class StampError(Exception):
    """The stamp folder cannot be used; str() names it and the cure."""


class StampFailed(StampError):
    """Reading or writing a stamp failed: a full disk, an I/O error."""


class _Naming:
    """In a `with`: an OSError becomes a StampFailed that names the file."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, _: object) -> None:
        if isinstance(error, OSError):
            raise StampFailed(f"{self.path}: {error.strerror}") from None


class Line:
    """What a stamp holds: who logged in by which service (pop3, imap ...), who saw it, and the record put for it."""

    __slots__ = ("key", "service", "user", "value", "writer")

    def __init__(self, user: str, service: str, writer: str, key: str, value: str) -> None:
        """Take texts as they come from outside: of the first three only one printable word each is kept."""
        self.user, self.service, self.writer = word(user), word(service), word(writer)
        self.key, self.value = key, value

    def pack(self) -> bytes:
        """Write it as bytes that unpack() reads."""
        return f"{self.key} {self.value}\n{self.user} {self.service} {self.writer}\n".encode()

    @classmethod
    def unpack(cls, data: bytes) -> Line | None:
        """Read what pack() wrote; None for all else."""
        try:
            record, login = (line.decode("ascii") for line in data.split(b"\n", 2)[:2])
            if address.of_key(record.partition(" ")[0]) is None:  # as it was written before: all in one line
                user, service, _, record = record.split(" ", 3)
                login = f"{user} {service} "  # no writer: so the next login sees that it is to be written anew
                if address.of_key(record.partition(" ")[0]) is None:
                    return None
            user, service, writer = login.split(" ")
            key, value = record.split(" ", 1)
        except ValueError:
            return None
        return cls(user, service, writer, key, value) if (record + login).isprintable() else None


class Stamp:
    """A stamp as it was found: time of the last login in seconds since the epoch, and how far it has come."""

    __slots__ = ("pending", "settled", "time")

    def __init__(self, time: float, pending: bool, settled: bool) -> None:
        self.time, self.pending, self.settled = time, pending, settled

    @classmethod
    def of(cls, state: os.stat_result) -> Stamp:
        """Read it from the file's state."""
        return cls(state.st_mtime, not state.st_mode & S_IWUSR, bool(state.st_mode & S_IXUSR))


class Folder:
    """The stamp folder, open; use it in a `with`. Names are canonical addresses, as address.parse gives them."""

    def __init__(self, path: str) -> None:
        """Open it; raise StampError if it is missing, no folder, or somebody but root may write to it."""
        self.path = path
        try:
            self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise StampError(f"{path}: there is no such folder; make it: install -d -m 0700 {path}") from None
        except NotADirectoryError:
            raise StampError(f"{path}: not a folder; name another, or make it: install -d -m 0700 {path}") from None
        except OSError as error:
            raise StampFailed(f"{path}: cannot be opened as a folder: {error.strerror}") from None
        state = os.fstat(self.fd)
        if state.st_uid not in (0, os.geteuid()) or state.st_mode & 0o022:
            os.close(self.fd)
            cure = "if it is popips' own, make it root's with mode 0700, or else name another"
            raise StampError(f"{path}: others may write to it; {cure}")

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def naming(self, name: str) -> _Naming:
        """Let what fails in a `with` of this say which stamp it was."""
        return _Naming(f"{self.path}/{name}")

    def get(self, name: str) -> Stamp | None:
        """Look at a stamp; None if there is none, or if the file is not one (a link, a folder, another owner's)."""
        with self.naming(name):
            try:
                state = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
            except FileNotFoundError:
                return None
        return Stamp.of(state) if is_stamp(state) else None

    def renew(self, name: str, now: float) -> bool:
        """Set a stamp's time to now; tell whether it is there."""
        with self.naming(name):
            try:
                os.utime(name, (now, now), dir_fd=self.fd, follow_symlinks=False)
            except FileNotFoundError:
                return False
        return True

    def touch(self, name: str, when: float) -> None:
        """Make a file of popips' own, or set its time."""
        with self.naming(name):
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
            fd = os.open(name, flags, 0o600, dir_fd=self.fd)
            try:
                os.utime(fd, (when, when))
            finally:
                os.close(fd)

    def write(self, name: str, line: Line, now: float, pending: bool = False) -> None:
        """Make the stamp, or renew it and what it holds; one that is there and not pending never becomes so.

        On the disk it is only after sync(). Raise StampError if it cannot be made or is not a stamp.
        """
        with self.naming(name):
            fd, is_new = self._make(name, PENDING if pending else SEEN)
            try:
                if not pending:
                    os.fchmod(fd, SEEN)
                os.write(fd, line.pack())  # at once, and what stands behind it stays: somebody may write just now
                os.utime(fd, (now, now))
                if not is_new:
                    os.fsync(fd)  # its mode, and the record that it names, must be there before the record is
            finally:
                os.close(fd)

    def note(self, name: str, line: Line, now: float) -> None:
        """Set what a stamp holds, and its time, if it is there."""
        with self.naming(name):
            try:
                fd = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self.fd)
            except FileNotFoundError:
                return
            try:
                os.write(fd, line.pack())
                os.utime(fd, (now, now))
            finally:
                os.close(fd)

    def _make(self, name: str, mode: int) -> tuple[int, bool]:
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        while True:
            try:
                return os.open(name, flags | os.O_CREAT | os.O_EXCL, mode, dir_fd=self.fd), True
            except FileExistsError:
                pass
            try:
                fd = os.open(name, flags, dir_fd=self.fd)
                break
            except FileNotFoundError:
                pass  # removed in between
        if not is_stamp(os.fstat(fd)):
            os.close(fd)
            raise StampError(f"{self.path}/{name}: not a plain file of root: remove it")
        return fd, False

    def unsettle(self, name: str, durably: bool = True) -> None:
        """Make a stamp neither pending nor settled, on the disk, too, if it is to be durable; its time stays."""
        with self.naming(name):
            try:
                fd = os.open(name, READ, dir_fd=self.fd)
            except FileNotFoundError:
                return
            try:
                os.fchmod(fd, SEEN)
                if durably:
                    os.fsync(fd)
            finally:
                os.close(fd)

    def settle(self, name: str) -> None:
        """Say that a stamp's record is in the map, under the writers' lock of that; one that is pending stays so."""
        with self.naming(name):
            try:
                fd = os.open(name, READ, dir_fd=self.fd)
            except FileNotFoundError:
                return
            try:
                state = os.fstat(fd)
                if is_stamp(state) and not Stamp.of(state).pending:
                    os.fchmod(fd, SETTLED)
            finally:
                os.close(fd)

    def scan(self) -> Iterator[tuple[str, Stamp]]:
        """Give each stamp with its name; stamps moved aside, popips' own files and foreign ones are left out."""
        with self.naming(""), os.scandir(self.fd) as entries:
            for entry in entries:
                if entry.name[0] == "." or not address.is_canonical(entry.name):
                    continue
                try:
                    state = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if is_stamp(state):
                    yield entry.name, Stamp.of(state)

    def remove(self, name: str) -> None:
        """Remove a stamp, if it is there."""
        with self.naming(name):
            try:
                os.unlink(name, dir_fd=self.fd)
            except FileNotFoundError:
                pass

    def remove_if(self, name: str, is_due: Callable[[Stamp], bool]) -> bool:
        """Remove a stamp that is due, though a login may renew it at any moment; tell whether it is gone.

        Moved aside, it can no longer be renewed by its name: a login makes a new one, or has renewed it before.
        """
        with self.naming(name):
            try:
                os.rename(name, ASIDE + name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
            except FileNotFoundError:
                return False
        return self.finish_removal(name, is_due)

    def finish_removal(self, name: str, is_due: Callable[[Stamp], bool]) -> bool:
        """Remove for good what was moved aside, or put it back if it is not due; tell whether it is gone.

        One that is put back is not settled, for its record may be gone.
        """
        stamp = self.get(ASIDE + name)
        if stamp is None or is_due(stamp):
            self.remove(ASIDE + name)
            return True
        self.unsettle(ASIDE + name)
        with self.naming(name):
            os.rename(ASIDE + name, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        return False

    def sync(self) -> None:
        """Bring the stamps' names to the disk."""
        with self.naming(""):
            os.fsync(self.fd)

    def line(self, name: str) -> Line | None:
        """Give what a stamp holds; None if it is nothing, or not what popips writes for this address."""
        with self.naming(name):
            try:
                fd = os.open(name, READ, dir_fd=self.fd)
            except FileNotFoundError:
                return None
            try:
                line = Line.unpack(os.read(fd, LONGEST))
            finally:
                os.close(fd)
        return line if line and address.of_key(line.key) == name else None


def is_stamp(state: os.stat_result) -> bool:
    """Tell whether a file in the folder is one that popips, or the admin by hand, may have made."""
    return S_ISREG(state.st_mode) and state.st_uid in (0, os.geteuid()) and state.st_nlink == 1


def word(text: str) -> str:
    """Give a text from outside as one printable word of at most 64 characters, all that is unusual in it as %XX."""
    if text and not text.strip(SAFE):  # nearly always
        return text[:64]
    safe = "".join(c if c in SAFE else _escaped(c) for c in text[:64])
    return safe[:64] or "-"


def _escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape"))
