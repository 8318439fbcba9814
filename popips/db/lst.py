"""popips-db lst: prints records, or grants."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator

from popips import address
from popips.db import grants, report, shape, words
from popips.db.grants import Listed
from popips.db.task import Task
from popips.login import word
from popips.maps import Records, kinds
from popips.maps.journal import is_idle
from popips.site import PATIENCE, Site

HELP = "print records: key, TAB, value"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = words.OF_RECORDS
    only = "only grants: address, user, service, last login, time left"
    parser.add_argument("--grants", action="store_true", help=only)
    shape.option(parser)
    parser.add_argument("keys", nargs="*", metavar="KEY", help="only these (default: all)")


def work(task: Task) -> int:
    """Print the records of these keys, or all; or the grants."""
    keys = words.arguments(task.options.keys)
    if not task.options.grants:
        return _records(task, keys)
    task.needs_grants("lst --grants")
    with task.site() as site:
        return _grants(site, {address.of_key(key.lower()) or key for key in keys}, task.options.json)


def _records(task: Task, keys: list[str]) -> int:
    until = time.monotonic() + PATIENCE
    if not is_idle(task.place):
        with kinds.writer(task.place, task.settings.source(task.place), time.time(), until):
            pass  # it finishes what a dead one left
    with kinds.reader(task.place, until) as records:
        found = {text: list(_found(task, records, text)) for text in keys}
        missing = [text for text, there in found.items() if not there]
        pairs = (pair for there in found.values() for pair in there) if keys else records.items()
        if task.options.json:
            shape.write({"map": str(task.place), "records": shape.of_records(list(pairs)), "missing": missing})
        else:
            _print(pairs)
    return report.complain(f"{text}: no such record in {task.place}" for text in missing)


def _found(task: Task, records: Records, text: str) -> Iterator[tuple[bytes, bytes]]:
    for form in words.forms(task.settings, text):
        value = records.get(form.encode())
        if value is not None:
            yield form.encode(), value


def _print(pairs: Iterable[tuple[bytes, bytes]]) -> None:
    for key, value in pairs:
        sys.stdout.write(f"{report.printable(key)}\t{report.printable(value)}\n")


def _grants(site: Site, wanted: set[str], as_json: bool) -> int:
    """Print these grants, or all."""
    shown: list[Listed] = []
    names: set[str] = set()
    with report.records_or_none(site) as records:
        for one in grants.listed(site, records, wanted or None):
            names.add(one.address)
            if as_json or sys.stdout.isatty():
                shown.append(one)
            else:  # at once, and not all of them at the end: there may be a million
                sys.stdout.write("\t".join(_row(site, one, report.moment(one.last))) + "\n")
    missing = sorted(wanted - names)
    if as_json:
        known = {"map": str(site.settings.map), "window": site.settings.window, **shape.moment("time", site.now)}
        shape.write({**known, "grants": [one.document(site.now) for one in shown], "missing": missing})
    elif shown:
        zone = time.strftime("%Z", time.localtime(site.now))
        head = (
            "ADDRESS",
            "USER",
            "SERVICE",
            f"LAST LOGIN ({zone})",
            "TIME LEFT",
            *["HOST"] * bool(site.settings.share),
        )
        sys.stdout.writelines(_table([head, *(_row(site, one, report.local(one.last)) for one in shown)]))
    if not (names or wanted):
        report.complain([f"no grants: {_why_none(site)}"])
    return report.complain(f"{name}: no grant" for name in missing)


def _why_none(site: Site) -> str:
    """Return what to type where there are no grants at all."""
    from popips.probe import unused  # which all other calls need not wait for
    from popips.probe.machine import Machine

    if unused.is_unused(Machine(), site.settings):
        return f"{unused.TOLD}, {unused.SETUP} says what is needed"
    return "popips-db doctor says whether logins open the relay"


def _row(site: Site, one: Listed, last: str) -> tuple[str, ...]:
    who = (word(one.login.user), word(one.login.service)) if one.login else ("-", "-")
    left = report.span(one.until - site.now) if one.state == grants.GRANTED else one.state
    host = [word(one.login.host if one.login else "")] if site.settings.share else []
    return (one.address, *who, last, left, *host)


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Return lines with columns as wide as what is in them."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() + "\n"
