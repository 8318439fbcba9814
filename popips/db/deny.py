"""popips-db deny and undeny: keep an address or network out although its users log in, and let it in again."""

from __future__ import annotations

import os
import sys
import time

from popips import address, command, denials, parsers, revoke
from popips.db import report
from popips.db.task import Task


def work(task: Task) -> int:
    """Keep an address or network out; without one, list who is kept out."""
    task.needs_grants("deny")
    with task.site() as site:
        if not task.options.words:
            for denial in denials.load(site.folder):
                if denial.until > site.now:
                    sys.stdout.write(f"{denial.text}\t{report.moment(denial.until)}\t{denial.by}\n")
            return os.EX_OK
        denial = _denial(task.options.words, site.now)
        denials.add(site.folder, denial, site.now)
        report.note([f"denied: address={denial.text} until={report.moment(denial.until)}"], task.place)
        for ended in revoke.denied(site, denial):
            report.note((f"removed: address={name}" for name in ended), task.place)
    return os.EX_OK


def lift(task: Task) -> int:
    """End what deny began."""
    task.needs_grants("undeny")
    text = _denial([task.options.text], time.time()).text
    with task.site() as site:
        if not denials.lift(site.folder, text):
            return report.complain([f"{text}: not denied"])
    report.note([f"undenied: address={text}"], task.settings.map)
    return os.EX_OK


def _denial(words: list[str], now: float) -> denials.Denial:
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
