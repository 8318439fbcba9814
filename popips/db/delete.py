"""popips-db del: deletes records, the admin's, too, and ends the grants that go with them."""

from __future__ import annotations

import argparse
import os
import time

from popips import address, elsewhere, register, revoke
from popips.db import choice, end, report, words
from popips.db.task import Task
from popips.login import word

HELP = "delete records, and end the grants that go with them"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = words.OF_RECORDS
    choice.options(parser)
    parser.add_argument("keys", nargs="*", metavar="KEY", help="an address, or the key of a record")


def work(task: Task) -> int:
    """Delete the records of these keys and addresses, and end the grants that go with them."""
    options = task.options
    choice.check(options, options.keys, "keys")
    if not options.keys:
        task.needs_grants("del --user, --network or --orphans")
    report.complain(words.host_bits(options.network or ""))
    if options.orphans or options.user is not None:  # grants, and no records of the admin's
        with task.site() as site:
            return (end.end_orphans if options.orphans else end.end_chosen)(task, site)
    texts = words.arguments(options.keys) or _chosen(task)
    wanted = {text: words.keys(task.settings, text) for text in texts}
    with task.map() as edited:
        taken = revoke.take_out(edited, wanted) if wanted else revoke.Taken([], [])
        if edited.site and wanted:
            gone = {key.encode() for keys in wanted.values() for key in keys}
            register.drop(edited.site.folder, lambda key, _: key in gone)
    done = [text for text in wanted if text not in taken.missing]
    report.note((f"deleted: key={word(text)}" for text in done), task.place)
    report.did("deleted", done)
    elsewhere.end(task.settings, taken.ended, time.time())
    status = os.EX_OK
    if options.network is not None:
        with task.site() as site:
            status = end.name_elsewhere(task, site)
    if not (wanted or status):
        return report.complain([choice.none(options)])
    return report.complain(f"{text}: no such record in {task.place}" for text in taken.missing) or status


def _chosen(task: Task) -> list[str]:
    """Return the addresses that have a grant in the network, and the keys of records on addresses in it."""
    within = words.network(task.options.network)
    with task.site() as site:
        found = list(dict.fromkeys(choice.names(site, task.options)))
        with site.reader() as records:
            keys = [key.decode(errors="replace") for key, _ in records.items()]
        named = ((key, address.of_key(key)) for key in keys)
        return found + [key for key, name in named if name and name not in found and address.is_in(name, (within,))]
