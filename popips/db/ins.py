"""popips-db ins: grants addresses, and puts permanent records."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from popips import address, command, grant, register, revoke
from popips.db import report, words
from popips.db.task import PROGRAM, Task
from popips.login import BY_HAND, Login, word
from popips.maps import Failed, MapError
from popips.maps.text import Text
from popips.settings import Settings
from popips.site import Site

HELP = "grant addresses, or insert permanent records"


@dataclass(frozen=True)
class Wanted:
    """What is to be put: addresses that get a grant, and permanent records by their keys."""

    addresses: list[str]
    records: list[tuple[str, str]]


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = words.OF_RECORDS
    put = "addresses get a grant, as by a login; pairs of key and value become permanent records"
    parser.add_argument("words", nargs="+", metavar="ADDRESS | KEY VALUE", help=put)


def work(task: Task) -> int:
    """Put what the words say."""
    place = task.place
    wanted = read(task.options.words, task.settings if task.has_grants else None)
    if wanted.addresses and not task.has_grants:
        where = f"grants go to the map of {task.options.conf}; for {place} write KEY VALUE"
        raise command.UsageError(f"{wanted.addresses[0]}: {where}")
    if wanted.records and place.own:
        where = f"{place} holds nothing but grants (own_map = yes); name another map with -m"
        raise command.UsageError("{}\t{}: {}".format(*wanted.records[0], where))
    if wanted.records:
        _put(task, wanted.records)
    if not wanted.addresses:
        return os.EX_OK
    with task.site() as site:
        statuses = {text: _grant(site, text) for text in wanted.addresses}
    report.did("granted", [text for text, status in statuses.items() if status == os.EX_OK])
    return max(statuses.values())


def _put(task: Task, records: list[tuple[str, str]]) -> None:
    pairs = {key.encode(): value.encode() for key, value in records}
    with task.map() as edited:
        new = register.add(edited.site.folder, pairs, report.admin(), edited.now) if edited.site else set()
        try:
            revoke.put(edited, pairs)
        except MapError as error:
            if edited.site and not isinstance(error, Failed):  # that can be put by the next writer still
                register.drop(edited.site.folder, lambda *pair: pair in new)
            raise
    report.note((f"inserted: key={word(key)} value={value}" for key, value in records), task.place)
    report.did("inserted", [f"{key} {value}" for key, value in records])
    report.complain(_not_in_text(Text(edited.text, task.place.postfix), pairs))


def _not_in_text(text: Text, pairs: dict[bytes, bytes]) -> Iterator[str]:
    """Return a line on what the text of the map does not say, if there is one that can be read."""
    with suppress(MapError):
        said = text.records()
        lost = [key.decode() for key, value in pairs.items() if said.get(key) != value] if text.path else []
        if lost:
            cure = "write it there, too, or the next build of the map takes it out"
            yield f"{' '.join(lost)}: not in {text.path}: {cure}"


def _grant(site: Site, text: str) -> int:
    """Grant the address as a login would; return the exit status."""
    login = Login(report.admin(), BY_HAND, PROGRAM)
    outcome = grant.grant(site, text, login, lambda *what: grant.tell(site.settings, *what))
    if outcome is None:  # another process has dealt with it
        return os.EX_OK if site.folder.get(text) else report.complain([f"{text}: refused: see the mail log"])
    if outcome.verdict in (grant.GRANTED, grant.RENEWED):
        return os.EX_OK
    report.complain([f"{outcome.address}: {outcome.verdict}: {outcome.reason}"])
    return os.EX_TEMPFAIL if outcome.verdict == grant.DEFERRED else 1


def read(arguments: list[str], settings: Settings | None) -> Wanted:
    """Read the arguments; raise UsageError for what is neither addresses nor KEY VALUE pairs.

    settings: if it is the map of these, in which an address is no value, ADDRESS/BITS no key, and IPv6 has a form.
    """
    wanted = Wanted([], [])
    plain = [word for word in arguments if word != "-"]
    if all(words.like_an_address(word) for word in plain):
        wanted.addresses.extend(_address(word) for word in plain)
    elif len(plain) % 2:
        raise command.UsageError(f"{plain[-1]}: a key without a value; write addresses alone, or KEY VALUE pairs")
    else:
        wanted.records.extend(_record(key, value, settings) for key, value in zip(plain[::2], plain[1::2]))
    for number, line in enumerate(sys.stdin if "-" in arguments else (), 1):
        try:
            _read_line(line.strip(), wanted, settings)
        except command.UsageError as error:
            raise command.UsageError(f"standard input:{number}: {error}") from None
    return wanted


def _read_line(line: str, wanted: Wanted, settings: Settings | None) -> None:
    if not line or line.startswith("#"):  # as makemap has it
        return
    key, _, value = line.replace("\t", " ").partition(" ")
    if value:
        wanted.records.append(_record(key, value.strip(), settings))
    else:
        wanted.addresses.append(_address(key))


def _address(word: str) -> str:
    return words.canonical(word, "write an address, or KEY VALUE")


def _record(key: str, value: str, settings: Settings | None) -> tuple[str, str]:
    if not value or key.split() != [key] or any(c in key + value for c in "\0\r\n"):
        raise command.UsageError(f"{key!r} {value!r}: a key is one word, and a value one line that is not empty")
    if not settings:
        return key.lower(), value
    if words.like_an_address(value):
        raise command.UsageError(f"{key} {value}: an address is no value; write addresses alone, or KEY VALUE pairs")
    if words.like_an_address(key) and "/" in key:
        raise command.UsageError(f"{key}: no map is asked for ADDRESS/BITS; write 192.0.2 for 192.0.2.0/24")
    is_network = words.like_an_address(key) and ":" in key and not address.is_address(key)
    if is_network and settings.mta == "sendmail":
        raise command.UsageError(f"{key}: sendmail asks for IPv6 networks by another key; write ipv6:{key}")
    return words.normal_key(settings, key), value
