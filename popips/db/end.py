"""popips-db end: ends grants before their time."""

from __future__ import annotations

import argparse
import os

from popips import address, command, orphans, revoke
from popips.db import report, words
from popips.db.task import Task
from popips.login import word

HELP = "end grants at once; records of yours stay"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = words.FROM_STANDARD_INPUT
    parser.add_argument("--all", action="store_true", help="all grants")
    lost = "records that look like a grant, and belong to no login and no record of yours"
    parser.add_argument("--orphans", action="store_true", help=lost)
    parser.add_argument("words", nargs="*", metavar="ADDRESS")


def work(task: Task) -> int:
    """End the grants of these addresses, or all, or what looks like a grant and is none."""
    options = task.options
    task.needs_grants("end")
    if [bool(options.words), options.all, options.orphans].count(True) != 1:
        raise command.UsageError("end: write addresses, or --all, or --orphans")
    names = [words.address_of(word) for word in words.arguments(options.words)]
    ended: set[str] = set()
    with task.site() as site:
        if options.orphans:
            for keys in orphans.end(site):
                report.note((f"removed: orphan={address.of_key(key)} key={word(key)}" for key in keys), task.place)
            return os.EX_OK
        for batch in revoke.end(site, revoke.all_grants(site) if options.all else names):
            report.note((f"removed: address={name}" for name in batch), task.place)
            ended.update(batch)
    return report.complain(f"{name}: no grant" for name in names if name not in ended)
