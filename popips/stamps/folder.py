"""The stamp folder, open: each way in which popips looks at a file in it, or changes one."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EISDIR, ELOOP, ENXIO, EPERM
from stat import S_ISREG, S_IXUSR
from typing import TypeVar

from popips import address
from popips.files import READ, WRITE, opened, write_all
from popips.login import Login, unpack
from popips.paste import quoted
from popips.stamps import NEW, SETTLED, UNSETTLED, Stamp, StampError, StampFailed, StampStuck, stamp_of

LONGEST = 4096  # bytes: what a stamp holds is less, see popips.login
CHUNK = 1 << 16  # bytes to read at once
LARGEST = 1 << 24  # bytes of a file of popips' own: none gets near that but the register
Said = TypeVar("Said")


class _Naming:
    """In a `with`: an OSError becomes a StampFailed that names the file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, _: object) -> None:
        if isinstance(error, OSError):
            failed = StampStuck if error.errno == EPERM else StampFailed
            raise failed(f"{self.path}: {error.strerror}") from error


class Folder:
    """The stamp folder; use it in a `with`. Names of stamps are canonical addresses, as address.parse gives them."""

    def __init__(self, path: str) -> None:
        """Open it; raise StampError if it is missing, no folder, or somebody but root may write to it."""
        self.path = path
        self.stuck: set[str] = set()  # stamps that could not be changed
        self.fd = self._opened(path)

    def _opened(self, path: str) -> int:
        cure = f"make it: install -d -m 0700 {quoted(path)}"
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise StampError(f"{path}: there is no such folder; {cure}") from None
        except NotADirectoryError:
            if os.path.islink(path):
                real = os.path.realpath(path)
                raise StampError(f"{path}: a symbolic link to {real}; name that in popips.conf (stamps)") from None
            raise StampError(f"{path}: not a folder; name another in popips.conf (stamps), or {cure}") from None
        except OSError as error:
            raise StampFailed(f"{path}: cannot be opened as a folder: {error.strerror}") from error
        state = os.fstat(fd)
        if state.st_uid not in (0, os.geteuid()) or state.st_mode & 0o022:
            os.close(fd)
            cure = "if it is popips' own, make it root's with mode 0700, or else name another"
            raise StampError(f"{path}: others may write to it; {cure}")
        return fd

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def naming(self, name: str) -> _Naming:
        """In a `with` of this, what fails says which file it was."""
        return _Naming(f"{self.path}/{name}")

    # ---- stamps

    def get(self, name: str) -> Stamp | None:
        """Return the stamp of an address, None if it has none."""
        state = self.state(name)
        return state and stamp_of(state)

    def scan(self) -> Iterator[tuple[str, Stamp]]:
        """Return each stamp with its name; popips' own files and foreign ones are left out."""
        return self._each(stamp_of)

    def _each(self, said_by: Callable[[os.stat_result], Said]) -> Iterator[tuple[str, Said]]:
        """Return what each file says that is named by an address, with that."""
        with self.naming(""), os.scandir(self.fd) as entries:
            for entry in entries:
                if entry.name[0] == "." or not address.is_canonical(entry.name):
                    continue
                try:
                    state = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                yield entry.name, said_by(state)

    def login(self, name: str) -> Login | None:
        """Return who logged in last from the address; None if its stamp does not say."""
        return unpack(self.read(name, LONGEST))

    def make(self, name: str, login: Login, time: float) -> None:
        """Make the stamp, unsettled; what is no plain file is put out of the way. On the disk it is after sync()."""
        with self.naming(name):
            try:
                self._write(name, os.O_CREAT, login, time)
            except OSError as error:
                if error.errno not in (ELOOP, EISDIR, ENXIO):
                    raise
                try:
                    self.remove(name)
                except StampFailed:  # a folder with something in it, which each run calls foreign from now on
                    os.rename(name, f"{name}.odd-{time:.0f}", src_dir_fd=self.fd, dst_dir_fd=self.fd)
                self._write(name, os.O_CREAT | os.O_EXCL, login, time)

    def renew(self, name: str, login: Login | None, time: float) -> bool:
        """Set the time of a stamp, and who logged in last if that is told; return whether it is there, and settled.

        That is asked after the change: who ends a grant unsettles its stamp first, and looks at its time after that.
        """
        try:
            with self.naming(name):
                try:
                    inode = self._write(name, 0, login, time)
                except FileNotFoundError:
                    return False
        except StampStuck:
            self.stuck.add(name)
            return False
        state = self.state(name)
        return state is not None and state.st_ino == inode and bool(state.st_mode & S_IXUSR)

    def _write(self, name: str, flags: int, login: Login | None, time: float) -> int:
        with opened(name, WRITE | flags, UNSETTLED, self.fd) as fd:
            if login:
                os.write(fd, login.pack())  # at once, and what stands behind it stays: somebody may write just now
            os.utime(fd, (time, time))
            return os.fstat(fd).st_ino

    def unsettle(self, name: str) -> None:
        """Have the next login from the address take the long way, until the stamp is settled again."""
        self._set_mode(name, UNSETTLED)

    def settle(self, name: str) -> None:
        """Note in the stamp that its record is in the map."""
        self._set_mode(name, SETTLED)

    def _set_mode(self, name: str, mode: int) -> None:
        # not by way of open(2): a stamp may be a fifo, or a link, which no mode stands for
        state = self.state(name)
        if state and S_ISREG(state.st_mode):
            try:
                with self.naming(name):
                    os.chmod(name, mode, dir_fd=self.fd)
            except StampStuck:  # then no login can renew it, either
                self.stuck.add(name)

    # ---- any file in it

    def state(self, name: str) -> os.stat_result | None:
        """Return what lstat(2) says of a file, None if there is none."""
        with self.naming(name):
            try:
                return os.stat(name, dir_fd=self.fd, follow_symlinks=False)
            except FileNotFoundError:
                return None

    def time_of(self, name: str) -> float | None:
        """Return the mtime of a file in seconds since the epoch, None if there is none."""
        state = self.state(name)
        return state and state.st_mtime

    def touch(self, name: str, time: float) -> None:
        """Make a file, or set its time."""
        with self.naming(name), opened(name, WRITE | os.O_CREAT, within=self.fd) as fd:
            os.utime(fd, (time, time))

    def read(self, name: str, most: int = LARGEST) -> bytes:
        """Return up to so many bytes of a file, none if there is no such file or it is no plain one."""
        with self.naming(name):
            try:
                with opened(name, READ, within=self.fd) as fd:
                    parts, left = list[bytes](), most
                    while left and (more := os.read(fd, min(CHUNK, left))):
                        parts.append(more)
                        left -= len(more)
                    return b"".join(parts)
            except (FileNotFoundError, IsADirectoryError):
                return b""
            except OSError as error:
                if error.errno != ELOOP:
                    raise
                return b""

    def replace(self, name: str, data: bytes, durably: bool = False) -> None:
        """Put a file there with this content, or in the place of one; if that fails, the old one stays."""
        new = name + NEW
        with self.naming(name):
            with opened(new, WRITE | os.O_CREAT | os.O_TRUNC, within=self.fd) as fd:
                write_all(fd, data)
                if durably:
                    os.fsync(fd)
            try:
                os.rename(new, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
            except IsADirectoryError:
                self.remove(name)
                os.rename(new, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        if durably:
            self.sync()

    @contextmanager
    def editing(self, name: str) -> Iterator[None]:
        """Keep other programs of the admin's from changing a list of his in a `with`; raise StampError if one does."""
        with self.naming(name):
            try:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StampError(f"{self.path}/{name}: another popips-db is changing it; try again") from None
            try:
                yield
            finally:
                fcntl.flock(self.fd, fcntl.LOCK_UN)

    def remove(self, name: str) -> bool:
        """Remove a file, or an empty folder; return whether there was one."""
        with self.naming(name):
            try:
                os.unlink(name, dir_fd=self.fd)
            except FileNotFoundError:
                return False
            except IsADirectoryError:
                os.rmdir(name, dir_fd=self.fd)
        return True

    def sync(self) -> None:
        """Bring the names in the folder to the disk."""
        with self.naming(""):
            os.fsync(self.fd)
