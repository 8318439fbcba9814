"""The text file that the admin edits, and makemap or postmap builds the map from."""

from __future__ import annotations

from popips.maps import MapError


def keys(path: str) -> frozenset[bytes]:
    """Give the keys that it names, in lower case, as makemap writes them; none if path is "".

    makemap(8), postmap(1): a line is a key, blanks and a value; empty lines and those that begin with # say nothing.
    Raise MapError if it cannot be read.
    """
    if not path:
        return frozenset()
    try:
        with open(path, "rb") as file:
            return frozenset(line.split(None, 1)[0].lower() for line in file if line.strip() and line[:1] != b"#")
    except OSError as error:
        raise MapError(f"{path}: cannot be read ({error.strerror}); set static_source in popips.conf") from None
