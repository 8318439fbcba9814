"""popips-db deny: keeps an address or network out although its users log in, and lists who is."""

from __future__ import annotations

import argparse
import os
import sys

from popips import address, command, denials, parsers, revoke
from popips.db import report
from popips.db.task import Task

HELP = "keep an address or network out, or list who is"
KEEP_OUT = "no login opens the relay for it, and what grants it has end; for ever, or for 90s, 15m, 2h, 1d"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument("words", nargs="*", metavar="ADDRESS[/BITS] [for TIME]", help=KEEP_OUT)


def work(task: Task) -> int:
    """Keep an address or network out; without one, list who is kept out."""
    task.needs_grants("deny")
    with task.site() as site:
        if not task.options.words:
            return _list([one for one in denials.load(site.folder) if one.until > site.now], task.options.json)
        new = denial(task.options.words, site.now)
        denials.add(site.folder, new, site.now)
        report.note([f"denied: address={new.text} until={report.moment(new.until)}"], task.place)
        for ended in revoke.denied(site, new):
            report.note((f"removed: address={name}" for name in ended), task.place)
    return os.EX_OK


def denial(words: list[str], now: float) -> denials.Denial:
    """Return what the words say; raise UsageError for all but ADDRESS, ADDRESS/BITS, and a time behind `for`."""
    text = address.of_key(words[0].lower()) or words[0]
    try:
        if words[1:2] == ["for"] and len(words) == 3:
            return denials.Denial(text, now + parsers.duration(words[2]), report.admin())
        if len(words) == 1:
            return denials.Denial(text, denials.FOR_EVER, report.admin())
        raise ValueError("one address or network at a time")
    except ValueError as error:
        cure = "write ADDRESS or ADDRESS/BITS, and `for 1d` if not for ever"
        raise command.UsageError(f"{' '.join(words)}: {error}; {cure}") from None
