"""Maps that only Postfix's own postmap may write, and makes anew as a whole: lmdb and cdb.

Postfix locks lmdb files in a way of its own, and one that another program writes by LMDB's rules is corrupted; `postmap
-i` takes no lock at all. A cdb cannot be changed. So such a map is popips' own: its records stand in a text file, PATH
without the ending, which is replaced as a whole, and postmap builds the map from it: an lmdb in one transaction under
Postfix's lock, a cdb by a rename. The seal is of both files.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from signal import alarm
from struct import calcsize

from popips.files import READ, identity_of, opened, sync_folder, write_all
from popips.maps.base import Base, mtime_of
from popips.maps.errors import Failed, Full, MapError, Missing, explained
from popips.maps.kinds import MADE_BY_POPIPS, Place, Task, exists
from popips.maps.lock import Locked, Wait
from popips.maps.seal import Seal
from popips.paste import quoted

PROGRAMS = ("/usr/sbin/postmap", "/usr/local/sbin/postmap")
MODE = 0o640  # as makemap has it: smtpd opens its maps before it gives up root
HEAD = MADE_BY_POPIPS + b", which makes it anew at each change: see own_map in popips.conf(5).\n"
BAD = ".popips-bad"  # behind the name of a damaged map
LIMIT = 60  # seconds after which SIGALRM ends a process whose postmap waits for a lock that nobody gives up
WORD = calcsize("P")  # bytes
SYSTEMS = os.sysconf("SC_PAGESIZE")  # bytes of a page, and so of LMDB's
TRANSACTION = 32 + 14 * WORD  # where LMDB has the number of its last transaction: MDB_page, MDB_meta in mdb.c
NO_SPACE = os.strerror(errno.ENOSPC)  # in what postmap says


class Records:
    """The records in the text file."""

    def __init__(self, data: bytes) -> None:
        pairs = (line.split(b"\t", 1) for line in data.split(b"\n"))
        self._records = {pair[0]: pair[1] for pair in pairs if len(pair) == 2}
        self.has_changed = False

    def get(self, key: bytes) -> bytes | None:
        """Return the value of the key, None if there is none."""
        return self._records.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Put the record, in place of one that had the key."""
        self.has_changed |= self._records.get(key) != value
        self._records[key] = value

    def delete(self, key: bytes) -> None:
        """Take the record of the key out, if there is one."""
        self.has_changed |= self._records.pop(key, None) is not None

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Return all records."""
        yield from self._records.items()

    def pack(self) -> bytes:
        """Return them as text."""
        return HEAD + b"".join(b"%s\t%s\n" % record for record in self._records.items())


class Reader:
    """In a `with`: the records of a map of popips' own as they are now."""

    def __init__(self, place: Place, until: float) -> None:
        """until: when to give up waiting for who writes the text, by time.monotonic()."""
        if not place.own:
            raise MapError(
                f"{place}: popips reads only one with own_map = yes; ask postmap -q KEY {quoted(place.name)}"
            )
        self._place, self._until = place, until

    def __enter__(self) -> Records:
        """Read the text; raise Busy, Missing or MapError."""
        return _read(self._place, self._until)

    def __exit__(self, *_: object) -> None:
        pass


class Writer(Base):
    """The one writer of such a map; see popips.maps.Writer."""

    def __init__(self, task: Task) -> None:
        if not task.place.own:
            cure = "popips changes only one with own_map = yes"
            raise MapError(f"{task.place}: postmap can only write it as a whole; {cure}")
        super().__init__(task)

    def change(self, step: Callable[[Records], None], secure: Callable[[], None]) -> None:
        """Let step change the records, and have the map made anew."""
        self._sound()
        records = _read(self._place, self._until)
        step(records)
        secure()
        if records.has_changed:
            self._build(records)

    def look(self, step: Callable[[Records], None]) -> None:
        """Let step read the records, which are sealed already."""
        self._sound()
        step(_read(self._place, self._until))

    def rebuild(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Make the map anew with these records."""
        records = Records(b"")
        for key, value in pairs:
            records.put(key, value)
        bad = self._place.path + BAD
        try:
            self._build(records)
        except Failed:
            if self._place.kind != "lmdb" or not exists(self._place.path):
                raise
            os.rename(self._place.path, bad)  # postmap opens an lmdb that is there, and refuses a damaged one
            try:
                self._build(records)
            except MapError:
                os.rename(bad, self._place.path)
                raise
        if exists(bad):  # ours of just now, or of somebody who was killed there
            os.unlink(bad)

    def _state_of(self, fd: int) -> str:
        return f"{super()._state_of(fd)}+{identity_of(self._place.source)}"

    def _locked(self) -> opened:
        return opened(self._place.path)

    def _build(self, records: Records) -> None:
        with explained(self._place.source):
            _write(self._place, records.pack(), self._until)
        before = mtime_of(self._place.path)
        try:
            self._make()
        except Full:
            self._journal.give_room()
            self._make()
        with explained(self._place.path), self._locked() as fd:
            os.fsync(fd)  # after a power failure Postfix has to open it before popips makes it anew
            shown = self._move(fd, before)
            self._journal.seal = Seal(self._state_of(fd), shown=shown)
            self._journal.make_room(os.fstat(fd).st_size)  # as much as postmap needs to make it anew

    def _make(self) -> None:
        """Have postmap make the map from the text; raise Full if it finds no room."""
        before, start = _made(self._place), time.monotonic()
        alarm(LIMIT)
        try:
            _postmap(self._place)
        finally:
            alarm(0)
            self.held = time.monotonic() - start
        if _made(self._place) in (before, None):  # postmap does not look whether the transaction of an lmdb was written
            raise Full(f"{self._place}: postmap has not changed it, for want of room")


def _made(place: Place) -> tuple[int, int] | None:
    """Return what is another each time that a map is made: inode, last transaction of an lmdb; None if it was not yet.

    LMDB writes its two first pages in turns. Where that fails it puts the old number back, and leaves the rest.
    """
    try:
        with opened(place.path) as fd:
            inode, pages = os.fstat(fd).st_ino, [os.pread(fd, SYSTEMS, number * SYSTEMS) for number in range(2)]
    except OSError:
        return None
    if place.kind != "lmdb":
        return inode, 0
    last = max(int.from_bytes(page[TRANSACTION : TRANSACTION + WORD], sys.byteorder) for page in pages)
    return (inode, last) if last else None


def _write(place: Place, content: bytes, until: float) -> None:
    """Write the text in place, which needs no room where it gets shorter; cut off halfway, it is made anew."""
    text = place.source
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    with Locked(text, lambda: os.open(text, flags, MODE), True, Wait(until)) as fd:
        head = os.pread(fd, len(HEAD), 0)
        if head not in (HEAD, b""):
            cure = "own_map = yes is for a map that holds nothing else: name another"
            raise MapError(f"{text}: not made by popips; {cure}")
        os.fchown(fd, -1, os.stat(place.folder).st_gid)
        write_all(fd, content)
        os.ftruncate(fd, len(content))
        os.fsync(fd)
        if not head:
            sync_folder(place.folder)


def _read(place: Place, until: float) -> Records:
    text = place.source
    with explained(text, "read"):
        try:
            with Locked(text, lambda: os.open(text, READ), False, Wait(until)) as fd:
                return Records(os.pread(fd, os.fstat(fd).st_size, 0))
        except FileNotFoundError:
            raise Missing(f"{text}: there is no such file; popips-expire makes it") from None


def _postmap(place: Place) -> None:
    """Run postmap; raise MapError with what it says."""
    status, said = _run((place.name,))
    if status and b"unsupported dictionary type" in said:
        types = " ".join(_run(("-m",), "postconf")[1].decode(errors="replace").split())
        cure = f"install postfix-{place.kind}, or name one of the types that it has"
        raise MapError(f"{place}: this Postfix has no {place.kind}: {cure}: {types}")
    if status:
        told = said.decode(errors="replace").strip() or f"postmap ended with status {status}"
        raise (Full if NO_SPACE in told else Failed)(f"{place}: {told}")


def _run(words: tuple[str, ...], program: str = "postmap") -> tuple[int, bytes]:
    """Run a program of Postfix; return its exit status and what it says. No subprocess: a login waits."""
    read, write = os.pipe()
    quiet = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0), *((os.POSIX_SPAWN_DUP2, write, n) for n in (1, 2))]
    with open(read, "rb") as output:
        try:
            for path in PROGRAMS:
                command = path.replace("postmap", program)
                try:
                    child = os.posix_spawn(command, (command, *words), {}, file_actions=quiet)
                    break
                except FileNotFoundError:
                    pass
            else:
                raise MapError(f"{' and '.join(PROGRAMS)}: there is no such program; is Postfix installed?")
        finally:
            os.close(write)
        said = output.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said
