"""`make pages`: writes the rows of popips.settings into man/popips.conf.5 and contrib/popips.conf."""

from __future__ import annotations

import inspect
import re
import textwrap
from pathlib import Path

from popips.settings import ROWS

ROOT = Path(__file__).parent.parent
PAGE, SAMPLE = ROOT / "man/popips.conf.5", ROOT / "contrib/popips.conf"


def page(text: str) -> str:
    """Return the manual page with the settings of today in place of those that it has."""
    rows = "".join(f'.TP\n.BR {row.name} " ({row.text})"\n{narrow(row.manual)}\n' for row in ROWS.values())
    return re.sub(r"(?ms)^\.TP\n.*?(?=^\.SH CAVEATS)", lambda _: rows, text, count=1)


def narrow(text: str) -> str:
    """Return lines for roff that are no wider than 80 bytes, as mandoc's lint wants them; each sentence begins one."""
    lines = inspect.cleandoc(text).splitlines()
    wrap = textwrap.TextWrapper(width=80, break_long_words=False, break_on_hyphens=False)
    return "\n".join(part for line in lines for part in ([line] if line.startswith(".") else wrap.wrap(line) or [""]))


def sample(text: str) -> str:
    """Return the sample with the settings of today below its first line."""
    return text.split("\n", maxsplit=1)[0] + "\n" + "".join(f"#{row.name} = {row.text}\n" for row in ROWS.values())


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
    SAMPLE.write_text(sample(SAMPLE.read_text()))
