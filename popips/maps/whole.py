"""Maps that the MTA's own program makes anew as a whole at each change: lmdb and cdb.

Postfix locks lmdb files in a way of its own, and one that another program writes by LMDB's rules is corrupted; `postmap
-i` takes no lock at all. A cdb cannot be changed. So such a map is popips' own: its records stand in a text file, PATH
without the ending, which is replaced as a whole, and postmap or makemap makes the map from it: an lmdb in one
transaction under Postfix's lock, a cdb by a rename. The seal is of both files.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from signal import alarm

from popips.files import READ, identity_of, opened, sync_folder, write_all
from popips.maps.base import Base, mtime_of
from popips.maps.errors import Failed, Full, MapError, Missing, explained
from popips.maps.file import for_the_mta
from popips.maps.kinds import MADE_BY_POPIPS, Place, Task, exists
from popips.maps.lock import Locked, Wait
from popips.maps.seal import Seal
from popips.paste import quoted

MODE = 0o640  # as makemap has it: smtpd opens its maps before it gives up root
HEAD = MADE_BY_POPIPS + b", which makes it anew at each change: see own_map in popips.conf(5).\n"
BAD = ".popips-bad"  # behind the name of a damaged map
LIMIT = 60  # seconds after which SIGALRM ends a process whose postmap waits for a lock that nobody gives up


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
            ask = f"postmap -q KEY {quoted(place.name)}" if place.postfix else f"makemap -u cdb {quoted(place.source)}"
            raise MapError(f"{place}: popips reads only one with own_map = yes; ask {ask}")
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
            raise MapError(f"{task.place}: it can only be written as a whole; {cure}")
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
            os.fsync(fd)  # after a power failure the MTA has to open it before popips makes it anew
            shown = self._move(fd, before)
            self._journal.seal = Seal(self._state_of(fd), shown=shown)
            self._journal.make_room(os.fstat(fd).st_size)  # as much as it takes to make it anew

    def _make(self) -> None:
        """Have the MTA's program make the map from the text; raise Full if it finds no room."""
        program = import_module(f"popips.maps.{'postmap' if self._place.postfix else 'makemap'}")
        start = time.monotonic()
        alarm(LIMIT)
        try:
            program.make(self._place)
        finally:
            alarm(0)
            self.held = time.monotonic() - start


def _write(place: Place, content: bytes, until: float) -> None:
    """Write the text in place, which needs no room where it gets shorter; cut off halfway, it is made anew."""
    text = place.source
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    with Locked(text, lambda: os.open(text, flags, MODE), True, Wait(until)) as fd:
        head = os.pread(fd, len(HEAD), 0)
        if head not in (HEAD, b""):
            cure = "own_map = yes is for a map that holds nothing else: name another"
            raise MapError(f"{text}: not made by popips; {cure}")
        for_the_mta(fd, place)
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
