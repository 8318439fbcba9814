"""popips-db end: ends grants before their time."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable

from popips import address, orphans, revoke
from popips.db import choice, report, words
from popips.db.known import Last, known
from popips.db.task import Task
from popips.login import word
from popips.site import Site

HELP = "end grants at once; your own records are kept"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = words.FROM_STANDARD_INPUT
    parser.add_argument("--all", action="store_true", help="all grants")
    choice.options(parser)
    parser.add_argument("words", nargs="*", metavar="ADDRESS")


def work(task: Task) -> int:
    """End the grants that are chosen, or what looks like a grant and is none."""
    options = task.options
    task.needs_grants("end")
    choice.check(options, options.words, "addresses, --all")
    report.complain(words.host_bits(options.network or ""))
    named = [words.address_of(word) for word in words.arguments(options.words)]
    with task.site() as site:
        if options.orphans:
            return end_orphans(task, site)
        if not named:
            return end_chosen(task, site)
        ended = _end(task, site, named)
        with known(site) as others:
            return report.complain(none(name, others.elsewhere(name)) for name in named if name not in ended)


def none(name: str, there: Last | None) -> str:
    """Return that an address has no grant here, and what ends the one that it has by a login on another host."""
    if there is None or there.ended or there.login is None:
        return f"{name}: no grant"
    host = word(there.login.host)
    return f"{name}: no grant of this host's: the login was on {host}; end it there, or: popips-db deny {name}"


def end_chosen(task: Task, site: Site) -> int:
    """End the grants that are chosen; return 1 if there are none but of all, or if a login on another host is left."""
    ended = _end(task, site, choice.names(site, task.options))
    if name_elsewhere(task, site):
        return 1
    status = report.complain([] if ended else [choice.none(task.options)])
    return os.EX_OK if vars(task.options).get("all") else status  # which are none, too


def name_elsewhere(task: Task, site: Site) -> int:
    """Print each login on another host that is chosen, and where it can be ended; return 1 if there is one."""
    with known(site) as others:
        return report.complain(
            none(name, others.elsewhere(name)) for name in choice.elsewhere(site, others, task.options)
        )


def _end(task: Task, site: Site, names: Iterable[str]) -> list[str]:
    ended: dict[str, None] = {}
    try:
        for batch in revoke.end(site, names):
            report.note((f"removed: address={name}" for name in batch), task.place)
            ended.update(dict.fromkeys(batch))
    finally:
        report.did("ended", ended)
    return list(ended)


def end_orphans(task: Task, site: Site) -> int:
    """End what looks like a grant and is none."""
    ended: list[str] = []
    for keys in orphans.end(site):
        report.note((f"removed: orphan={address.of_key(key)} key={word(key)}" for key in keys), task.place)
        ended += keys
    report.did("ended", ended)
    if not ended:
        report.complain(["no orphans"])
    return os.EX_OK
