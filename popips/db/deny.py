"""popips-db deny: keeps an address or network out although its users log in, and lists who is."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator

from popips import address, command, denials, elsewhere, parsers, revoke
from popips.db import report, shape
from popips.db.known import known
from popips.db.task import Task
from popips.db.words import host_bits
from popips.denials import Denial
from popips.login import word
from popips.policy import Bars
from popips.site import Site

HELP = "keep an address or network out, or list the denials"
KEEP_OUT = "no login opens the relay for it, and its grants end; for ever, or for 90s, 15m, 2h, 1d, 1w"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    shape.option(parser)
    parser.add_argument("words", nargs="*", metavar="ADDRESS[/BITS] [for TIME]", help=KEEP_OUT)


def work(task: Task) -> int:
    """Keep an address or network out; without one, list who is kept out."""
    task.needs_grants("deny")
    words, as_json = task.options.words, task.options.json
    with task.site() as site:
        if not words:
            own, others = denials.load(site.folder), elsewhere.denied(site)
            there = [one for one in own if one.until > site.now], [one for one in others if one.until > site.now]
            _list(site, *there, as_json)
            return os.EX_OK
        new = denial(words, site.now)
        report.complain(host_bits(words[0]))
        bars = elsewhere.bars(site)
        denials.add(site.folder, new, site.now)
        report.note([f"denied: address={new.text} until={report.moment(new.until)}"], task.place)
        gone: list[str] = []
        try:
            for ended in _end(site, new, bars):
                report.note((f"removed: address={name}" for name in ended), task.place)
                gone += ended
        finally:
            if as_json:
                shape.write({"denials": [_document(new, "")], "ended": gone})
            else:
                report.did("denied", [f"{new.text} {_until(new)}"])
                report.did("ended", gone)
    return os.EX_OK


def _end(site: Site, new: Denial, bars: Bars) -> Iterator[list[str]]:
    """End what a denial closes, which is on the list by now, as revoke.end() does; bars: who was kept out before."""
    yield from revoke.denied(site, new)
    with known(site) as others:  # where they open by themselves: what waits for a run has opened nothing
        there = [name for name in others.opening(bars) if others.is_asked and address.is_in(name, (new.network,))]
    yield there
    elsewhere.end(site.settings, there, site.now)  # or they would be open again once the denial is over


def _until(new: Denial) -> str:
    return "for ever" if new.until == denials.FOR_EVER else f"until {report.moment(new.until)}"


def denial(words: list[str], now: float) -> Denial:
    """Return what the words say; raise UsageError for all but ADDRESS, ADDRESS/BITS, and a time behind `for`."""
    text = address.of_key(words[0].lower()) or words[0]
    try:
        if words[1:2] == ["for"] and len(words) == 3:
            return Denial(text, now + parsers.duration(words[2]), report.admin())
        if len(words) == 1:
            return Denial(text, denials.FOR_EVER, report.admin())
        raise ValueError("one address or network at a time")
    except ValueError as error:
        cure = "write ADDRESS or ADDRESS/BITS, and `for 1d` if not for ever"
        raise command.UsageError(f"{' '.join(words)}: {error}; {cure}") from None


def _list(site: Site, own: list[Denial], others: list[Denial], as_json: bool) -> None:
    """Print them, and where hosts share them, which one each is lifted on."""
    there = [(one, "") for one in own] + [(one, one.host) for one in others]
    if as_json:
        shape.write({"denials": [_document(one, host) for one, host in there]})
        return
    for one, host in there:
        row = [one.text, report.moment(one.until), one.by, *[word(host)] * bool(site.settings.share)]
        sys.stdout.write("\t".join(row) + "\n")


def _document(one: Denial, host: str) -> dict[str, object]:
    return {"network": one.text, **shape.moment("until", one.until), "by": one.by, "host": host or None}
