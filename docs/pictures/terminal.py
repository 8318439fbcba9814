"""Draws the text on standard input as a terminal shows it, in SVG on standard output; `make pictures` does so."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from html import escape

WIDEST = 112  # characters of a line that are shown
ADVANCE, LINE, MARGIN = 7.3, 17, 14  # of a character, from line to line, and around all, in pixels
COLOURS = (  # of words, on a dark ground: read in a light page and in a dark one
    (r"^\d\. .*", "#e5c07b"),
    (r"(\b550|-ERR|\[AUTH).*", "#e06c75"),
    (r"\b250 .*|\bok$|^All as it must be.*", "#98c379"),
)


def picture(text: str) -> str:
    """Return the SVG."""
    lines = [line.expandtabs()[:WIDEST] for line in text.strip().splitlines()]
    width, height = MARGIN * 2 + ADVANCE * max(map(len, lines)), MARGIN * 2 + LINE * len(lines)
    font = "font-family='ui-monospace, Menlo, Consolas, monospace' font-size='12'"
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:.0f} {height}' {font}>",
            f"<rect width='{width:.0f}' height='{height}' rx='8' fill='#282c34'/>",
            *_rows(lines),
            "</svg>\n",
        ]
    )


def _rows(lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        there = [(found, colour) for words, colour in COLOURS if (found := re.search(words, line))]
        at = there[0][0].start() if there else len(line)
        spans = ((line[:at], "#abb2bf"), (line[at:], there[0][1] if there else ""))
        told = "".join(f"<tspan fill='{colour}'>{escape(words)}</tspan>" for words, colour in spans if words)
        yield f"<text x='{MARGIN}' y='{MARGIN + LINE * number - 4}' xml:space='preserve'>{told}</text>"


if __name__ == "__main__":
    sys.stdout.write(picture(sys.stdin.read()))
