"""popips-db status: tells in one screen whether logins open the relay."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from textwrap import wrap
from typing import TYPE_CHECKING

from popips.db import grants, report, shape
from popips.db.task import Task
from popips.login import word
from popips.plural import counted

if TYPE_CHECKING:
    from popips.db.state import State
    from popips.probe.fleet import Fleet

HELP = "show on one screen whether logins open the relay"
EVERY = 2.0  # seconds between two looks
JUDGED_FOR = 30.0  # seconds that the doctor's checks count for: they ask other programs
HOSTS = 5  # of the fleet, that are named
LONGEST = 100  # characters of an error
WIDEST = 40  # columns of a bar
NARROW = 20  # columns of a screen that has room for a line's name and a word
CLEAR = "\x1b[H\x1b[2J"
WORDS = (
    "Of the grants, live ones are open. The next run of popips-expire sees to the others: it ends those that are due "
    "(their window is over), static (you have a record on the address, which counts) or barred (denied, or in never), "
    "and puts the record of those that are pending. denied: denials that are in force. orphans: records that look like "
    "grants and have none: popips-db end --orphans. "
    "The exit status is 0 if logins open the relay, else 1: then popips-db doctor says why."
)
EVENTS = ("granted", "renewed", "static", "refused", "deferred", "removed", "restored", "error")


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = WORDS
    shape.option(parser)
    parser.add_argument("--watch", action="store_true", help="refresh the screen until it is interrupted")


def work(task: Task) -> int:
    """Print the state of the grants; return 0 if logins open the relay, else 1."""
    from popips.db import state

    task.needs_grants("status")
    is_terminal = sys.stdout.isatty() and not task.options.json
    checks, judged = state.examined(task.settings, time.time()), time.monotonic()
    while True:
        with task.site() as site:
            seen = state.state(site, checks)
        if task.options.watch and is_terminal:
            sys.stdout.write(CLEAR)
        if task.options.json:
            shape.write(seen.document())
        else:
            sys.stdout.writelines(f"{line}\n" for line in lines(seen))
        sys.stdout.flush()
        if not task.options.watch:
            return os.EX_OK if seen.is_well else 1
        time.sleep(EVERY)
        if time.monotonic() > judged + JUDGED_FOR:
            checks, judged = state.examined(task.settings, time.time()), time.monotonic()


def lines(seen: State) -> Iterator[str]:
    """Return the screen: the verdict, and then what there is."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    yield report.painted(seen.verdict, report.GREEN if seen.is_well else report.RED)
    for name, text in _rows(seen):
        line = report.printable(f"{name:<10}{text}".encode())
        yield from wrap(line, max(width, NARROW), subsequent_indent=" " * 10) if width else [line]
    if any(bar.grants for bar in seen.left):
        yield from _histogram(seen, max(1, min(WIDEST, (width or 80) - 24)))


def _rows(seen: State) -> Iterator[tuple[str, str]]:
    place, states = seen.settings.map, seen.states
    there = counted(seen.records, "record") if seen.records is not None else "cannot be read"
    there += ", popips' own" if place.own else ""
    there = there if place.row.has_file else "no map, popips-mapd answers by the stamps"
    yield "map", f"{place}: {there}; {seen.asked_by}"
    counts = {"live": states[grants.GRANTED], **{state: states[state] for state in grants.OTHERS}}
    counts = {**counts, "denied": seen.denied, "orphans": seen.orphans}
    yield "grants", ", ".join(f"{name} {count}" for name, count in counts.items())
    yield "services", _top(seen.services, len(seen.services))
    yield "users", _top(seen.users, 5)
    yield "expirer", _expirer(seen)
    if seen.fleet:
        told = _fleet(seen.fleet, seen.now)
        is_news = seen.unheard and seen.fleet.error != seen.unheard
        yield "fleet", told + (f"; no login on another host counts here: {seen.unheard}" if is_news else "")
    if seen.logged:
        number = seen.logged.events()
        events = ", ".join(f"{event} {number[event]}" for event in EVENTS)
        yield "last hour", f"{events} ({seen.logged.where})"
    else:
        yield "last hour", "nobody keeps the log here, or it cannot be read"
    if seen.unbuilt:
        yield "edit", seen.unbuilt
    yield "versions", ", ".join(f"{name} {version}" for name, version in seen.versions.items())


def _top(grants_of: Counter[str], most: int) -> str:
    named = ", ".join(f"{word(name)} {count}" for name, count in grants_of.most_common(most))
    return named + (f" and {len(grants_of) - most} more" if len(grants_of) > most else "") or "none"


def _expirer(seen: State) -> str:
    if seen.last is None:
        return "no whole run yet"
    moment = report.local(seen.last) if sys.stdout.isatty() else report.moment(seen.last)
    by = f" by {word(seen.run.by)}, took {seen.run.seconds:.2f} s" if seen.run else ""
    return f"last whole run {moment}, {report.span(max(0.0, seen.now - seen.last))} ago{by}"


def _fleet(told: Fleet, now: float) -> str:
    if told.is_silent(now):
        silent = f"silent for {report.span(now - (told.written or now))}"
        return f"popips-share does not run: {_cut(told.error) or silent}"
    since = f" for {report.span(max(0.0, now - told.since))}" if told.since is not None else ""
    how = f"{'connected to' if told.connected else 'NOT connected to'} {told.engine} as {word(told.name)}{since}"
    hosts = [
        f"{word(host.name)} live {host.live}, heard {report.span(max(0.0, now - host.heard))} ago, lag {host.lag:.2f} s"
        for host in told.hosts
    ]
    heard = {host.name for host in told.hosts}
    hosts += [f"{word(name)} not heard yet" for name in told.known if name not in heard]
    more = [f"{counted(len(hosts) - HOSTS, 'more host')}"] if hosts[HOSTS:] else []
    error = [f"error: {_cut(told.error)}"] if told.error else []
    return "; ".join([how, *error, *(hosts[:HOSTS] or ["no other host heard"]), *more])


def _cut(text: str) -> str:
    """Return the beginning of a server's text that is long; doctor has all of it."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _histogram(seen: State, width: int) -> Iterator[str]:
    most = max(bar.grants for bar in seen.left)
    yield "time left"
    for bar in seen.left:
        span = f"{report.span(bar.least)}-{report.span(bar.most)}"
        yield f"  {span:>15} {bar.grants:>5} {'#' * -(-bar.grants * width // most)}"
