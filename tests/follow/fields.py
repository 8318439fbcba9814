"""The fields of a format's patterns, each of which can be loosened."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from follower import formats

KEYS = ("login", "from")
PART = re.compile(  # of a pattern: a class of characters, and how often it is taken; or a character with a backslash
    r"(?P<field>\[\^?(?:\\.|[^\]\\])+\](?:\{[0-9]+(?:,[0-9]+)?\}|[+*]))|\[\^?(?:\\.|[^\]\\])+\]|\\."
)
UNBOUNDED = re.compile(r"[+*]|\{[0-9]+,\}")


@dataclass(frozen=True)
class Field:
    """A field of a pattern: which key of the file it is in, the how-manieth, and where it begins and ends there."""

    format: str
    key: str
    pattern: str
    begin: int
    end: int

    def __str__(self) -> str:
        return f"{self.format}: {self.key}: {self.pattern[: self.begin]}-->{self.pattern[self.begin : self.end]}"

    def becoming(self, text: str) -> str:
        """Return the pattern with a text in place of the field."""
        return self.pattern[: self.begin] + text + self.pattern[self.end :]

    def span(self, line: str) -> tuple[int, int] | None:
        """Return where a line that the pattern takes has the field, if it has it."""
        found = re.compile(f"(?:{self.becoming(f'(?P<this>{self.text})')})$", re.ASCII).search(line)
        return None if not found or found["this"] is None else found.span("this")

    @property
    def text(self) -> str:
        return self.pattern[self.begin : self.end]


def patterns(name: str) -> Iterator[tuple[str, str]]:
    """Return the keys and the patterns of a format's file."""
    for line in (formats.FOLDER / f"{name}.conf").read_text().splitlines():
        key, _, pattern = line.partition(" = ")
        if key in KEYS:
            yield key, pattern


def fields(name: str) -> list[Field]:
    """Return all fields of a format's patterns that stand for more than one character."""
    found = ((key, text, one) for key, text in patterns(name) for one in PART.finditer(text))
    return [Field(name, key, text, *one.span()) for key, text, one in found if one["field"]]


def is_bounded(pattern: str) -> bool:
    """Whether nothing in a pattern is taken as often as it comes."""
    return not UNBOUNDED.search(PART.sub(lambda part: part["field"][-1] if part["field"] else "", pattern))
