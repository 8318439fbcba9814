"""Addresses that the admin keeps out although their users log in: the file .denied in the stamp folder.

Its lines are `ADDRESS|ADDRESS/BITS UNTIL USER`: who is kept out, until when in seconds since the epoch or - for ever,
and which admin said so. It is replaced as a whole, and the grants go only after that: a login that has not seen the
denial under the writers' lock of the map has made its grant before, and it goes with the others.
"""

from __future__ import annotations

import fcntl
import posix as os  # os itself costs a login two milliseconds

from popips import address
from popips.stamps import DENIED, DENIED_NEW, READ, RUN_FILE, Folder, StampError, word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK = 1 << 16  # bytes to read at once
CLOCK = 1.0  # seconds by which the clocks of files and of programs may differ
FOR_EVER = float("inf")


class Denial:
    """An address or network that is kept out until then (seconds since the epoch), and who said so."""

    __slots__ = ("by", "network", "text", "until")

    def __init__(self, text: str, until: float, by: str) -> None:
        """Take ADDRESS or ADDRESS/BITS; raise address.Refused for another text."""
        (self.network,) = address.networks(text if "/" in text else address.parse(text))
        self.text = str(self.network)
        self.until, self.by = until, word(by)

    def pack(self) -> str:
        """Write it as a line that load() reads."""
        return f"{self.text} {'-' if self.until == FOR_EVER else int(self.until)} {self.by}\n"


def load(folder: Folder) -> list[Denial]:
    """Give all that the file says, over or not; raise StampError if it cannot be read, or one of its lines."""
    found = []
    for one in _read(folder):
        if isinstance(one, StampError):
            raise one
        found.append(one)
    return found


def are_new(folder: Folder, now: float) -> bool:
    """Tell whether the file has changed since the expirer's last run began: who was denied then may still have a grant.

    Whoever denied him takes the grant out, but may be killed before, or not get the map's lock.
    """
    try:
        denied, run = (os.stat(name, dir_fd=folder.fd, follow_symlinks=False).st_mtime for name in (DENIED, RUN_FILE))
    except FileNotFoundError:
        return False
    return run - CLOCK < denied <= now + CLOCK


def legible(folder: Folder) -> list[Denial]:
    """Give what load() would, without the lines that cannot be read; raise StampError if the file cannot.

    For the upkeep, which must go on. Whom such a line keeps out has no grant to lose, and gets none: no login does.
    """
    return [one for one in _read(folder) if isinstance(one, Denial)]


def _read(folder: Folder) -> Iterator[Denial | StampError]:
    for number, line in enumerate(_lines(folder), 1):
        try:
            text, until, by = line.split(" ")
            yield Denial(text, FOR_EVER if until == "-" else float(until), by)
        except ValueError as error:  # address.Refused is one, too
            cure = "remove the line; popips-db deny writes `ADDRESS|ADDRESS/BITS UNTIL USER`"
            yield StampError(f"{folder.path}/{DENIED}:{number}: {error}; {cure}")


def _lines(folder: Folder) -> list[str]:
    with folder.naming(DENIED):
        try:
            fd = os.open(DENIED, READ, dir_fd=folder.fd)
        except FileNotFoundError:
            return []
        try:
            data = b""
            while more := os.read(fd, CHUNK):
                data += more
        finally:
            os.close(fd)
    return data.decode(errors="replace").splitlines()


def of(denied: list[Denial], name: str, now: float) -> Denial | None:
    """Give the one that keeps the canonical address out, None if there is none."""
    return next((one for one in denied if one.until > now and address.is_in(name, (one.network,))), None)


def add(folder: Folder, denial: Denial, now: float) -> None:
    """Put a denial on the list, in place of one of the same addresses. Raise StampError."""
    _change(folder, lambda old: [*(one for one in old if one.text != denial.text and one.until > now), denial])


def lift(folder: Folder, text: str) -> bool:
    """Take the denial with this very text off the list; tell whether it was on it. Raise StampError."""
    found: list[Denial] = []

    def step(old: list[Denial]) -> list[Denial]:
        found.extend(one for one in old if one.text == text)
        return [one for one in old if one.text != text]

    _change(folder, step)
    return bool(found)


def _change(folder: Folder, step: Callable[[list[Denial]], list[Denial]]) -> None:
    with folder.naming(DENIED):
        try:
            fcntl.flock(folder.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StampError(f"{folder.path}/{DENIED}: another popips-db is changing it; try again") from None
        content = memoryview("".join(denial.pack() for denial in step(load(folder))).encode())
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        fd = os.open(DENIED_NEW, flags, 0o600, dir_fd=folder.fd)
        try:
            while content:
                content = content[os.write(fd, content) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(DENIED_NEW, DENIED, src_dir_fd=folder.fd, dst_dir_fd=folder.fd)
        folder.sync()
        fcntl.flock(folder.fd, fcntl.LOCK_UN)
