"""The text file that the admin edits, and makemap or postmap builds the map from."""

from __future__ import annotations

import posix as os  # os itself costs a login two milliseconds

from popips.maps import MapError


class Text:
    """The text at a path ("": there is none), read again whenever it has changed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._state = (0, 0, 0)
        self._records: dict[bytes, bytes] = {}

    def records(self) -> dict[bytes, bytes]:
        """Give the records that it says by now; raise MapError if it cannot be read."""
        try:
            state = os.stat(self._path or "/")
        except OSError:
            return records(self._path)
        if self._state != (now := (state.st_ino, state.st_mtime_ns, state.st_size)):
            self._records, self._state = records(self._path), now
        return self._records


def records(path: str) -> dict[bytes, bytes]:
    """Give the records that it says, the keys in lower case, as makemap writes them; none if path is "".

    makemap(8), postmap(1): a line is a key, blanks and a value; empty lines and those that begin with # say nothing;
    of lines with the same key the first counts. Raise MapError if it cannot be read.
    """
    said: dict[bytes, bytes] = {}
    if not path:
        return said
    try:
        with open(path, "rb") as file:
            for line in file:
                words = line.split(None, 1)
                if words and line[:1] != b"#":
                    said.setdefault(words[0].lower(), b"".join(words[1:]).rstrip())
    except OSError as error:
        raise MapError(f"{path}: cannot be read ({error.strerror}); set static_source in popips.conf") from None
    return said
