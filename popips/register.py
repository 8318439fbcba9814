"""The records that the admin put by `popips-db ins`: the file .register in the stamp folder.

By it they are told from grants that have lost their stamps. Its lines are KEY, VALUE, ADMIN and TIME, in seconds since
the epoch, with tabs between; what is unusual in a value is escaped as Python does. A line is written before its record,
and goes after it: whoever is killed in between has made nothing of the admin's an orphan.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

from popips.login import word
from popips.stamps import REGISTER
from popips.stamps.folder import Folder


def load(folder: Folder) -> dict[bytes, bytes]:
    """Return keys and values; what cannot be read is left out. Raise StampError if the file cannot be read."""
    return {fields[0].encode(): _value(fields[1]) for fields in _lines(folder)}


def add(folder: Folder, pairs: Mapping[bytes, bytes], admin: str, now: float) -> None:
    """Note what an admin is about to put. Raise StampError."""
    with folder.editing(REGISTER):
        made = [[key.decode(), _escaped(value), word(admin), f"{now:.0f}"] for key, value in pairs.items()]
        _write(folder, [*(fields for fields in _lines(folder) if fields[0].encode() not in pairs), *made])


def drop(folder: Folder, keys: Container[str]) -> None:
    """Strike out what the admin has taken out of the map. Raise StampError."""
    with folder.editing(REGISTER):
        there = _lines(folder)
        kept = [fields for fields in there if fields[0] not in keys]
        if kept != there:
            _write(folder, kept)


def _lines(folder: Folder) -> list[list[str]]:
    lines = folder.read(REGISTER).decode(errors="replace").split("\n")
    return [fields for line in lines if len(fields := line.split("\t")) == 4]


def _write(folder: Folder, lines: list[list[str]]) -> None:
    folder.replace(REGISTER, "".join("\t".join(fields) + "\n" for fields in lines).encode(), durably=True)


def _escaped(value: bytes) -> str:
    return value.decode().encode("unicode_escape").decode()


def _value(escaped: str) -> bytes:
    try:
        return escaped.encode("ascii").decode("unicode_escape").encode()
    except ValueError:
        return escaped.encode()
