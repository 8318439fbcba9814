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
from pathlib import Path

from pam_hook import environ
from popips import address, admin, command, config, lane
from popips.maps import MapError, berkeley, source
from popips.stamps import Line, StampError, word
from tests.box import ROOT
from tests.conftest import Site
from tests.test_address import cases
from tests.torture import Row
from tests.torture.kill import fast_folder

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
    """Give one or two seeds with some bytes changed, doubled, cut out or put in."""
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


def feed_environment(data: bytes, _: Site) -> str:
    try:
        environ.single(environ.entries(data), b"PAM_")
    except environ.Unclear:
        pass
    return ""


def feed_lane(data: bytes, site: Site) -> str:
    """Variables of a login, on the fast lane of sh that is open for one address; the long way leads nowhere."""
    hook = site.folder / "hook"
    if not hook.exists():
        site.now = time.time()
        site.login(GRANTED)
        site.expire()
        lane.lead(site.config)
        parts, program = ((ROOT / "pam_hook" / part).read_text() for part in ("lane.sh", "hook.sh"))
        hook.write_text(program.replace("# @LANE@\n", parts).replace("@PYTHON@", "/bin/true"))
    words = [*data.replace(b"\0", b"").split(b" ", 2), b"", b""]
    address = GRANTED.encode() if len(data) % 2 else words[0]
    variables = {b"PAM_RHOST": address, b"PAM_USER": words[1], b"PAM_SERVICE": words[2], b"PAM_TYPE": b"account"}
    child = os.posix_spawn("/bin/sh", ["/bin/sh", str(hook), "-c", str(site.conf)], variables)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    line = Line.unpack((site.stamps / GRANTED).read_bytes())
    fine = status == 0 and site.names() == {GRANTED} and line and (line.key, line.value) == (GRANTED, "RELAY")
    return "" if fine else f"exit {status}, {site.names()}, {line and line.pack()!r}"


def feed_line(data: bytes, _: Site) -> str:
    line = Line.unpack(data)
    text = word(data.decode("utf-8", "surrogateescape"))
    fine = text.isascii() and text.isprintable() and " " not in text and 1 <= len(text) <= 64
    return "" if fine and (line is None or Line.unpack(line.pack()) is not None) else f"word {text!r}"


def feed_config(data: bytes, site: Site) -> str:
    site.conf.write_bytes(data)
    try:
        config.load(str(site.conf))
    except config.ConfigError as error:
        return "" if str(error).startswith(str(site.conf)) else f"does not name its file: {error}"
    return ""


def feed_standard_input(data: bytes, _: Site) -> str:
    sys.stdin = io.StringIO(data.decode("utf-8", "surrogateescape"))
    try:
        admin._wanted(["-"], config.Config())
    except command.UsageError:
        pass
    finally:
        sys.stdin = sys.__stdin__
    return ""


def feed_text_file(data: bytes, site: Site) -> str:
    site.access.write_bytes(data)
    keys = source.records(str(site.access), postfix=len(data) % 2 == 0)
    return "" if all(key == key.lower() for key in keys) else "a key in upper case"


def feed_stamp(data: bytes, site: Site) -> str:
    """A file in the stamp folder with any name and content; the expirer looks at it."""
    name = data.replace(b"/", b"").replace(b"\0", b"")[:60]
    if name in (b"", b".", b".."):
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


def feed_records(data: bytes, site: Site) -> str:
    """A map with an odd key and value: it is listed, and a login still works."""
    with berkeley.Writer(site.place, "", site.now, _soon()) as writer:
        writer.change(lambda records: records.put(data[:20], data[20:]))
    with berkeley.Reader(site.place, _soon()) as records:
        for key, value in records.items():
            if not (admin._printable(key) + admin._printable(value)).isprintable():
                return f"not printable: {key!r} {value!r}"
    return ""


def _soon() -> float:
    return time.monotonic() + HANGS_AFTER


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
            berkeley.LIBDB_LIMIT = 1
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
    return "an exception of another kind" if status > 0 else ""


TARGETS = [
    Target("addresses", 610_000, feed_address),
    Target("PAM_ and Dovecot variables", 100_000, feed_environment),
    Target("the fast lane", 10_000, feed_lane),
    Target("stamps' lines and log words", 150_000, feed_line),
    Target("popips.conf", 50_000, feed_config),
    Target("standard input of popips-db", 50_000, feed_standard_input),
    Target("the map's text", 20_000, feed_text_file),
    Target("names in the stamp folder", 5_000, feed_stamp),
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
