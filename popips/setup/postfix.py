"""Postfix: where its restrictions ask the map, in front of the DNSBLs that would refuse before that."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from tempfile import TemporaryDirectory

from popips.probe import mapd
from popips.probe.machine import Machine
from popips.probe.postfix import (
    CLOSE,
    LISTS,
    MAIN,
    RECIPIENT,
    RELAY,
    Restriction,
    config,
    parsed,
    written,
)
from popips.setup.record import FOLDER, Record
from popips.setup.step import ByHand, Run, Step, Write
from popips.setup.there import Host, text

PART = "postfix"
TRIAL = "warn_if_reject"  # makes nothing but a warning of the next entry
DNSBL = re.compile(r"\breject_(rbl|rhsbl)_")


def steps(host: Host) -> list[Step]:
    """Return what makes Postfix ask the map of popips.conf; raise ByHand."""
    machine, name = host.machine, host.settings.map.name
    set_ = machine.ask("postconf", "-n")
    if set_.status:
        raise ByHand(f"postconf -n: {set_.err.strip() or 'failed'}")
    by_mapd, now = not host.settings.map.row.has_file, config(machine)
    overridden = now.overrides.intersection((RELAY, RECIPIENT))
    if overridden:
        if all(any(_asks(host, each) for each in now.restrictions(list_)) for list_ in overridden):
            return []
        question = mapd.QUESTION if by_mapd else f"check_client_access {name}"
        raise ByHand(f"master.cf sets {min(overridden)} for port 25: put {question} there")
    had, new = {list_: written(machine, list_) for list_ in (RELAY, RECIPIENT)}, {}
    tables = {each.of for list_ in LISTS for each in now.restrictions(list_)}
    old = [table for table in put_here(machine, tables) if table != name]  # popips.conf names another map by now
    for list_, said in had.items():
        if list_ == RELAY or _closing(said) is not None:
            new[list_] = _asking(host, _without(said, old)) if said or list_ == RECIPIENT else ""
    if not any(new.values()):
        raise ByHand(f"{RELAY} is empty, and {RECIPIENT} refuses nobody: that is another set-up than setup knows")
    changed = {list_: value for list_, value in new.items() if value != had[list_]}
    if not changed:
        return []
    instances = machine.ask("postmulti", "-l").out.splitlines()
    if len(instances) > 1:
        raise ByHand(f"{len(instances)} instances of Postfix: put check_client_access {name} where it belongs")
    edited = [f"{list_} = {value}" for list_, value in changed.items()]
    running = machine.ask("postfix", "status").status == 0
    again = ("postfix", "reload")
    return [
        Write(PART, MAIN, _edited(machine, edited)),
        *([Run(PART, again, undo=(again,))] if running else []),
    ]


def put_here(machine: Machine, tables: Iterable[str]) -> list[str]:
    """Return those of the tables that main.cf did not name before a set-up wrote it. Raise UsageError."""
    before = Record(machine.path(FOLDER)).before(MAIN)
    had = {word for each in parsed(before) for word in (each.name, each.of)}
    return [table for table in tables if before and table not in had]


def _asks(host: Host, entry: Restriction) -> bool:
    of = host.settings
    return entry.asks(of.map.name) if of.map.row.has_file else mapd.is_asked(of, entry)


def _asking(host: Host, said: str) -> str:
    """Return restrictions that ask the map of popips.conf; raise ByHand."""
    if host.settings.map.row.has_file:
        return with_check(said, host.settings.map.name)
    return said if any(_asks(host, each) for each in parsed(said)) else with_mapd(said)


def _without(said: str, tables: list[str]) -> str:
    """Return restrictions that ask none of these tables."""
    for table in tables:
        said = re.sub(rf"\bcheck_client_access\s+{re.escape(table)}(,|\s|$)\s*", "", said)
    return said.rstrip(", \t")


def with_check(said: str, name: str) -> str:
    """Return restrictions that ask the map, in front of what refuses strangers and of the DNSBLs before that.

    What the admin has there for clients of his own stays in front of it, so that his REJECT wins. Raise ByHand.
    """
    return _with(said, f"check_client_access {name}")


def with_mapd(said: str) -> str:
    """Return restrictions that ask popips-mapd there; mail to domains of this host's never waits for that.

    permit_auth_destination has no place where more is asked behind the refusal. Raise ByHand.
    """
    closing = _closing(said)
    is_last = closing is not None and len(said[closing:].split()) == 1
    local = "permit_auth_destination, " if is_last and "permit_auth_destination" not in said else ""
    return _with(said, f"{local}{mapd.QUESTION}")


def _with(said: str, check: str) -> str:
    """Return restrictions with the check in front of what refuses strangers; raise ByHand."""
    there, at = re.search(rf"{re.escape(check)}(,|\s|$)", said), _closing(said)
    if there and (at is None or there.start() < at):
        return said
    if there or at is None:
        raise ByHand(f"put {check} in front of what refuses strangers in: {said}")
    words = list(re.finditer(r"[^\s,]+", said))
    index = next(i for i, word in enumerate(words) if word.start() == at)
    while index >= 2 and DNSBL.match(words[index - 2][0]) and words[max(0, index - 3)][0] != TRIAL:
        index -= 2  # the test, and the list that it asks
    at = words[index].start()
    return f"{said[:at]}{check}{', ' if ',' in said else ' '}{said[at:]}"


def _closing(said: str) -> int | None:
    """Return where the restriction begins that refuses strangers, None if there is none."""
    without_braces = re.sub(r"\{[^{}]*\}", lambda found: "-" * len(found[0]), said)
    before = ""
    for word in re.finditer(r"[^\s,]+", without_braces):
        if word[0].lower() in CLOSE and before != TRIAL:
            return word.start()
        before = word[0].lower()
    return None


def _edited(machine: Machine, edits: list[str]) -> str:
    """Return main.cf as `postconf -e` makes it; raise ByHand."""
    with TemporaryDirectory(prefix="popips-setup-") as folder:
        with open(f"{folder}/main.cf", "wb") as file:
            file.write(os.fsencode(text(machine, MAIN)))
        said = machine.ask("postconf", "-c", folder, "-e", *edits)
        if said.status:
            raise ByHand(f"postconf -e: {said.err.strip()}")
        with open(f"{folder}/main.cf", "rb") as file:
            return os.fsdecode(file.read())
