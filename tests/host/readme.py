"""README's commands, as a reader types them: section by section, block by block."""

from __future__ import annotations

import re

from tests.box import ROOT

README = ROOT / "README.md"


def blocks(heading: str) -> list[list[str]]:
    """Return the blocks of commands below a heading, each as its lines."""
    section = re.search(rf"^#+ {re.escape(heading)}$\n(.*?)(?=^#)", README.read_text() + "#", re.M | re.S)
    assert section, f"README has no section {heading!r}"
    found = re.findall(r"(?:^ {4}.*\n)+", section[1], re.MULTILINE)
    return [[line.strip() for line in block.splitlines()] for block in found]


def commands(heading: str, leave_out: str = "") -> list[str]:
    """Return all commands below a heading but those that hold the text leave_out."""
    lines = [line for block in blocks(heading) for line in block]
    return [line for line in lines if not leave_out or leave_out not in line]
