"""The host that many work on at once: its map, who may be on it, and what is wrong with it at the end."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from popips import revoke, run
from popips.configuration import load
from popips.site import Site, site
from tests.box import Box

LONG_WINDOW = 3600.0  # seconds, in which nothing of a run is over
STATIC = (
    {"192.0.2.10": "RELAY", "ipv6:2001:db8:0:0:0:0:0:10": "REJECT"}
    | {f"203.0.113.{n}": "RELAY" for n in range(100)}
    | {f"spam{n}.example": "REJECT" for n in range(100)}
    | {f"from:user{n}@sender.example": f'ERROR:5.7.1:"550 no  mail from {n}"' for n in range(100)}
)
TOGETHER = [f"together{n}.example" for n in range(50)]  # put by one change of the map: all or none
ADDRESSES = (
    [f"198.51.100.{n}" for n in range(1, 71)]
    + [f"10.{n}.{7 * n % 256}.{n + 1}" for n in range(60)]
    + [f"2001:db8:1::{n:x}" for n in range(1, 71)]
)


@dataclass(frozen=True)
class Ending:
    """What is wrong with a map: keys of records that are lost, and of those that are left open."""

    lost: list[str]
    open: list[str]

    def __str__(self) -> str:
        return f"lost: {self.lost}, open: {self.open}" if self.lost or self.open else ""


@contextmanager
def popips_of(conf: str, now: float | None = None) -> Iterator[Site]:
    """Have what popips makes of a host, as long as the `with` lasts."""
    settings = load(conf)
    with site(settings, now or time.time(), settings.lock_timeout) as host:
        yield host


def put(conf: str, pairs: dict[str, str]) -> None:
    """Put records that stay."""
    with popips_of(conf) as host:
        revoke.put(_edited(host), {key.encode(): value.encode() for key, value in pairs.items()})


def take_out(conf: str, key: str) -> list[str]:
    """Take a record out; return it if it was not there."""
    with popips_of(conf) as host:
        return revoke.take_out(_edited(host), {key: [key]}).missing


def _edited(host: Site) -> revoke.Edited:
    return revoke.Edited(host.form.place, host.text.path, host.now, host)


def expire(conf: str, now: float, window: float = 0) -> None:
    """Run the expirer at that time, with that window if one is given."""
    with popips_of(conf, now) as host:
        other = replace(host, settings=host.settings.replace(window=window)) if window else host
        run.run(other, lambda login, outcome: None)


def key_of(address: str) -> str:
    """Return the key of a grant, found without popips."""
    if ":" not in address:
        return address
    return "ipv6:" + ":".join(f"{int(group, 16):x}" for group in ipaddress.ip_address(address).exploded.split(":"))


def stamps_of(box: Box) -> set[str]:
    return {path.name for path in box.stamps.iterdir() if not path.name.startswith(".")}


def state_of(box: Box, static: dict[str, str], stamps: Iterable[str]) -> Ending:
    """Compare the map with what must be there: the admin's records, and one for each of the stamps."""
    must, records = static | {key_of(name): "RELAY" for name in stamps}, box.records()
    lost = [key for key, value in must.items() if records.get(key) != value]
    return Ending(lost, [key for key in records if key not in must])


def settled(box: Box, static: dict[str, str]) -> tuple[set[str], Ending]:
    """Run the expirer, then let all windows pass: return the stamps in between, and what was wrong at either time."""
    expire(str(box.conf), time.time(), LONG_WINDOW)
    stamps = stamps_of(box)
    reconciled = state_of(box, static, stamps)
    expire(str(box.conf), time.time() + 2 * LONG_WINDOW)
    emptied = state_of(box, static, ())
    return stamps, Ending(reconciled.lost + emptied.lost, reconciled.open + emptied.open + list(stamps_of(box)))
