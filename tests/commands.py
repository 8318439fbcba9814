"""The commands that README, docs, man pages and the comments of contrib's files show, each with where it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.box import ROOT

# blocks of other things than commands: what a program shows, lines of a file, a drawing
NO_COMMANDS = {
    ("README.md", "Where things are"),
    ("docs/hacking.md", "A setting: one row"),
    ("docs/hacking.md", "A kind of map: one module and two rows"),
    ("docs/reliability.md", "Nothing lost, nothing left open"),
    ("man/popips-hook.8", "EXAMPLES"),
    ("man/popips-hook.8", "DETAILS"),
    ("man/popips-postlogin.8", "EXAMPLES"),
    ("man/popips.conf.5", "EXAMPLES"),
}
NO_COMMAND = ("Nov 28 ", "follow_pattern = ", "# ")  # single lines, among commands: of a log, of popips.conf, a comment
QUOTED = re.compile(r"`((?:popips-\w+|postconf|systemctl|make|sendmail|promtool) [^`]+)`")


@dataclass(frozen=True)
class Shown:
    """A command, and the page and heading that it stands below."""

    page: str
    heading: str
    command: str

    def __str__(self) -> str:
        return f"{self.page}: {self.command}"


def shown() -> list[Shown]:
    """Return all of them."""
    lines = [*_markdown(), *_man()]
    lines = [one for one in lines if (one.page, one.heading) not in NO_COMMANDS]
    return [one for one in (*lines, *_contrib()) if not one.command.startswith(NO_COMMAND)]


def _markdown() -> Iterator[Shown]:
    for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))):
        heading = ""
        for line in path.read_text().splitlines():
            if found := re.match(r"#+ (.*)", line):
                heading = found[1]
            if line.startswith("    ") and line.strip():
                yield Shown(str(path.relative_to(ROOT)), heading, re.sub(r"  +# .*", "", line).strip())


def _man() -> Iterator[Shown]:
    for path in sorted(ROOT.glob("man/*.[578]")):
        heading, is_block = "", False
        for line in path.read_text().splitlines():
            if line.startswith(".SH "):
                heading = line[4:]
            elif line in (".nf", ".fi"):
                is_block = line == ".nf"
            elif is_block and line.strip():
                yield Shown(str(path.relative_to(ROOT)), heading, line.replace("\\-", "-").strip())


def _contrib() -> Iterator[Shown]:
    for path in sorted(ROOT.glob("contrib/**/*")):
        if path.is_dir() or "completion" in path.parts:
            continue
        for line in re.findall(r"^(?:#|dnl).*$", path.read_text(), re.MULTILINE):
            name = str(path.relative_to(ROOT))
            if found := re.match(r"(?:#|dnl)   (\S.*)", line):
                yield Shown(name, "", found[1])
            for command in QUOTED.findall(line):
                yield Shown(name, "", command)
