"""Lines come in batches of those that wait, none waits for another, and of one that is too long nothing counts."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from follower.lines import BATCH, CHUNK, LONGEST, Lines

LINE = b"Nov 21 14:00:00 mail mypopd: login alice from 192.0.2.10\n"


def whole(data: bytes) -> list[str]:
    """All lines of a file."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        lines, found = Lines(file.fileno()), []
        while not lines.ended:
            found += lines.batch(0)
        return found


@contextmanager
def pipe() -> Iterator[tuple[Lines, int]]:
    """Lines of a pipe, and its other end."""
    read, write = os.pipe()
    with open(read, "rb", 0), open(write, "wb", 0):
        yield Lines(read), write


def test_of_a_line_that_is_too_long_not_even_the_rest_counts() -> None:
    for filler in range(LONGEST - 200, LONGEST + 1):
        assert whole(b"x" * filler + LINE[:-1] * 300 + b"\n" + LINE) == [LINE.decode()[:-1]]
    for size in (LONGEST, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK):
        assert whole(b"x" * size + LINE + LINE) == [LINE.decode()[:-1]]
    assert whole(b"x" * LONGEST + b"\n") == ["x" * LONGEST]
    assert whole(b"x" * (LONGEST + 1) + b"\n") == []


def test_of_a_line_that_does_not_end_no_more_is_kept_than_shows_that_it_is_too_long() -> None:
    with pipe() as (lines, write):
        for _ in range(10):
            os.write(write, b"x" * CHUNK)
            assert lines.batch(1) == []
            assert len(lines._rest) == LONGEST + 1


def test_lines_end_at_newlines_and_nowhere_else() -> None:
    odd = "a\rb\x0bc\x0cd\x1ce\x85f\u2028g\x00h"
    assert whole(f"{odd}\n\n{odd}\nrest".encode()) == [odd, "", odd]
    assert whole(b"\xff\xfe\n") == ["\ufffd\ufffd"]


def test_what_waits_is_one_batch_and_a_single_line_does_not_wait() -> None:
    with pipe() as (lines, write):
        os.write(write, LINE)
        assert len(lines.batch(3600)) == 1
        os.write(write, LINE * 1000)
        assert len(lines.batch(3600)) == 1000
        os.write(write, LINE[:20])
        assert lines.batch(3600) == []  # the rest of it may come whenever it likes
        os.write(write, LINE[20:] + LINE[:3])
        assert len(lines.batch(3600)) == 1
        assert lines.batch(0) == []
        assert not lines.ended


def test_a_batch_has_an_end_where_lines_never_do() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(LINE * (3 * BATCH // len(LINE)))
        file.seek(0)
        assert BATCH // len(LINE) - 1 <= len(Lines(file.fileno()).batch(0)) <= (BATCH + CHUNK) // len(LINE)


def test_the_end_is_noticed_and_a_line_without_its_end_is_none() -> None:
    with pipe() as (lines, write):
        os.write(write, LINE + LINE[:-1])
        os.close(os.dup(write))
        assert len(lines.batch(3600)) == 1
        assert not lines.ended
    read, write = os.pipe()
    lines = Lines(read)
    os.write(write, LINE)
    os.close(write)
    assert (len(lines.batch(3600)), lines.ended) == (1, True)
    os.close(read)
