"""What the admin reads of a verb, and what the log hears of it."""

from __future__ import annotations

import getpass
import os
import sys
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import cast

from popips import denials
from popips.db.task import PROGRAM
from popips.log import INFO, Log
from popips.login import word
from popips.maps import MapError, Place, Records
from popips.site import Site

GREEN, RED = "32", "31"  # of a terminal: ECMA-48, SGR
SHOWN = 10  # names in a line


def complain(texts: Iterable[str]) -> int:
    """Write lines on standard error; return the exit status: 1 if there is any."""
    lines = [f"{PROGRAM}: {text}\n" for text in texts]
    sys.stderr.writelines(lines)
    return 1 if lines else os.EX_OK


def note(events: Iterable[str], place: Place) -> None:
    """Log what the admin's hand did: a permanent record opens a relay for longer than any login does."""
    log = Log(PROGRAM)
    for event in events:
        log.line(INFO, f"{event} user={word(admin())} map={place}")


def did(what: str, names: Collection[str]) -> None:
    """Print in a line what was done, and to whom: the first so many."""
    if names:
        shown = ", ".join(printable(name.encode()) for name in list(names)[:SHOWN])
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        sys.stdout.write(f"{what}: {shown}{more}\n")


def admin() -> str:
    """Return the name of whoever runs the program."""
    return os.environ.get("SUDO_USER") or getpass.getuser()


def printable(data: bytes) -> str:
    """Return a record's bytes as text that cannot steer a terminal."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in data.decode("utf-8", "backslashreplace"))


def painted(text: str, colour: str) -> str:
    """Return the text in a colour, on a terminal whose user has not asked for none: no-color.org."""
    return f"\x1b[{colour}m{text}\x1b[0m" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text


def moment(seconds: float) -> str:
    """Return a time, in seconds since the epoch, in words."""
    return "ever" if seconds == denials.FOR_EVER else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def local(seconds: float) -> str:
    """Return a time, in seconds since the epoch, as the clock on the wall has it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def span(seconds: float) -> str:
    """Return how long something lasts, in words."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s"


@contextmanager
def records_or_none(site: Site) -> Iterator[Records]:
    """Return the map's records; where it cannot be used, say why and return none: the stamps can still be listed."""
    with ExitStack() as stack:
        try:
            records = stack.enter_context(site.reader())
        except MapError as error:
            complain([str(error)])
            records = cast("Records", {})  # which answers get()
        yield records
