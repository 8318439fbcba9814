"""Maps that only Postfix's own postmap may write, and makes anew as a whole: lmdb and cdb.

Postfix locks lmdb files in a way of its own, and one that another program writes by LMDB's rules is corrupted; `postmap
-i` takes no lock at all. A cdb cannot be changed. So such a map is popips' own: its records stand in a text file, PATH
without the ending, which is replaced as a whole, and postmap builds the map from it: an lmdb in one transaction under
Postfix's lock, a cdb by a rename. As with popips.maps.own, the mtime of PATH.popips says that this was finished.
"""

from __future__ import annotations

import posix as os  # os itself costs a login two milliseconds
from _signal import alarm  # type: ignore[import-not-found]

from popips.maps import Failed, MapError, Missing, Place, Unsound, exists
from popips.maps.berkeley import Moved, moved_mtime
from popips.maps.journal import Locked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PROGRAMS = ("/usr/sbin/postmap", "/usr/local/sbin/postmap")
MODE = 0o640  # as makemap has it: smtpd opens its maps before it gives up root
HEAD = b"# Made by popips, which makes it anew at each change: see own_map in popips.conf(5).\n"
BAD = ".popips-bad"  # behind the name of a damaged map
NEW = ".popips-new"  # behind the text's name while it is being written
LIMIT = 60  # seconds after which SIGALRM ends a process whose postmap waits for a lock that nobody gives up
LONGEST = 4096  # bytes of what postmap says


class Records:
    """The records in the text file."""

    def __init__(self, data: bytes) -> None:
        pairs = (line.split(b"\t", 1) for line in data.split(b"\n"))
        self._records = {pair[0]: pair[1] for pair in pairs if len(pair) == 2}
        self.has_changed = False

    def get(self, key: bytes) -> bytes | None:
        """Give the value of the key, None if there is none."""
        return self._records.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Put the record, in place of one that had the key."""
        self.has_changed = True
        self._records[key] = value

    def delete(self, key: bytes) -> None:
        """Take the record of the key out, if there is one."""
        self.has_changed |= self._records.pop(key, None) is not None

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Give all records."""
        yield from self._records.items()

    def pack(self) -> bytes:
        """Write them as text."""
        return HEAD + b"".join(b"%s\t%s\n" % record for record in self._records.items())


class Reader:
    """The records of a map of popips' own as they are now; `with Reader(...) as records`."""

    def __init__(self, place: Place) -> None:
        """Read the text; raise Missing or MapError."""
        if not place.own:
            raise MapError(f"{place}: popips reads only one with own_map = yes; ask postmap -q KEY {_name(place)}")
        self._records = _read(place)

    def __enter__(self) -> Records:
        return self._records

    def __exit__(self, *_: object) -> None:
        pass


class Writer(Locked):
    """The one writer of the map, as berkeley.Writer is of others."""

    def __init__(self, place: Place, now: float, until: float) -> None:
        """Take the writers' lock; raise Busy at `until` (time.monotonic()). now: seconds since the epoch."""
        super().__init__(place.path, until)
        self._place, self._now = place, now

    def change(self, step: Callable[[Records], None], ready: object = None, still: object = None) -> Moved | None:
        """Let step change the records, and have the map made anew; give how its mtime has moved, None if not.

        ready and still are for maps that hold records of others. Raise Unsound if it has to be made from the stamps
        first, Failed if postmap fails.
        """
        before = self._mtime()
        self._journal.check_mark(before, self._place.path)
        try:
            records = _read(self._place)
        except Missing as error:
            raise Unsound(str(error)) from None
        step(records)
        return (before, self._build(records, before)) if records.has_changed else None

    def rebuild(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Make the map anew with these records. Raise MapError."""
        records = Records(b"")
        for key, value in pairs:
            records.put(key, value)
        try:
            before = self._mtime()
        except Unsound:
            before = 0
        self._journal.clear()
        bad = self._place.path + BAD
        try:
            self._build(records, before)
        except Failed:
            if self._place.kind != "lmdb" or not exists(self._place.path):
                raise
            os.rename(self._place.path, bad)  # postmap opens an lmdb that is there, and refuses a damaged one
            try:
                self._build(records, 0)
            except MapError:
                os.rename(bad, self._place.path)
                raise
            os.unlink(bad)

    def _mtime(self) -> int:
        try:
            return os.stat(self._place.path, follow_symlinks=False).st_mtime_ns
        except OSError as error:
            raise Unsound(f"{self._place.path}: {error.strerror}") from None

    def _build(self, records: Records, before: int) -> int:
        text = self._place.source
        if exists(text) and not _head(text).startswith(HEAD):
            cure = "own_map = yes is for a map that holds nothing else: name another"
            raise MapError(f"{text}: not made by popips; {cure}")
        try:
            if before:  # from here on the map is not what PATH.popips says, until all is done
                os.utime(self._place.path, ns=(before + 1, before + 1))
            fd = os.open(text + NEW, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, MODE)
            try:
                os.fchown(fd, -1, os.stat(self._place.folder).st_gid)
                content = memoryview(records.pack())
                while content:
                    content = content[os.write(fd, content) :]
            finally:
                os.close(fd)
            os.rename(text + NEW, text)
            alarm(LIMIT)
            try:
                _postmap(self._place)
            finally:
                alarm(0)
            mtime = moved_mtime(before, self._now, 0)
            os.utime(self._place.path, ns=(mtime, mtime))
            self._journal.mark(mtime)
        except OSError as error:
            raise Failed(f"{self._place.path}: cannot be written: {error.strerror}") from None
        return mtime


def _head(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(len(HEAD))


def _read(place: Place) -> Records:
    try:
        with open(place.source, "rb") as file:
            return Records(file.read())
    except FileNotFoundError:
        raise Missing(f"{place.source}: there is no such file; popips-expire makes it") from None
    except OSError as error:
        raise Failed(f"{place.source}: cannot be read: {error.strerror}") from None


def _postmap(place: Place) -> None:
    """Run postmap; raise MapError with what it says."""
    status, said = _run((_name(place),))
    if status and b"unsupported dictionary type" in said:
        types = " ".join(_run(("-m",), "postconf")[1].decode(errors="replace").split())
        cure = f"install postfix-{place.kind}, or name one of the types that it has"
        raise MapError(f"{place}: this Postfix has no {place.kind}: {cure}: {types}")
    if status:
        raise Failed(f"{place}: {said.decode(errors='replace').strip() or f'postmap ended with status {status}'}")


def _run(words: tuple[str, ...], program: str = "postmap") -> tuple[int, bytes]:
    """Run a program of Postfix; give its exit status and what it says. No subprocess: a login waits."""
    read, write = os.pipe()
    quiet = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0), *((os.POSIX_SPAWN_DUP2, write, n) for n in (1, 2))]
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
        os.close(write)
        write = -1
        said = b""
        while data := os.read(read, LONGEST):
            said += data
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said
    finally:
        os.close(read)
        if write >= 0:
            os.close(write)


def _name(place: Place) -> str:
    return f"{place.kind}:{place.source}"
