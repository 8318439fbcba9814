"""popips-db: lists, inserts and deletes records of a map, and grants by hand; keeps addresses out; tells why."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from typing import Protocol

from popips import command, seen, watch
from popips.configuration import load
from popips.db import delete, deny, doctor, end, ins, lst, report, setup, shape, status, undeny, why
from popips.db.task import PROGRAM, Task
from popips.log import ERROR, Log
from popips.maps import MapError, Place
from popips.settings import Settings
from popips.site import Site
from popips.stamps import TOLD


class Verb(Protocol):
    """What the module of a verb has besides work(), which gets a Task."""

    HELP: str

    def options(self, parser: argparse.ArgumentParser) -> None:
        """Add the options of the verb."""


VERBS: dict[str, Verb] = {
    "lst": lst,
    "ins": ins,
    "del": delete,
    "end": end,
    "deny": deny,
    "undeny": undeny,
    "why": why,
    "status": status,
    "doctor": doctor,
    "setup": setup,
}
OF_HOST = (
    "doctor",
    "setup",
)  # their work() gets the options alone: it finds out itself whether popips.conf can be used


def main(argv: list[str] | None = None) -> int:
    """Run with the arguments (those of the process by default) after the program's name; return the exit status."""
    words = sys.argv[1:] if argv is None else argv
    told = shape.failed if "--json" in words else None
    try:
        options = parser().parse_args(words)
    except command.WrongArguments as error:
        if told:
            told(os.EX_USAGE, error.text)
        return os.EX_USAGE
    return command.run(PROGRAM, lambda: _work(options), told)


def parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    made = command.parser(PROGRAM, "Set popips up, check it, and manage grants, denials and the records of maps.")
    named = "a map (hash or btree) instead of the one in the configuration"
    made.add_argument("-m", dest="map", metavar="TYPE:PATH", help=named)
    verbs = made.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, verb in VERBS.items():
        its = verbs.add_parser(name, help=verb.HELP, allow_abbrev=False)
        verb.options(its)
        its.set_defaults(work=vars(verb)["work"])
    return made


def _work(options: argparse.Namespace) -> int:
    done: int
    if options.verb in OF_HOST:
        done = options.work(options)
        return done
    settings = load(options.conf)
    task = Task(settings, _place(options.map, settings), options)
    if task.has_grants and options.verb != "status" and os.path.lexists(settings.stamps):
        with task.site() as site:
            _warn(site)
    try:
        done = options.work(task)
    except MapError as error:
        if options.map and task.place.source not in options.map:
            raise type(error)(f"{options.map}: {error}") from None  # the admin knows it by another name
        raise
    return done


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
