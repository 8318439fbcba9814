"""`make pages`: writes what bash and zsh complete, from the parsers of the programs, into contrib/completion."""

from __future__ import annotations

import argparse
from pathlib import Path

import shtab

from expirer import expire
from follower import follow
from popips.db import main as db

FOLDER = Path(__file__).parent.parent / "contrib/completion"
PARSERS = {"popips-db": db.parser, "popips-expire": expire.parser, "popips-follow": follow.parser}
SHELLS = {"bash": "{program}", "zsh": "_{program}"}  # the name that each shell looks for
BY_METAVAR = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY}


def files() -> dict[Path, str]:
    """Return the text of each file."""
    return {
        FOLDER / shell / name.format(program=program): _text(shell, parser())
        for program, parser in PARSERS.items()
        for shell, name in SHELLS.items()
    }


def _text(shell: str, parser: argparse.ArgumentParser) -> str:
    for each in _with_verbs(parser):
        for action in each._actions:
            if kind := BY_METAVAR.get(str(action.metavar)):
                vars(action)["complete"] = kind
    text = str(shtab.complete(parser, shell))
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def _with_verbs(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Return a parser and those of its verbs."""
    found = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += action.choices.values()
    return found


if __name__ == "__main__":
    for path, text in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
