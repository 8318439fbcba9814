"""Which of the hosts that bear one name this one is: a word in share_from, made by chance, that goes with the name.

It is gone with the next boot, as all that is in that folder: what stands in the stream in this host's name when it
starts counts as its own, whichever of them has told it.
"""

from __future__ import annotations

import base64
import os

from popips.files import WRITE, opened, write_all
from popips.stamps import NEW

FILE = ".id"
SIZE = 3  # bytes, four characters in each entry: it tells apart hosts of one name only


def identity(folder: int) -> str:
    """Return the word, and make it if it is missing. Raise OSError."""
    try:
        with opened(FILE, within=folder) as fd:
            found = os.read(fd, 64).decode("ascii", "replace")
    except FileNotFoundError:
        found = ""
    if is_word(found):
        return found
    made = base64.urlsafe_b64encode(os.urandom(SIZE)).decode()
    with opened(NEW, WRITE | os.O_CREAT | os.O_TRUNC, within=folder) as fd:
        write_all(fd, made.encode())
    os.rename(NEW, FILE, src_dir_fd=folder, dst_dir_fd=folder)
    return made


def is_word(text: str) -> bool:
    """Whether identity() may have made it."""
    return len(text) == SIZE * 4 // 3 and all(c.isascii() and (c.isalnum() or c in "-_") for c in text)
