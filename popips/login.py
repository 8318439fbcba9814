"""Who logged in: what a stamp and a request say, in one line."""

from __future__ import annotations

from dataclasses import dataclass

SAFE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@+-/:"  # what a word may hold as it is
LONGEST_WORD = 1000  # characters: no system has longer user names
BY_HAND = "-"  # the service of a grant that the admin makes
ELSEWHERE = "@"  # before the name of a host, as the writer of a login that was there
PUSHED = "drop"  # the service of an address that a user put into the drop folder


@dataclass(frozen=True)
class Login:
    """User, service (pop3, imap ...), and the program of popips that saw the login; texts as they came from outside.

    writer: of a login on another host, @ and the name of that.
    """

    user: str
    service: str
    writer: str

    @property
    def host(self) -> str:
        """The other host on which the login was, "" if it was on this one."""
        return self.writer[len(ELSEWHERE) :] if self.writer.startswith(ELSEWHERE) else ""

    def pack(self) -> bytes:
        """Return the line that unpack() reads."""
        return f"{word(self.user)} {word(self.service)} {word(self.writer)}\n".encode()


def unpack(data: bytes) -> Login | None:
    """Return the login of a line that pack() or lane.sh wrote; None for all else, a line without its end included."""
    line, newline, _ = data.partition(b"\n")
    words = line.decode("ascii", "replace").split(" ")
    if not newline or len(words) != 3 or any(not text or text.strip(SAFE + "%") for text in words):
        return None
    return Login(*map(plain, words))


def word(text: str) -> str:
    """Return a text from outside as one printable word, all that is unusual in it as %XX; "-" for an empty one."""
    if not text or text.strip(SAFE) or len(text) > LONGEST_WORD:
        text = "".join(c if c in SAFE else _escaped(c) for c in text)[:LONGEST_WORD]
    return text or "-"


def _escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape"))


def plain(text: str) -> str:
    """Return the text that word() made this word of."""
    first, *rest = text.split("%")
    data = first.encode() + b"".join(_byte(part[:2]) + part[2:].encode() for part in rest)
    return data.decode("utf-8", "surrogateescape")


def _byte(digits: str) -> bytes:
    try:
        return bytes((int(digits, 16),))
    except ValueError:  # cut off at LONGEST_WORD
        return b"%" + digits.encode()
