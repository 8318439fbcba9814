"""The text file that the admin edits, and makemap or postmap builds the map from."""

from __future__ import annotations

import posix as os  # os itself costs a login two milliseconds

from popips.maps import MapError


class Text:
    """The text at a path ("": there is none), read again whenever it has changed."""

    def __init__(self, path: str, postfix: bool) -> None:
        self._path, self._postfix = path, postfix
        self._state: tuple[int, int, int] | None = None
        self._records: dict[bytes, bytes] = {}

    def records(self) -> dict[bytes, bytes]:
        """Give the records that it says by now; raise MapError if it could not be read even once."""
        if not self._path:
            return {}
        try:
            state = os.stat(self._path)
            now = state.st_ino, state.st_mtime_ns, state.st_size
            if self._state != now:
                self._records, self._state = records(self._path, self._postfix), now
        except (OSError, MapError):  # an editor may have moved it away for a moment
            if not self._state:
                return records(self._path, self._postfix)
        return self._records


def records(path: str, postfix: bool) -> dict[bytes, bytes]:
    """Give the records that it says, the keys in lower case, as makemap writes them; none if path is "".

    makemap(8), postmap(1): a line is a key, blanks and a value; empty lines and those that begin with # say nothing;
    of lines with the same key the first counts. One that begins with a blank goes on with the one before for postmap,
    and makemap passes over it. Raise MapError if it cannot be read.
    """
    said: dict[bytes, bytes] = {}
    if not path:
        return said
    try:
        with open(path, "rb") as file:
            key = b""
            for line in file:
                words = line.split(None, 1)
                if not words or line[:1] == b"#":
                    continue
                if not line[:1].isspace():
                    key = words[0].lower()
                    said.setdefault(key, b"".join(words[1:]).rstrip())
                elif postfix and key:
                    said[key] = (said[key] + b" " + line.strip()).strip()
    except OSError as error:
        raise MapError(f"{path}: cannot be read ({error.strerror}); set static_source in popips.conf") from None
    return said
