"""What a path was before and after a step: told apart by content, mode and owner, and put back from a copy."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from dataclasses import dataclass
from stat import S_IMODE, S_ISLNK, S_ISREG

from popips.files import sync_folder

NONE, FILE, LINK, OTHER = "none", "file", "link", "other"


@dataclass(frozen=True)
class Kept:
    """What stands at a path. what: the sha256 of a file's content, or where a link leads; mtime: in ns."""

    kind: str
    what: str = ""
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime: int = 0

    def is_same(self, other: Kept) -> bool:
        """Whether both are the same but for the time."""
        return self._essence == other._essence

    @property
    def _essence(self) -> tuple[object, ...]:
        return (self.kind, self.what, self.mode, self.uid, self.gid)


def look(path: str) -> Kept:
    """Return what stands at a path; raise OSError."""
    try:
        state = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return Kept(NONE)
    if S_ISLNK(state.st_mode):
        return Kept(LINK, os.readlink(path))
    if not S_ISREG(state.st_mode):
        return Kept(OTHER)
    with open(path, "rb") as file:
        what = sha256(file.read())
    return Kept(FILE, what, S_IMODE(state.st_mode), state.st_uid, state.st_gid, state.st_mtime_ns)


def sha256(data: bytes) -> str:
    """Return the checksum of a content, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def keep(path: str, copies: str) -> Kept:
    """Return what stands at a path, and have a copy of its content in the folder `copies`, on the disk."""
    found = look(path)
    copy = f"{copies}/{found.what}"
    if found.kind == FILE and not os.path.exists(copy):
        with open(path, "rb") as file:
            put(copy, file.read(), Kept(FILE, mode=0o600))
    return found


def put(path: str, data: bytes, wanted: Kept) -> None:
    """Have a file with this content stand at the path at once or not at all; a mtime of 0 is now.

    What else is said of the file that it replaces, an ACL for instance, is said of it, too.
    """
    new = beside(path)
    discard(new)  # of a set-up that was killed, or of another user: /etc/mail is sendmail's
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
        file.write(data)
        if os.path.isfile(path) and not os.path.islink(path):
            shutil.copystat(path, new, follow_symlinks=False)
        os.fchown(file.fileno(), wanted.uid, wanted.gid)
        os.fchmod(file.fileno(), wanted.mode)
        file.flush()
        mtime = wanted.mtime or time.time_ns()
        os.utime(file.fileno(), ns=(mtime, mtime))
        os.fsync(file.fileno())
    os.rename(new, path)
    sync_folder(os.path.dirname(path))


def put_back(path: str, wanted: Kept, copies: str, is_now: bool = False) -> None:
    """Have the path be again what it was; is_now: with the time of now, for make(1). Raise OSError."""
    discard(beside(path))
    if wanted.kind == FILE:
        with open(f"{copies}/{wanted.what}", "rb") as file:
            data = file.read()
        if os.path.islink(path):
            os.unlink(path)
        put(path, data, Kept(**{**vars(wanted), "mtime": 0 if is_now else wanted.mtime}))
    elif wanted.kind == LINK:
        discard(path)
        os.symlink(wanted.what, path)
    elif wanted.kind == NONE:
        discard(path)


def beside(path: str) -> str:
    """Return the name under which a file is written before it gets its own: none that a server takes for its file."""
    folder, name = os.path.split(path)
    return f"{folder}/.{name}.popips-new"


def discard(path: str) -> None:
    """Remove a file, if it is there."""
    try:
        os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
