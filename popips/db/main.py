"""popips-db: lists, inserts and deletes records of a map, and grants by hand; keeps addresses out; tells why."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace

from popips import command, seen, watch
from popips.db import deny, doctor, end, ins, lst, report, setup, status, why
from popips.db.task import PROGRAM, Task
from popips.db.words import FROM_STANDARD_INPUT
from popips.log import ERROR, Log
from popips.maps import MapError, Place
from popips.settings import Settings, load
from popips.site import Site
from popips.stamps import TOLD

OF_RECORDS = FROM_STANDARD_INPUT[:-1] + "; for ins a line is ADDRESS or KEY VALUE."
KEEP_OUT = "no login opens the relay for it, and what grants it has end; for ever, or for 90s, 15m, 2h, 1d"


def main(argv: list[str] | None = None) -> int:
    """Run with the arguments (those of the process by default) after the program's name; return the exit status."""
    options = _parser().parse_args(argv)
    return command.run(PROGRAM, lambda: _work(options))


def _parser() -> argparse.ArgumentParser:
    made = command.parser(PROGRAM, "List, insert and delete records of a map, and grants; keep addresses out.")
    named = "a map (hash or btree) instead of the one in the configuration"
    made.add_argument("-m", dest="map", metavar="TYPE:PATH", help=named)
    verbs = made.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, work: object, text: str, epilog: str = "") -> argparse.ArgumentParser:
        its = verbs.add_parser(name, help=text, epilog=epilog, allow_abbrev=False)
        its.set_defaults(work=work)
        return its

    its = verb("lst", lst.work, "print records: key, TAB, value", OF_RECORDS)
    its.add_argument("--grants", action="store_true", help="only grants: address, user, service, last login, time left")
    its.add_argument("keys", nargs="*", metavar="KEY", help="only these (default: all)")
    its = verb("ins", ins.work, "grant addresses, or put permanent records", OF_RECORDS)
    put = "addresses get a grant, as by a login; pairs of key and value become permanent records"
    its.add_argument("words", nargs="+", metavar="ADDRESS | KEY VALUE", help=put)
    its = verb("del", end.delete, "delete records and their stamps", OF_RECORDS)
    its.add_argument("keys", nargs="+", metavar="KEY", help="an address, or the key of a record")
    its = verb("end", end.work, "end grants at once; records of yours stay", FROM_STANDARD_INPUT)
    its.add_argument("--all", action="store_true", help="all grants")
    orphans = "records that look like a grant, and belong to no login and no record of yours"
    its.add_argument("--orphans", action="store_true", help=orphans)
    its.add_argument("words", nargs="*", metavar="ADDRESS")
    its = verb("deny", deny.work, "keep an address or network out, or list who is")
    its.add_argument("words", nargs="*", metavar="ADDRESS[/BITS] [for TIME]", help=KEEP_OUT)
    its = verb("undeny", deny.lift, "end what deny began")
    its.add_argument("text", metavar="ADDRESS[/BITS]", help="as it was denied")
    its = verb("why", why.work, "tell who opened the relay for an address, or why it is not")
    its.add_argument("text", metavar="ADDRESS")
    its = verb("status", status.work, "tell in one screen whether logins open the relay")
    for name, of_host in (("doctor", doctor), ("setup", setup)):
        its = verbs.add_parser(name, help=of_host.HELP, allow_abbrev=False)
        of_host.options(its)
        its.set_defaults(of_host=of_host.work)
    return made


def _work(options: argparse.Namespace) -> int:
    if "of_host" in options:  # which finds out itself whether popips.conf can be used
        told: int = options.of_host(options)
        return told
    settings = load(options.conf)
    task = Task(settings, _place(options.map, settings), options)
    if task.has_grants and os.path.lexists(settings.stamps):
        with task.site() as site:
            _warn(site)
    try:
        status: int = options.work(task)
    except MapError as error:
        if options.map and task.place.source not in options.map:
            raise type(error)(f"{options.map}: {error}") from None  # the admin knows it by another name
        raise
    return status


def _place(text: str | None, settings: Settings) -> Place:
    """Return the map to work on: that of popips.conf, also if -m names it in another way."""
    if not text:
        return settings.map
    try:
        place = Place.parse(text)
    except MapError as error:
        raise command.UsageError(str(error)) from None
    place = replace(place, postfix=place.postfix or settings.map.postfix)
    is_its = place.kind == settings.map.kind and place.is_same(settings.map)
    return settings.map if is_its else place


def _warn(site: Site) -> None:
    """Print what popips has noticed; the log hears of a dead expirer, too, once an hour."""
    dead = watch.expirer_is_dead(site.folder, site.now)
    if dead and watch.is_news(site.folder, TOLD["expirer"], site.now):
        Log(PROGRAM).line(ERROR, f"error: {dead}")
    try:
        with site.reader() as records:
            unbuilt = seen.unbuilt(site, records)
    except MapError:
        unbuilt = ""  # the verb says what is wrong with the map
    report.complain(text for text in (unbuilt, dead) if text)
