"""The records that the admin put by `popips-db ins`: the file .register in the stamp folder.

By it they are told from grants that have lost their stamps. Its lines are KEY, VALUE, ADMIN and TIME, in seconds since
the epoch, with tabs between; what is unusual in a value is escaped as Python does. A line is written before its record,
and goes after it: whoever is killed in between has made nothing of the admin's an orphan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from popips.login import word
from popips.stamps import REGISTER
from popips.stamps.folder import Folder

Pair = tuple[bytes, bytes]  # key and value


def load(folder: Folder) -> set[Pair]:
    """Return what was put; a line that cannot be read is ignored. Raise StampError if the file cannot be read."""
    return {_pair(fields) for fields in _lines(folder)}


def add(folder: Folder, pairs: Mapping[bytes, bytes], admin: str, now: float) -> set[Pair]:
    """Note what an admin is about to put, and return what of it was not noted yet. Raise StampError."""
    with folder.editing(REGISTER):
        there = _lines(folder)
        new = set(pairs.items()) - {_pair(fields) for fields in there}
        made = [[key.decode(), _escaped(value), word(admin), f"{now:.0f}"] for key, value in sorted(new)]
        if made:
            _write(folder, [*there, *made])
    return new


def drop(folder: Folder, is_gone: Callable[[bytes, bytes], bool]) -> None:
    """Strike out what is_gone says of key and value. Raise StampError."""
    with folder.editing(REGISTER):
        there = _lines(folder)
        kept = [fields for fields in there if not is_gone(*_pair(fields))]
        if kept != there:
            _write(folder, kept)


def _lines(folder: Folder) -> list[list[str]]:
    lines = folder.read(REGISTER, 1 << 30).decode(errors="replace").split("\n")
    return [fields for line in lines if len(fields := line.split("\t")) == 4]


def _write(folder: Folder, lines: list[list[str]]) -> None:
    folder.replace(REGISTER, "".join("\t".join(fields) + "\n" for fields in lines).encode(), durably=True)


def _escaped(value: bytes) -> str:
    return value.decode().encode("unicode_escape").decode()


def _pair(fields: list[str]) -> Pair:
    key, value = fields[0].encode(), fields[1]
    try:
        return key, value.encode("ascii").decode("unicode_escape").encode()
    except ValueError:
        return key, value.encode()
