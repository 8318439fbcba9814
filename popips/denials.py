"""Addresses that the admin keeps out although their users log in: the file .denied in the stamp folder.

Its lines are `ADDRESS|ADDRESS/BITS UNTIL USER`: who is kept out, until when in seconds since the epoch or - for ever,
and which admin said so. It is replaced as a whole, and grants are ended only after that: a login that did not see the
denial, under the writers' lock of the map, has made its grant by then, and that ends with the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from stat import S_ISREG

from popips import address
from popips.login import ELSEWHERE, plain, word
from popips.stamps import DENIED, StampError
from popips.stamps.folder import Folder

FOR_EVER = float("inf")
LARGEST = 1 << 22  # bytes of a list: each login from a new address reads it
OWN = 20_000  # denials of one's own: such a login takes some 0.1 s for them
FEWER = "a network takes one denial, whatever is in it"
MOST = 10_000  # denials of all hosts of a fleet: to read those of the others takes such a login some 0.05 s


class Denial:
    """An address or network that is kept out until then (seconds since the epoch), and who said so."""

    __slots__ = ("by", "network", "text", "until")

    def __init__(self, text: str, until: float, by: str) -> None:
        """Take ADDRESS or ADDRESS/BITS; raise address.Refused for another text."""
        (self.network,) = address.networks(text if "/" in text else address.parse(text))
        self.text = str(self.network)
        self.until, self.by = until, word(by)

    @property
    def host(self) -> str:
        """The host that keeps it out, if another one has told of it."""
        return self.by.rpartition(ELSEWHERE)[2]

    def pack(self) -> str:
        """Return the line that load() reads."""
        return f"{self.text} {'-' if self.until == FOR_EVER else int(self.until)} {self.by}\n"


class Denied:
    """Denials by their networks: a look-up costs as much among a hundred thousand as among ten of the same sizes."""

    def __init__(self, own: Iterable[Denial], others: Collection[Denial] = ()) -> None:
        """Take this host's own, and those of others."""
        self._others = others
        self._of_size: dict[tuple[int, int], dict[int, Denial]] = {}  # by the bytes of an address, and the bits
        for one in (*own, *others):
            its = one.network
            there = self._of_size.setdefault((len(its.first), its.bits), {})
            if its.prefix not in there or there[its.prefix].until < one.until:
                there[its.prefix] = one

    def of(self, name: str, now: float) -> Denial | None:
        """Return the one that keeps the canonical address out, None if there is none."""
        number, length = address.number(name)
        for (its, bits), there in self._of_size.items():
            found = there.get(number >> 8 * length - bits) if its == length else None
            if found and found.until > now:
                return found
        return None

    def cure(self, denial: Denial) -> str:
        """Return the command that lets them in again, and on which host it is to be typed if that is another one."""
        return f"popips-db undeny {denial.text}{f' on {denial.host}' if denial in self._others else ''}"


def load(folder: Folder, strictly: bool = True, file: str = DENIED, most: int = OWN) -> list[Denial]:
    """Return all that the file says, over or not; raise StampError if it cannot be read, or one of its lines.

    most: lines that it may have.

    Not strictly: without the lines that cannot be read, for a run, which must go on. Whom such a line keeps out has no
    grant to lose, and gets none: no login does.
    """
    state = folder.state(file)
    if strictly and state and not S_ISREG(state.st_mode):
        raise StampError(f"{folder.path}/{file}: not a plain file, so nobody knows who is denied: remove it")
    data = folder.read(file, LARGEST + 1)
    if strictly and (len(data) > LARGEST or data.count(b"\n") > most):
        what = f"more than {LARGEST} bytes" if len(data) > LARGEST else f"more than {most} denials"
        raise StampError(f"{folder.path}/{file}: {what}, so nobody knows who is denied: {FEWER}")
    found = []
    for number, line in enumerate(data[:LARGEST].decode(errors="replace").splitlines(), 1):
        try:
            text, until, by = line.split(" ")
            found.append(Denial(text, FOR_EVER if until == "-" else int(until), plain(by)))
        except ValueError as error:  # address.Refused is one, too
            if strictly:
                cure = "remove the line; popips-db deny writes `ADDRESS|ADDRESS/BITS UNTIL USER`"
                raise StampError(f"{folder.path}/{file}:{number}: {error}; {cure}") from None
    return found


def add(folder: Folder, denial: Denial, now: float) -> None:
    """Put a denial on the list, in place of one of the same addresses. Raise StampError."""
    with folder.editing(DENIED):
        kept = [one for one in load(folder) if one.text != denial.text and one.until > now]
        if len(kept) >= OWN or len(pack([*kept, denial])) > LARGEST:
            raise StampError(f"{folder.path}/{DENIED}: {len(kept)} denials are all that it may hold: {FEWER}")
        _write(folder, [*kept, denial])


def lift(folder: Folder, text: str) -> bool:
    """Take the denial with this very text off the list; return whether it was on it. Raise StampError."""
    with folder.editing(DENIED):
        there = load(folder, most=LARGEST)  # of too many, too
        kept = [one for one in there if one.text != text]
        if kept != there:
            _write(folder, kept)
    return kept != there


def pack(denied: Iterable[Denial]) -> bytes:
    """Return the file that load() reads."""
    return "".join(one.pack() for one in denied).encode()


def _write(folder: Folder, denied: list[Denial]) -> None:
    folder.replace(DENIED, pack(denied), durably=True)
