"""popips-db: lists, inserts and deletes records of a sendmail map, and grants by hand."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass

from popips import address, command, config, grants, stamps, upkeep, watch
from popips.log import ERROR, INFO, Log
from popips.maps import MapError, Place, berkeley

PROGRAM = "popips-db"

EPILOG = (
    "Where an argument is -, arguments are read from standard input, one on a line; "
    "for ins a line is ADDRESS or KEY VALUE."
)


@dataclass(frozen=True)
class Record:
    """A record of a map."""

    key: str
    value: str

    def __str__(self) -> str:
        return f"{self.key}\t{self.value}"


def main(argv: list[str] | None = None) -> int:
    """Run with the arguments (those of the process by default) after the program's name; give the exit status."""
    options = _parser().parse_args(argv)
    return command.run(PROGRAM, lambda: _work(options))


def _parser() -> argparse.ArgumentParser:
    made = command.parser(PROGRAM, "List, insert and delete records of a sendmail map, and grants.")
    made.add_argument(
        "-m", dest="map", metavar="TYPE:PATH", help="a map (hash or btree) instead of the one in the configuration"
    )
    verbs = made.add_subparsers(dest="verb", required=True, metavar="lst|ins|del")
    lst = verbs.add_parser("lst", help="print records: key, TAB, value", epilog=EPILOG, allow_abbrev=False)
    lst.add_argument("--grants", action="store_true", help="only grants: address, user, service, last login, time left")
    lst.add_argument("keys", nargs="*", metavar="KEY", help="only these (default: all)")
    ins = verbs.add_parser("ins", help="grant addresses, or put permanent records", epilog=EPILOG, allow_abbrev=False)
    ins.add_argument(
        "words",
        nargs="+",
        metavar="ADDRESS | KEY VALUE",
        help="addresses get a grant, as by a login; pairs of key and value become permanent records",
    )
    delete = verbs.add_parser("del", help="delete records and their stamps", epilog=EPILOG, allow_abbrev=False)
    delete.add_argument("keys", nargs="+", metavar="KEY", help="an address, or the key of a record")
    return made


def _work(options: argparse.Namespace) -> int:
    settings = config.load(options.conf)
    try:
        place = Place.parse(options.map) if options.map else settings.map
    except MapError as error:
        raise command.UsageError(str(error)) from None
    if place == settings.map:
        _warn(settings)
    if options.verb == "lst" and options.grants:
        return _list_grants(settings, _arguments(options.keys))
    if options.verb == "lst":
        return _list(settings, place, _arguments(options.keys))
    if options.verb == "del":
        return _delete(settings, place, _arguments(options.keys))
    words = _words(options.words)
    if all(address.is_address(word) for word in words):
        if place != settings.map:
            raise command.UsageError(f"{words[0]}: grants go to the map of {options.conf}; for {place} write KEY VALUE")
        return _grant(settings, words)
    return _insert(settings, place, _pairs(words))


def _warn(settings: config.Config) -> None:
    """Tell the admin what popips has noticed; the log hears of a dead expirer, too, once an hour."""
    told = [watch.edit_is_pending(settings)]
    if os.path.lexists(settings.stamps):
        with stamps.Folder(settings.stamps) as folder:
            dead = watch.expirer_is_dead(folder, time.time())
            if dead and watch.is_news(folder, "expirer", time.time()):
                Log(PROGRAM).line(ERROR, f"error: {dead}")
            told.append(dead)
    sys.stderr.writelines(f"{PROGRAM}: {text}\n" for text in told if text)


def _arguments(words: list[str]) -> list[str]:
    """Give the arguments, with the lines of standard input in place of each "-"."""
    found: list[str] = []
    for word in words:
        found += [line.strip() for line in sys.stdin if line.strip()] if word == "-" else [word]
    return found


def _words(words: list[str]) -> list[str]:
    """Give them for ins: a line of standard input is an address, or a key, blanks and a value, as makemap reads it."""
    found: list[str] = []
    for word in words:
        if word != "-":
            found.append(word)
            continue
        for line in sys.stdin:
            found += line.strip().split(None, 1)
    return found


def _pairs(words: list[str]) -> list[Record]:
    if len(words) % 2:
        raise command.UsageError(f"{words[-1]}: a key without a value; write addresses alone, or KEY VALUE pairs")
    records = [Record(_key(key), value) for key, value in zip(words[::2], words[1::2])]
    for record in records:
        if (
            not record.key
            or not record.value
            or "\0" in record.key + record.value
            or record.key.split() != [record.key]
        ):
            raise command.UsageError(f"{record.key!r} {record.value!r}: a key is one word, and a value is not empty")
    return records


def _key(text: str) -> str:
    """Give a key in lower case, as makemap writes it and sendmail looks it up."""
    return text.lower()


def _forms(settings: config.Config, text: str) -> list[str]:
    """Give the keys that a text may stand for: itself, or the keys of the address that it is."""
    if not address.is_address(text):
        return [_key(text)]
    name = address.parse(text)
    styles = dict.fromkeys((settings.key, "bare", "connect"))
    return [address.key(name, style, settings.compressed_ipv6).decode() for style in styles]


def _until() -> float:
    return time.monotonic() + upkeep.PATIENCE


def _list(settings: config.Config, place: Place, keys: list[str]) -> int:
    missing = 0
    upkeep.recover(settings, place, time.time())
    with berkeley.Reader(place, _until()) as records:
        if not keys:
            for key, value in records.items():
                sys.stdout.write(f"{_printable(key)}\t{_printable(value)}\n")
        for text in keys:
            found = [(form, records.get(form.encode())) for form in _forms(settings, text)]
            there = [Record(form, _printable(value)) for form, value in found if value is not None]
            sys.stdout.writelines(f"{record}\n" for record in there)
            if not there:
                missing += 1
                sys.stderr.write(f"{PROGRAM}: {text}: no such record in {place}\n")
    return 1 if missing else 0


def _printable(data: bytes) -> str:
    """Give a record's bytes as text that cannot steer a terminal."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in data.decode("utf-8", "backslashreplace"))


def _list_grants(settings: config.Config, names: list[str]) -> int:
    wanted = {address.of_key(name) or name for name in names}
    now = time.time()
    seen = set()
    with stamps.Folder(settings.stamps) as folder:
        for name, stamp in sorted(folder.scan(), key=lambda entry: entry[0]):
            if stamp is None or (wanted and name not in wanted):
                continue
            seen.add(name)
            line = folder.line(name)
            user, service = (line.user, line.service) if line else ("-", "-")
            last = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(stamp.time))
            left = "pending" if stamp.pending else _left(stamp.time + settings.window - now)
            sys.stdout.write(f"{name}\t{user}\t{service}\t{last}\t{left}\n")
    for name in sorted(wanted - seen):
        sys.stderr.write(f"{PROGRAM}: {name}: no grant\n")
    return 1 if wanted - seen else 0


def _left(seconds: float) -> str:
    if seconds <= 0:
        return "due"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s"


def _grant(settings: config.Config, words: Iterable[str]) -> int:
    status = 0
    log, login = Log(PROGRAM), grants.Login(os.environ.get("SUDO_USER") or getpass.getuser(), "-", PROGRAM)
    for word in words:
        outcome = grants.grant(settings, word, login, time.time())
        log.line(INFO, outcome.describe(login, str(settings.map)))
        if outcome.verdict not in (grants.GRANTED, grants.RENEWED):
            status = os.EX_TEMPFAIL if outcome.verdict == grants.DEFERRED else 1
            sys.stderr.write(f"{PROGRAM}: {outcome.address}: {outcome.verdict}: {outcome.reason}\n")
    return status


def _insert(settings: config.Config, place: Place, pairs: list[Record]) -> int:
    pairs_as_bytes = {record.key.encode(): record.value.encode() for record in pairs}
    upkeep.make_static(settings, place, pairs_as_bytes, time.time())
    return 0


def _delete(settings: config.Config, place: Place, words: list[str]) -> int:
    missing = upkeep.revoke(settings, place, words, time.time())
    for word in missing:
        sys.stderr.write(f"{PROGRAM}: {word}: no such record in {place}\n")
    return 1 if missing else 0
