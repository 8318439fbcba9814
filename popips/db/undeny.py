"""popips-db undeny: lets an address or network in again that was kept out by deny."""

from __future__ import annotations

import argparse
import os
import time

from popips import denials, elsewhere
from popips.db import deny, report, words
from popips.db.task import Task
from popips.login import word

HELP = "lift a denial"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument("text", metavar="ADDRESS[/BITS]", help="exactly as it was denied")


def work(task: Task) -> int:
    """End what deny began."""
    task.needs_grants("undeny")
    text = deny.denial([task.options.text], time.time()).text
    with task.site() as site:
        if not denials.lift(site.folder, text):
            wider = denials.Denied(denials.load(site.folder)).of(text, site.now) if "/" not in text else None
            cure = f" by itself; {wider.text} is: popips-db undeny {wider.text}" if wider else ""
            hosts = {one.host for one in elsewhere.denied(site) if one.text == text and one.until > site.now}
            if hosts and not cure:
                on = ", ".join(map(word, sorted(hosts)))
                return report.complain([f"{text}: denied on {on}: lift it there: popips-db undeny {text}"])
            return report.complain([f"{text}: not denied{cure}"])
    report.complain(words.host_bits(task.options.text))
    report.note([f"undenied: address={text}"], task.settings.map)
    report.did("undenied", [text])
    return os.EX_OK
