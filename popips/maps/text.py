"""The text file that the admin edits, and makemap or postmap builds the map from."""

from __future__ import annotations

import os
from collections.abc import Iterable

from popips.files import identity
from popips.maps.errors import MapError

FUTURE = 60  # seconds by which a text may be ahead of the clock without a word


class Text:
    """The text at a path ("": there is none), read when it is first asked, and again when it has changed.

    identity: of what was read.
    """

    def __init__(self, path: str, postfix: bool) -> None:
        """postfix: a line that begins with a blank goes on with the one before."""
        self.path, self._postfix = path, postfix
        self.identity = "-"
        self._records: dict[bytes, bytes] = {}

    def records(self) -> dict[bytes, bytes]:
        """Return the records that it says by now, keys in lower case; raise MapError if it could never be read."""
        if self.path:
            try:
                if self.identity != identity(os.stat(self.path)):
                    self._read()
            except OSError as error:  # an editor may have moved it away for a moment
                if self.identity == "-":
                    cure = "set static_source in popips.conf"
                    raise MapError(f"{self.path}: cannot be read ({error.strerror}); {cure}") from None
        return self._records

    def from_the_future(self, now: float) -> str:
        """Return what the admin is to do if its mtime is ahead of the clock, so that make(1) builds it for ever."""
        try:
            if os.stat(self.path).st_mtime <= now + FUTURE:
                return ""
        except OSError:
            return ""
        return f"{self.path}: its time is in the future, so it always looks newer than the map: touch it"

    def _read(self) -> None:
        with open(self.path, "rb") as file:
            state = os.fstat(file.fileno())  # before: what is written meanwhile is read again
            self._records = _records(file, self._postfix)
        self.identity = identity(state)


def _records(lines: Iterable[bytes], postfix: bool) -> dict[bytes, bytes]:
    """Return what the lines say, as makemap(8) and postmap(1) have it.

    A line is a key, blanks and a value; empty lines and those that begin with # are ignored; of lines with the same key
    the first counts. makemap ignores a line that begins with a blank.
    """
    said: dict[bytes, bytes] = {}
    key = b""
    for line in lines:
        words = line.split(None, 1)
        if not words or line[:1] == b"#":
            continue
        if not line[:1].isspace():
            key = words[0].lower()
            said.setdefault(key, b"".join(words[1:]).rstrip())
        elif postfix and key:
            said[key] = (said[key] + b" " + line.strip()).strip()
    return said
