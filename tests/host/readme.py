"""The commands of README and of pages of docs/, as a reader types them: section by section, block by block."""

from __future__ import annotations

import re

from tests.box import ROOT

PAGES = [ROOT / "README.md", *(ROOT / f"docs/{name}.md" for name in ("by-hand", "moving", "quick-follow", "quick-ssh"))]


def text() -> str:
    """Return the pages, one behind the other."""
    return "".join(page.read_text() for page in PAGES)


def blocks(heading: str) -> list[list[str]]:
    """Return the blocks of commands below a heading, each as its lines."""
    (section,) = re.findall(rf"^#+ {re.escape(heading)}$\n(.*?)(?=^#)", text() + "#", re.M | re.S)
    found = re.findall(r"(?:^ {4}.*\n)+", section, re.MULTILINE)
    return [[line.strip() for line in block.splitlines()] for block in found]


def commands(heading: str, leave_out: str = "") -> list[str]:
    """Return all commands below a heading but those that hold the text leave_out."""
    lines = [line for block in blocks(heading) for line in block]
    return [line for line in lines if not leave_out or leave_out not in line]
