"""One look at the whole stamp folder: how many stamps are live, and which names need something done.

A million stamps take no longer than find(1) takes: two processes look at half of the folder each, and only the names
that need something are kept. So the memory it takes does not depend on how many stamps there are.
"""

from __future__ import annotations

import marshal
import math
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from stat import S_IFREG

from popips import address
from popips.files import READ, opened
from popips.stamps import NEVER, OWN_FILES, SETTLED, StampFailed, stamp_of
from popips.stamps.folder import Folder

MOST = 100_000  # names that one look may find
PLAIN = S_IFREG | SETTLED


@dataclass
class Survey:
    """Names in the stamp folder, and the number of live stamps."""

    live: int = 0
    recent: int = 0  # of those, with a login since the last look
    due: list[str] = field(default_factory=list)
    unsettled: list[str] = field(default_factory=list)  # live, and nobody has said that the record is there
    ahead: list[str] = field(default_factory=list)  # live, with a time in the future
    told: list[str] = field(default_factory=list)  # logins from networks of `never`: see popips.grant
    foreign: list[str] = field(default_factory=list)  # no stamps
    is_whole: bool = True  # False if there were too many names, or too little time
    is_all: bool = False  # the folder's end was reached, and not the name before which to stop

    def add(self, other: Survey) -> None:
        """Put what another process has found to it."""
        self.live += other.live
        self.recent += other.recent
        self.is_whole &= other.is_whole
        for name in LISTS:
            getattr(self, name).extend(getattr(other, name))


LISTS = ("due", "unsettled", "ahead", "told", "foreign")


@dataclass(frozen=True)
class Bound:
    """How long a look may take at most, how many names each process may find, and how many processes there are."""

    seconds: float = math.inf
    names: int = MOST
    processes: int = 2
    since: float = math.inf  # seconds since the epoch: a stamp that is later counts as recent


WHOLE = Bound()


def survey(folder: Folder, due: float, ahead: float, bound: Bound = WHOLE) -> Survey:
    """Look at each stamp: one up to `due` (seconds since the epoch) is due, one later than `ahead` in the future.

    Raise StampFailed.
    """
    look = _Look(folder, due, ahead, time.monotonic() + bound.seconds, bound)
    middle, name = (0, "") if bound.processes == 1 else _middle(folder)
    if not name:
        return look.at(0)
    try:
        child, pipe = look.start(middle)
    except OSError:  # no process is to be had
        return look.at(0)
    found = look.at(0, name)
    with open(pipe, "rb") as file:
        data = file.read()
    if os.waitpid(child, 0)[1] or not data:
        raise StampFailed(f"{folder.path}: cannot be read")
    if not found.is_all:
        found.add(Survey(*marshal.loads(data)))
    return found


def _middle(folder: Folder) -> tuple[int, str]:
    """Return a position about halfway through the folder, and the first name from there on; "" if none is found.

    On ext4 a name's position is its hash, and the end the highest one (ext4_dir_llseek in fs/ext4/dir.c). It is the
    same for whoever opens the folder: NFS relies on that. Where there is nothing halfway, as on tmpfs, one process
    looks at all.
    """
    with folder.naming(""), _opened(folder) as fd:
        try:
            middle = os.lseek(fd, os.lseek(fd, 0, os.SEEK_END) // 2, os.SEEK_SET)
            with os.scandir(fd) as entries:
                return middle, next((entry.name for entry in entries), "")
        except OSError:
            return 0, ""


def _opened(folder: Folder) -> opened:
    # not the folder's own descriptor: two processes would share its place in the folder
    return opened(".", READ | os.O_DIRECTORY, within=folder.fd)


@dataclass(frozen=True)
class _Look:
    folder: Folder
    due: float
    ahead: float
    end: float
    bound: Bound

    def start(self, position: int) -> tuple[int, int]:
        """Have a child look from there on; return its process id, and the pipe for its findings. Raise OSError."""
        read, write = os.pipe()
        try:
            child = os.fork()
        except OSError:
            os.close(read)
            os.close(write)
            raise
        if child:
            os.close(write)
            return child, read
        try:
            found = self.at(position)
            lists = [getattr(found, name) for name in LISTS]
            with open(write, "wb") as file:
                file.write(marshal.dumps((found.live, found.recent, *lists, found.is_whole)))
            os._exit(0)
        except BaseException as error:
            sys.stderr.write(f"{error}\n")
        finally:
            os._exit(1)

    def at(self, position: int, end: str = "") -> Survey:
        """Look at the files from a position in the folder on, up to the one of that name."""
        found = Survey()
        with self.folder.naming(""), _opened(self.folder) as fd:
            os.lseek(fd, position, os.SEEK_SET)
            with os.scandir(fd) as entries:
                found.live += self.count(found, entries, end)
        return found

    def count(self, found: Survey, entries: Iterator[os.DirEntry[str]], end: str) -> int:
        """Return the number of live stamps, and note the files that need something."""
        live, due, ahead, since = 0, self.due, self.ahead, self.bound.since
        for entry in entries:
            if entry.name == end:
                return live
            try:
                state = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            is_plain = state.st_mode == PLAIN
            if is_plain and due < state.st_mtime <= ahead and entry.name[0] != ".":
                live += 1
                found.recent += state.st_mtime > since
                if live % 1024 or time.monotonic() < self.end:
                    continue
            else:
                live += self.sort(found, entry.name, state)
            if len(found.due) + len(found.unsettled) >= self.bound.names or time.monotonic() >= self.end:
                found.is_whole = False
                return live
        found.is_all = True
        return live

    def sort(self, found: Survey, name: str, state: os.stat_result) -> bool:
        """Note a file that is no settled stamp of an ordinary time; return whether it is a live stamp."""
        if name in OWN_FILES:
            return False
        if name.startswith(NEVER):
            found.told.append(name)
            return False
        if not address.is_canonical(name):
            found.foreign.append(name)
            return False
        stamp = stamp_of(state)
        if stamp.time <= self.due:
            found.due.append(name)
            return False
        if not stamp.settled or state.st_mode != PLAIN:
            found.unsettled.append(name)
        if stamp.time > self.ahead:
            found.ahead.append(name)
        return True
