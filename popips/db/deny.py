"""popips-db deny and undeny: keep an address or network out although its users log in, and let it in again."""

from __future__ import annotations

import os
import sys

from popips import address, command, denials, parsers, revoke
from popips.db import report
from popips.db.task import Task


def work(task: Task) -> int:
    """Keep an address or network out; without one, list who is kept out."""
    with task.host("deny") as host:
        if not task.options.words:
            there = [denial for denial in denials.load(host.folder) if denial.until > task.now]
            sys.stdout.writelines(f"{one.text}\t{report.moment(one.until)}\t{one.by}\n" for one in there)
            return os.EX_OK
        denial = _denial(task.options.words, task.now)
        ended = revoke.deny(host, denial)
        report.note([f"denied: address={denial.text} until={report.moment(denial.until)}"], task.place)
        for batch in ended:
            report.note((f"removed: address={name}" for name in batch), task.place)
    return os.EX_OK


def lift(task: Task) -> int:
    """End what deny began."""
    text = _denial([task.options.text], task.now).text
    with task.host("undeny") as host:
        if not denials.lift(host.folder, text):
            return report.complain([f"{text}: not denied"])
    report.note([f"undenied: address={text}"], task.place)
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
