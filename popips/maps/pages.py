"""The pages in which a map is to change, as the journal keeps them and the map gets them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from popips.files import write_all
from popips.maps.errors import Unfinished
from popips.maps.seal import digest

CHUNK = 4096  # bytes: what is compared and written as one
SLICE = 64 * CHUNK  # bytes that are compared at once: most of a map has not changed
SECTOR = 512  # bytes: the least that a disk writes whole
MAGIC = b"popips2\n"


@dataclass(frozen=True)
class Change:
    """The chunks in which a map's new bytes differ from its old ones: (offset, old, new), and both sizes."""

    old_size: int
    new_size: int
    chunks: list[tuple[int, bytes, bytes]]

    @classmethod
    def between(cls, old: int, new: int) -> Change | None:
        """Return how two open files differ; None if they do not. The first chunk is always one of them."""
        sizes = os.fstat(old).st_size, os.fstat(new).st_size
        chunks = list(_differing(old, new, max(sizes)))
        if not chunks:
            return None
        if chunks[0][0] > 0:
            chunks.insert(0, (0, os.pread(old, CHUNK, 0), os.pread(new, CHUNK, 0)))
        return cls(*sizes, chunks)

    def pack(self) -> bytes:
        """Return it as bytes that unpack() reads."""
        body = [_packed(self.old_size, self.new_size, len(self.chunks))]
        for offset, old, new in self.chunks:
            body += (_packed(offset, len(old), len(new)), old, new)
        content = b"".join(body)
        return MAGIC + _packed(digest(content), len(content)) + content

    @classmethod
    def unpack(cls, data: bytes) -> Change | None:
        """Return what pack() wrote; None if it is not whole, for then nothing has been written into the map either."""
        start = len(MAGIC) + 16
        content = data[start : start + int.from_bytes(data[start - 8 : start], "little")]
        if len(content) < 24 or data[:start] != MAGIC + _packed(digest(content), len(content)):
            return None
        old_size, new_size, count = _numbers(content, 0)
        chunks, at = [], 24
        for _ in range(count):
            offset, olds, news = _numbers(content, at)
            at += 24
            chunks.append((offset, content[at : at + olds], content[at + olds : at + olds + news]))
            at += olds + news
        return cls(old_size, new_size, chunks)

    def not_begun(self, fd: int) -> bool:
        """Whether the map still holds the old bytes wherever this changes it."""
        return os.fstat(fd).st_size == self.old_size and all(
            os.pread(fd, len(old), offset) == old for offset, old, _ in self.chunks
        )

    def begun(self, fd: int) -> bool:
        """Whether the map holds nothing but old and new bytes there: nobody else has written since."""
        for offset, old, new in self.chunks:
            there = os.pread(fd, CHUNK, offset)
            for at in range(0, len(there), SECTOR):
                sector = slice(at, at + SECTOR)
                if there[sector] not in (old[sector], new[sector], bytes(len(there[sector]))):
                    return False
        return True

    def write(self, fd: int) -> None:
        """Put the new bytes into the map: the pages added at its end first, the first one last.

        Raise OSError or MemoryError if that fails and the old bytes could be put back, Unfinished if not even that.
        """
        try:
            for offset, _, new in reversed(self.chunks):
                write_all(fd, new, offset)
            if self.new_size < self.old_size:
                os.ftruncate(fd, self.new_size)
        except (OSError, MemoryError) as error:
            self._undo(fd, error)
            raise

    def _undo(self, fd: int, why: Exception) -> None:
        try:
            for offset, old, _ in reversed(self.chunks):
                write_all(fd, old, offset)
            os.ftruncate(fd, self.old_size)
        except (OSError, MemoryError):
            raise Unfinished(f"written halfway: {why}") from None


def _differing(old: int, new: int, size: int) -> Iterator[tuple[int, bytes, bytes]]:
    for start in range(0, size, SLICE):
        before, after = os.pread(old, SLICE, start), os.pread(new, SLICE, start)
        if before == after:
            continue
        for at in range(0, max(len(before), len(after)), CHUNK):
            chunk = slice(at, at + CHUNK)
            if before[chunk] != after[chunk]:
                yield start + at, before[chunk], after[chunk]


def _packed(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(8, "little") for number in numbers)


def _numbers(data: bytes, at: int) -> tuple[int, int, int]:
    """Return the three numbers that stand there."""
    first, second, third = (int.from_bytes(data[n : n + 8], "little") for n in range(at, at + 24, 8))
    return first, second, third
