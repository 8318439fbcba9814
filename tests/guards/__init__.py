"""The guards of the code: what keeps each promise, and the test that turns red as soon as it is taken out.

One module of rows for each part: core.py, maps.py and so on. `python -m tests.guards` takes each out of a copy of the
tree and runs its test there. docs/reliability.md has them all as a table, which page() writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs/reliability.md"
HEAD = "| taken out | of | turns red |\n| --- | --- | --- |\n"


@dataclass(frozen=True)
class Guard:
    """A guard, by what it does; the file that it is in; how it is taken out; and the test that is red without it.

    cuts: texts that stand in the file exactly once, and what takes their place. test: one that pytest can be told.
    """

    name: str
    file: str
    cuts: Mapping[str, str]
    test: str

    def cut(self, text: str) -> str:
        """Return the file's text without the guard; raise ValueError if it is not there, or there more than once."""
        for old, new in self.cuts.items():
            if text.count(old) != 1:
                raise ValueError(f"{self.file}: {text.count(old)} times: {old!r}")
            text = text.replace(old, new)
        return text

    def row(self) -> str:
        """Return its line of the table."""
        path, _, test = self.test.partition("::")
        name, _, case = test.rstrip("]").partition("[")
        told = name.removeprefix("test_").replace("_", " ") + (f" ({case})" if case else "")
        return f"| {self.name} | {self.file} | {path}: {told} |\n"


def page(text: str, guards: Iterable[Guard]) -> str:
    """Return the page on reliability with the table of these guards in place of the one that it has."""
    table = HEAD + "".join(guard.row() for guard in guards)
    return re.sub(rf"{re.escape(HEAD)}(?:\|.*\n)*", lambda _: table, text, count=1)
