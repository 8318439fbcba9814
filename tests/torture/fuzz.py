"""Hostile input: whatever comes from outside, mutated at random from seeds, a million times in the full run.

Nothing but a canonical address becomes a name or a key, no exception but popips' own leaves a function, and nothing
hangs. A damaged map may crash libdb: as in the programs, the work is done in a process of its own.
"""

from __future__ import annotations

import faulthandler
import io
import ipaddress
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mapd import wire
from mapd.answer import Answers
from popips import address, command, lane
from popips.configuration import SettingsError, load
from popips.db import ins, report
from popips.log import Log
from popips.login import LONGEST_WORD, unpack, word
from popips.maps import MapError, database, kinds
from popips.maps.text import Text
from popips.settings import Settings
from popips.stamps import REQUESTS, StampError
from tests.box import ROOT
from tests.conftest import Site
from tests.test_address import cases
from tests.torture import Row
from tests.torture.ground import fast_folder

SEEDS = [text.encode("utf-8", "surrogatepass") for text, _ in cases() if len(text) < 100]
SEEDS += [b"map = hash:/x", b"window = 15m", b"never = 10.0.0.0/8", b"192.0.2.1 RELAY\nalice pop3 popips-hook\n"]
SEEDS += [b"PAM_RHOST=192.0.2.1", b"192.0.2.1 RELAY\nkey value", b"-", b"\0", b"\n", b"=", b"#", b"\xff\xfe"]
HANGS_AFTER = 10  # seconds
GRANTED = "192.0.2.1"


@dataclass(frozen=True)
class Target:
    """What is fed, and how many of a million inputs it gets."""

    name: str
    share: int
    feed: Callable[[bytes, Site], str]


def mutated(chance: random.Random) -> bytes:
    """Return one or two seeds with some bytes changed, doubled, cut out or put in."""
    data = bytearray(b"".join(chance.choices(SEEDS, k=chance.choice((1, 1, 2)))))
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            data[at:at] = bytes([chance.randrange(256)])
        elif kind == 1:
            del data[at : at + chance.randrange(1, 4)]
        elif kind == 2:
            data[at : at + 1] = chance.choice((b"%", b":", b".", b"/", b" ", b"\0", b"\n", b"0", b"f", b"-", b"\xe0"))
        else:
            data[at:at] = data[: chance.randrange(40)]
    return bytes(data)


def feed_address(data: bytes, _: Site) -> str:
    try:
        name = address.parse(data.decode("utf-8", "surrogateescape"))
    except address.Refused:
        return ""
    canonical = str(ipaddress.ip_address(name)) == name and set(name) <= set("0123456789abcdef.:")
    return "" if canonical else f"not canonical: {name!r}"


def feed_lane(data: bytes, site: Site) -> str:
    """Variables of a login, on the fast lane of sh that is open for one address; the long way leads nowhere."""
    hook = site.folder / "hook"
    if not hook.exists():
        site.now = time.time()
        site.login(GRANTED)
        site.expire()
        with site.host as host:
            lane.lead(host)
        parts = {"# @LANE@": (ROOT / "pam_hook" / "lane.sh").read_text(), "# @LONG_WAY@": "long_way() { :; }"}
        text = (ROOT / "pam_hook" / "hook.sh").read_text()
        for mark, part in parts.items():
            text = text.replace(mark, part)
        hook.write_text(text)
    words = [*data.replace(b"\0", b"").split(b" ", 2), b"", b""]
    address = GRANTED.encode() if len(data) % 2 else words[0]
    variables = {b"PAM_RHOST": address, b"PAM_USER": words[1], b"PAM_SERVICE": words[2], b"PAM_TYPE": b"account"}
    child = os.posix_spawn("/bin/sh", ["/bin/sh", str(hook), "-c", str(site.conf)], variables)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    login = unpack((site.stamps / GRANTED).read_bytes())
    for request in (site.stamps / REQUESTS).iterdir():  # sh may leave one, of no other words than it may write
        text = request.read_text()
        if not address_of(request.name) or len(text.split(" ")) != 3 or not unpack(text.encode()):
            return f"a request {request.name!r}: {text!r}"
        request.unlink()
    fine = status == 0 and site.names() == {GRANTED} and login
    return "" if fine else f"exit {status}, {site.names()}, {login}"


def address_of(request: str) -> str:
    """Return the address in the name of a request's file, "" if there is none that may be there."""
    name = request.rpartition("-")[0]
    return name if name and set(name) <= set("0123456789abcdef.:") else ""


def feed_line(data: bytes, _: Site) -> str:
    login = unpack(data)
    text = word(data.decode("utf-8", "surrogateescape"))
    fine = text.isascii() and text.isprintable() and " " not in text and 1 <= len(text) <= LONGEST_WORD
    return "" if fine and (login is None or unpack(login.pack()) == login) else f"word {text!r}"


def feed_settings(data: bytes, site: Site) -> str:
    site.conf.write_bytes(data)
    try:
        load(str(site.conf))
    except SettingsError as error:
        return "" if str(error).startswith(str(site.conf)) else f"does not name its file: {error}"
    return ""


def feed_standard_input(data: bytes, _: Site) -> str:
    sys.stdin = io.StringIO(data.decode("utf-8", "surrogateescape"))
    try:
        ins.read(["-"], Settings())
    except command.UsageError:
        pass
    finally:
        sys.stdin = sys.__stdin__
    return ""


def feed_text_file(data: bytes, site: Site) -> str:
    site.access.write_bytes(data)
    keys = Text(str(site.access), postfix=len(data) % 2 == 0).records()
    return "" if all(key == key.lower() for key in keys) else "a key in upper case"


def feed_stamp(data: bytes, site: Site) -> str:
    """A file in the stamp folder with any name and content; the expirer looks at it."""
    name = file_name(data)
    if not name:
        return ""
    path = os.path.join(os.fsencode(site.stamps), name)
    with open(path, "wb") as file:
        file.write(data)
    site.expire()
    text = os.fsdecode(name)
    if not address.is_canonical(text) and not os.path.exists(path):
        return f"a foreign file was removed: {text!r}"
    Path(os.fsdecode(path)).unlink(missing_ok=True)
    site.pass_window()
    return ""


def feed_request(data: bytes, site: Site) -> str:
    """A file in the folder of requests with any name and content: a whole one is dealt with, and no other opens."""
    name = file_name(data)
    if not name:
        return ""
    folder = site.stamps / REQUESTS
    folder.mkdir(exist_ok=True)
    path = os.path.join(os.fsencode(folder), name)
    with open(path, "wb") as file:
        file.write(data)
    os.utime(path, (site.now, site.now))
    site.expire()
    granted = site.names()
    if (b"\n" in data and os.path.exists(path) and unpack(data)) or (granted and not unpack(data)):
        return f"{name!r}: granted {granted}"
    if any(not address.is_canonical(one) for one in granted):
        return f"stamps {granted}"
    Path(os.fsdecode(path)).unlink(missing_ok=True)
    site.pass_window()
    site.expire()
    return f"left {site.names()}" if site.names() else ""


def file_name(data: bytes) -> bytes:
    """Return a name that a file can have, nothing if there is none."""
    name = data.replace(b"/", b"").replace(b"\0", b"")[:60]
    return b"" if name in (b".", b"..") or name.startswith(b".") else name


def feed_records(data: bytes, site: Site) -> str:
    """A map with an odd key and value: it is listed, and a login still works."""
    with kinds.writer(site.place, "", site.now, _soon()) as writer:
        writer.change(lambda records: records.put(data[:20], data[20:]), secure=lambda: None)
    with kinds.reader(site.place, _soon()) as records:
        for key, value in records.items():
            if not (report.printable(key) + report.printable(value)).isprintable():
                return f"not printable: {key!r} {value!r}"
    return ""


def _soon() -> float:
    return time.monotonic() + HANGS_AFTER


def feed_question(data: bytes, site: Site) -> str:
    """Whoever asks popips-mapd hears of the one that may relay, of nobody else, or is cut off."""
    if not site.names():
        site.now = time.time()
        site.login(GRANTED)
    answers = _answers(str(site.conf))
    answers.look()
    whole = b"%d:popips %b," % (len(data) + 7, data), b"request=smtpd_access_policy\nprotocol_state=RCPT\n%b\n\n" % data
    for split, answer, one in zip((wire.netstrings, wire.policies), (answers.of_map, answers.of_policy), whole):
        for sent in (data, one, data + one):
            try:
                requests, left = split(sent)
            except wire.Garbage:
                continue
            said = [answer(request, time.time()) for request in requests]
            is_open = any(each not in (wire.NOT_FOUND, wire.CLOSED) for each in said)
            if (is_open and GRANTED.encode() not in sent) or len(left) > len(sent):
                return f"{said} to {sent!r}"
    return ""


@cache
def _answers(conf: str) -> Answers:
    return Answers(conf, Log("popips-mapd"))


def feed_damaged_map(data: bytes, site: Site) -> str:
    """Some bytes of a map are others: all that may come of it is popips' own error, or a crash of the child."""
    whole = bytearray(site.db.read_bytes())
    chance = random.Random(data)
    for _ in range(chance.randrange(1, 30)):
        whole[chance.randrange(len(whole))] = chance.randrange(256)
    damaged = bytes(whole[: chance.randrange(len(whole))] if chance.random() < 0.2 else whole)
    keep = site.db.read_bytes()
    site.db.write_bytes(damaged)
    child = os.fork()
    if child == 0:
        faulthandler.disable()  # pytest's: a crash is no news here
        try:
            database.LIBDB_LIMIT = 1
            site.login("192.0.2.10")
            site.expire()
            os._exit(0)
        except (MapError, StampError):
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    site.db.write_bytes(keep)
    Path(f"{site.db}.popips").unlink(missing_ok=True)
    for name in site.names():
        (site.stamps / name).unlink()
    for request in (site.stamps / REQUESTS).glob("*"):
        request.unlink()
    return "an exception of another kind" if status > 0 else ""


TARGETS = [
    Target("addresses", 605_000, feed_address),
    Target("questions to popips-mapd", 100_000, feed_question),
    Target("the fast lane", 10_000, feed_lane),
    Target("stamps' lines and log words", 150_000, feed_line),
    Target("popips.conf", 50_000, feed_settings),
    Target("standard input of popips-db", 50_000, feed_standard_input),
    Target("the map's text", 20_000, feed_text_file),
    Target("names in the stamp folder", 5_000, feed_stamp),
    Target("requests", 5_000, feed_request),
    Target("odd records", 2_000, feed_records),
    Target("damaged maps", 3_000, feed_damaged_map),
]
MILLION = sum(target.share for target in TARGETS)


@contextmanager
def no_hang() -> Iterator[None]:
    """End the process if one input takes for ever."""
    signal.alarm(HANGS_AFTER)
    try:
        yield
    finally:
        signal.alarm(0)


def run(target: Target, inputs: int, seed: int = 1) -> Row:
    """Feed a target its share of so many inputs."""
    row = Row(f"hostile input: {target.name}")
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        site = Site(Path(folder))
        site.build("".join(f"10.0.{n // 256}.{n % 256} REJECT\n" for n in range(300)))
        for _ in range(max(20, inputs * target.share // MILLION)):
            data = mutated(chance)
            try:
                with no_hang():
                    fault = target.feed(data, site)
            except Exception as error:
                fault = f"{error!r}"
            row.add(f"{data!r}: {fault}" if fault else "")
    return row


def by_name(target: str, inputs: int) -> Row:
    """Do the same for the target of that name."""
    return run(next(one for one in TARGETS if one.name == target), inputs)
