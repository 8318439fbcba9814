"""popips-db: lists, inserts and deletes records of a map, and grants by hand; keeps addresses out; tells why."""

from __future__ import annotations

import argparse
import getpass
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from popips import address, command, config, denials, ending, grants, limits, stamps, upkeep, watch
from popips.log import ERROR, INFO, Log
from popips.maps import MapError, Place, kinds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from popips.maps import Records

PROGRAM = "popips-db"

OF_WORDS = "Where an argument is -, arguments are read from standard input, one on a line."
EPILOG = OF_WORDS[:-1] + "; for ins a line is ADDRESS or KEY VALUE."


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
    made = command.parser(PROGRAM, "List, insert and delete records of a map, and grants; keep addresses out.")
    made.add_argument(
        "-m", dest="map", metavar="TYPE:PATH", help="a map (hash or btree) instead of the one in the configuration"
    )
    verbs = made.add_subparsers(dest="verb", required=True, metavar="lst|ins|del|end|deny|undeny|why")
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
    end = verbs.add_parser("end", help="end grants at once; records of yours stay", epilog=OF_WORDS, allow_abbrev=False)
    end.add_argument("--all", action="store_true", help="all grants")
    end.add_argument("words", nargs="*", metavar="ADDRESS")
    deny = verbs.add_parser("deny", help="keep an address or network out, or list who is", allow_abbrev=False)
    deny.add_argument(
        "words",
        nargs="*",
        metavar="ADDRESS[/BITS] [for TIME]",
        help="no login opens the relay for it, and what grants it has end; for ever, or for 90s, 15m, 2h, 1d",
    )
    undeny = verbs.add_parser("undeny", help="end what deny began", allow_abbrev=False)
    undeny.add_argument("text", metavar="ADDRESS[/BITS]", help="as it was denied")
    why = verbs.add_parser("why", help="tell who opened the relay for an address, or why it is not", allow_abbrev=False)
    why.add_argument("text", metavar="ADDRESS")
    return made


def _work(options: argparse.Namespace) -> int:
    settings = command.settings(options.conf)
    try:
        place = _named(options.map, settings) if options.map else settings.map
    except MapError as error:
        raise command.UsageError(str(error)) from None
    if place == settings.map:
        place = settings.map
        _warn(settings)
    if options.verb in OF_GRANTS:
        if place != settings.map:
            raise command.UsageError(f"{options.verb}: grants are in the map of {options.conf}, not in {place}")
        return OF_GRANTS[options.verb](settings, options)
    if options.verb == "lst" and options.grants:
        if place != settings.map:
            raise command.UsageError(f"lst --grants: grants are in the map of {options.conf}, not in {place}")
        return _list_grants(settings, _arguments(options.keys))
    if options.verb == "lst":
        return _list(settings, place, _arguments(options.keys))
    if options.verb == "del":
        return _delete(settings, place, _arguments(options.keys))
    wanted = _wanted(options.words, settings if place == settings.map else None)
    if wanted.addresses and place != settings.map:
        text = f"{wanted.addresses[0]}: grants go to the map of {options.conf}; for {place} write KEY VALUE"
        raise command.UsageError(text)
    if wanted.records and place.own:
        text = f"{wanted.records[0]}: {place} holds nothing but grants (own_map = yes); name another map with -m"
        raise command.UsageError(text)
    if wanted.records:
        _insert(settings, place, wanted.records)
    return _grant(settings, wanted.addresses)


def _named(text: str, settings: config.Config) -> Place:
    """Give the map that the admin names, as the MTA of popips.conf has it; raise MapError."""
    place = Place.parse(text)
    return Place(place.kind, place.path, postfix=place.postfix or settings.map.postfix)


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


@dataclass(frozen=True)
class Wanted:
    """What ins is to put: addresses that get a grant, and permanent records."""

    addresses: list[str]
    records: list[Record]


def _wanted(words: list[str], settings: config.Config | None) -> Wanted:
    """Read the arguments of ins; raise UsageError for what is neither addresses nor KEY VALUE pairs.

    settings: if it is the map of these, in which an address is no value, ADDRESS/BITS no key, and IPv6 has a form.
    """
    wanted = Wanted([], [])
    plain = [word for word in words if word != "-"]
    if all(_like_an_address(word) for word in plain):
        wanted.addresses.extend(_checked(word) for word in plain)
    elif len(plain) % 2:
        raise command.UsageError(f"{plain[-1]}: a key without a value; write addresses alone, or KEY VALUE pairs")
    else:
        wanted.records.extend(_record(key, value, settings) for key, value in zip(plain[::2], plain[1::2]))
    for number, line in enumerate(sys.stdin if "-" in words else (), 1):
        try:
            _read_line(line.strip(), wanted, settings)
        except command.UsageError as error:
            raise command.UsageError(f"standard input:{number}: {error}") from None
    return wanted


def _read_line(line: str, wanted: Wanted, settings: config.Config | None) -> None:
    if not line or line.startswith("#"):  # as makemap has it
        return
    key, _, value = line.replace("\t", " ").partition(" ")
    if value:
        wanted.records.append(_record(key, value.strip(), settings))
    else:
        wanted.addresses.append(_checked(key))


def _like_an_address(word: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-fA-F.:]*[.:][0-9a-fA-F.:]*(/[0-9]*|%\w*)?", word))


def _checked(word: str, cure: str = "write an address, or KEY VALUE") -> str:
    try:
        return address.parse(word)
    except address.Refused as reason:
        raise command.UsageError(f"{word}: {reason}; {cure}") from None


def _record(key: str, value: str, settings: config.Config | None) -> Record:
    if not key or not value or "\0" in key + value or key.split() != [key]:
        raise command.UsageError(f"{key!r} {value!r}: a key is one word, and a value is not empty")
    if not settings:
        return Record(_key(key), value)
    if _like_an_address(value):
        raise command.UsageError(f"{key} {value}: an address is no value; write addresses alone, or KEY VALUE pairs")
    if _like_an_address(key) and "/" in key:
        raise command.UsageError(f"{key}: no map is asked for ADDRESS/BITS; write 192.0.2 for 192.0.2.0/24")
    if _like_an_address(key) and ":" in key and not address.is_address(key) and settings.mta == "sendmail":
        raise command.UsageError(f"{key}: sendmail asks for IPv6 networks by another key; write ipv6:{key}")
    return Record(upkeep.normal_key(settings, key), value)


def _key(text: str) -> str:
    """Give a key in lower case, as makemap writes it and sendmail looks it up."""
    return text.lower()


def _forms(settings: config.Config, text: str) -> list[str]:
    """Give the keys that a text may stand for: itself, or the keys of the address that it is."""
    if not address.is_address(text):
        return list(dict.fromkeys([_key(text), upkeep.normal_key(settings, text)]))
    name = address.parse(text)
    styles = dict.fromkeys((settings.key, *settings.styles))
    forms = [address.key(name, style, settings.compressed_ipv6).decode() for style in styles]
    return list(dict.fromkeys([*forms, _key(text)]))


def _until() -> float:
    return time.monotonic() + upkeep.PATIENCE


def _list(settings: config.Config, place: Place, keys: list[str]) -> int:
    missing = 0
    upkeep.recover(settings, place, time.time())
    with kinds.reader(place, _until()) as records:
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
    wanted = {address.of_key(name.lower()) or name for name in names}
    seen = set()
    text = grants.said(settings)
    with stamps.Folder(settings.stamps) as folder, _records_or_none(settings) as records:
        for name, stamp in sorted(folder.scan(), key=lambda entry: entry[0]):
            if wanted and name not in wanted:
                continue
            seen.add(name)
            line = folder.line(name)
            user, service = (line.user, line.service) if line else ("-", "-")
            last = _time(stamp.time)
            standing = grants.standing(settings, folder, records, name) if records else None
            if _is_static(standing, grants.record(settings, folder, name), text):
                left = grants.STATIC
            else:
                left = _left(stamp.time + settings.window - time.time(), pending=stamp.pending or not standing)
            sys.stdout.write(f"{name}\t{user}\t{service}\t{last}\t{left}\n")
    for name in sorted(wanted - seen):
        sys.stderr.write(f"{PROGRAM}: {name}: no grant\n")
    return 1 if wanted - seen else 0


def _is_static(standing: str | None, record: tuple[bytes, bytes], text: dict[bytes, bytes]) -> bool:
    """Tell whether the record that belongs to a stamp is the admin's, or would be if he built the map from his text."""
    key, value = record
    return standing == grants.STATIC or (key in text and (not standing or text[key] == value))


@contextmanager
def _records_or_none(settings: config.Config) -> Iterator[Records | None]:
    """Give the map's records; where it cannot be used, say why and give None, for the stamps can be listed still."""
    try:
        reader = kinds.reader(settings.map, _until())
    except MapError as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        yield None
        return
    with reader as records:
        yield records


def _left(seconds: float, pending: bool) -> str:
    if seconds <= 0:
        return "due"
    if pending:
        return "pending"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s"


def _grant(settings: config.Config, words: Iterable[str]) -> int:
    status = 0
    log, login = Log(PROGRAM), grants.Login(_user(), limits.BY_HAND, PROGRAM)
    for word in words:
        outcome = grants.grant(settings, word, login, time.time())
        log.line(INFO, outcome.describe(login, str(settings.map)))
        if outcome.verdict not in (grants.GRANTED, grants.RENEWED):
            status = os.EX_TEMPFAIL if outcome.verdict == grants.DEFERRED else 1
            sys.stderr.write(f"{PROGRAM}: {outcome.address}: {outcome.verdict}: {outcome.reason}\n")
    return status


def _insert(settings: config.Config, place: Place, records: list[Record]) -> None:
    upkeep.make_static(settings, place, {record.key.encode(): record.value.encode() for record in records}, time.time())
    _note([f"inserted: key={stamps.word(record.key)} value={record.value}" for record in records], place)


def _note(events: list[str], place: Place) -> None:
    """Log what the admin's hand did: a permanent record opens a relay for longer than any login does."""
    log = Log(PROGRAM)
    for event in events:
        log.line(INFO, f"{event} user={stamps.word(_user())} map={place}")


def _user() -> str:
    return os.environ.get("SUDO_USER") or getpass.getuser()


def _delete(settings: config.Config, place: Place, words: list[str]) -> int:
    missing = upkeep.revoke(settings, place, words, time.time())
    _note([f"deleted: key={stamps.word(word)}" for word in words if word not in missing], place)
    for word in missing:
        sys.stderr.write(f"{PROGRAM}: {word}: no such record in {place}\n")
    return 1 if missing else 0


def _end(settings: config.Config, options: argparse.Namespace) -> int:
    if bool(options.words) == options.all:
        raise command.UsageError("end: write addresses, or --all")
    names = [address.of_key(word.lower()) or _checked(word, "write an address") for word in _arguments(options.words)]
    now = time.time()
    upkeep.recover(settings, settings.map, now)
    ended: set[str] = set()
    for batch in ending.end_all(settings, now) if options.all else ending.end(settings, names, now):
        _note([f"removed: address={name}" for name in batch], settings.map)
        ended.update(batch)
    missing = [name for name in names if name not in ended]
    sys.stderr.writelines(f"{PROGRAM}: {name}: no grant\n" for name in missing)
    return 1 if missing else os.EX_OK


def _deny(settings: config.Config, options: argparse.Namespace) -> int:
    now = time.time()
    if not options.words:
        with stamps.Folder(settings.stamps) as folder:
            for denial in denials.load(folder):
                if denial.until > now:
                    sys.stdout.write(f"{denial.text}\t{_time(denial.until)}\t{denial.by}\n")
        return os.EX_OK
    denial = _denial(options.words, now)
    ended = upkeep.deny(settings, denial, now)
    _note([f"denied: address={denial.text} until={_time(denial.until)}"], settings.map)
    _note([f"removed: address={name}" for name in ended], settings.map)
    return os.EX_OK


def _denial(words: list[str], now: float) -> denials.Denial:
    text = address.of_key(words[0].lower()) or words[0]
    try:
        if words[1:2] == ["for"] and len(words) == 3:
            return denials.Denial(text, now + config.duration(words[2]), _user())
        if len(words) == 1:
            return denials.Denial(text, denials.FOR_EVER, _user())
        raise ValueError("one address or network at a time")
    except ValueError as error:
        cure = "write ADDRESS or ADDRESS/BITS, and `for 1d` if not for ever"
        raise command.UsageError(f"{' '.join(words)}: {error}; {cure}") from None


def _undeny(settings: config.Config, options: argparse.Namespace) -> int:
    text = _denial([options.text], time.time()).text
    with stamps.Folder(settings.stamps) as folder:
        if not denials.lift(folder, text):
            sys.stderr.write(f"{PROGRAM}: {text}: not denied\n")
            return 1
    _note([f"undenied: address={text}"], settings.map)
    return os.EX_OK


def _why(settings: config.Config, options: argparse.Namespace) -> int:
    """Tell in a line; the status is 0 if the address may relay by a grant."""
    name, now = address.of_key(options.text.lower()) or _checked(options.text, "write an address"), time.time()
    upkeep.recover(settings, settings.map, now)
    with stamps.Folder(settings.stamps) as folder, _records_or_none(settings) as records:
        stamp, line = folder.get(name), folder.line(name)
        standing = grants.standing(settings, folder, records, name) if records else None
        reason = limits.barred(settings, denials.load(folder), name, now)
        record = grants.record(settings, folder, name)
        forms = _forms(settings, name)
        admins, wider = (_admins(records, keys) for keys in (forms, [key for form in forms for key in _networks(form)]))
    if _is_static(standing, record, grants.said(settings)):
        standing, reason = grants.STATIC, f"static: {admins or 'the text of the map has a record on it'}"
    elif not stamp:
        window = _left(settings.window, pending=False)
        reason = reason or f"no grant in the last {window}; a login that was refused is in the mail log"
        reason += f"; static for its network: {wider}" if wider else ""
    who = f"user={line.user} service={line.service} by={line.writer} " if line else ""
    login = f"{who}last={_time(stamp.time)} until={_time(stamp.time + settings.window)}" if stamp else ""
    if standing == grants.RENEWED:
        sys.stdout.write(f"{name}: granted: {login}\n")
        return os.EX_OK
    if stamp and not reason and stamp.time <= now - settings.window:
        reason = "due: the last login is longer ago than the window"
    elif stamp and not reason:
        reason = "pending: the record comes with the next run of popips-expire"
    sys.stdout.write(f"{name}: not granted: {reason}{'; ' if login else ''}{login}\n")
    return 1


def _admins(records: Records | None, keys: Iterable[str]) -> str:
    """Give those of the records that are there in words, "" if none is."""
    found = [(key, records.get(key.encode())) for key in keys] if records else []
    there = [f"{key} {_printable(value)}" for key, value in found if value is not None]
    return f"the admin has {', '.join(there)}" if there else ""


def _networks(key: str) -> Iterator[str]:
    """Give the keys of the networks that an address is in, as sendmail and Postfix look them up, too: see access(5)."""
    part = ":" if key.count(":") > 1 else "."
    while (key := key.rpartition(part)[0]) and not key.endswith("ipv6"):
        yield key


def _time(seconds: float) -> str:
    """Give a time, in seconds since the epoch, in words."""
    return "ever" if seconds == denials.FOR_EVER else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


OF_GRANTS = {"end": _end, "deny": _deny, "undeny": _undeny, "why": _why}
