"""popips-db del: deletes records, the admin's, too, and ends the grants that go with them."""

from __future__ import annotations

import argparse

from popips import register, revoke
from popips.db import report, words
from popips.db.task import Task
from popips.login import word

HELP = "delete records and their stamps"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = words.OF_RECORDS
    parser.add_argument("keys", nargs="+", metavar="KEY", help="an address, or the key of a record")


def work(task: Task) -> int:
    """Delete the records of these keys and addresses, and end the grants that go with them."""
    wanted = {text: words.keys(task.settings, text) for text in words.arguments(task.options.keys)}
    with task.map() as edited:
        missing = revoke.take_out(edited, wanted)
        if edited.site:
            gone = {key.encode() for keys in wanted.values() for key in keys}
            register.drop(edited.site.folder, lambda key, _: key in gone)
    report.note((f"deleted: key={word(text)}" for text in wanted if text not in missing), task.place)
    return report.complain(f"{text}: no such record in {task.place}" for text in missing)
