"""`make pages`: writes what completes command lines in bash and zsh, into contrib/completion."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import shtab

from expirer import expire
from follower import follow, formats
from mapd import mapd
from popips.db import main as db
from share import share

FOLDER = Path(__file__).parent.parent / "contrib/completion"
PARSERS = {
    "popips-db": db.parser,
    "popips-expire": expire.parser,
    "popips-follow": follow.parser,
    "popips-mapd": mapd.parser,
    "popips-share": share.parser,
}
KINDS = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY}  # by how an argument is called in --help
ADDRESSES = {"end": "grants", "why": "grants", "undeny": "denials"}  # what the addresses are of that a verb takes
GRANTS, DENIALS = "popips-db lst --grants 2>/dev/null | cut -f 1", "popips-db deny 2>/dev/null | cut -f 1"
PREAMBLE = {
    "bash": f"""\
# made by `make pages`
_popips_grants() {{
  compgen -W "$({GRANTS})" -- "$1"
}}
_popips_denials() {{
  compgen -W "$({DENIALS})" -- "$1"
}}
""",
    "zsh": f"""\
# made by `make pages`
_popips_grants() {{
  compadd -- ${{(f)"$({GRANTS})"}}
}}
_popips_denials() {{
  compadd -- ${{(f)"$({DENIALS})"}}
}}
""",
}


def files() -> Iterator[tuple[Path, str]]:
    """Return each file, and what is to be in it."""
    os.environ["COLUMNS"] = "80"  # whatever terminal this runs on
    for program, made in PARSERS.items():
        for shell, name in (("bash", program), ("zsh", f"_{program}")):
            preamble = PREAMBLE[shell] if program == "popips-db" else ""
            parser = made()
            _mark(parser, "")
            yield FOLDER / shell / name, shtab.complete(parser, shell, preamble=preamble)


def _mark(parser: argparse.ArgumentParser, verb: str) -> None:
    """Note at each argument that names a file or an address what is to be offered for it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, its in action.choices.items():
                _mark(its, name)
        elif action.dest == "format":
            action.choices = [*formats.names(), "own"]
        elif action.metavar in KINDS:
            action.complete = KINDS[str(action.metavar)]  # type: ignore[attr-defined]
        elif not action.option_strings and verb in ADDRESSES:
            function = f"_popips_{ADDRESSES[verb]}"
            action.complete = {"bash": function, "zsh": function}  # type: ignore[attr-defined]


if __name__ == "__main__":
    for path, text in files():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
