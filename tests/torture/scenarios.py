"""The scenarios: a program on a site in some state."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from popips import lane, requests, revoke
from popips.maps.database import Copy
from popips.stamps import SETTLED
from tests.torture.ground import Ground
from tests.torture.programs import (
    DEL,
    DENY,
    END,
    EXPIRE,
    INS,
    KNOWN,
    LOGIN,
    NEW,
    STATIC,
    Program,
    hook,
    postlogin,
)

LONG_AGO = 7200  # seconds


@dataclass(frozen=True)
class Scenario:
    """The program, and what makes the state.

    touched: keys of the admin's that the program itself may change. kind, own: of the map. owed: the addresses that
    have a grant after the next run, whatever happens. mta: whose programs make the map, if it is made as a whole.
    """

    name: str
    program: Program
    prepare: Callable[[Ground], None]
    touched: frozenset[str] = frozenset()
    kind: str = "hash"
    own: bool = False
    owed: frozenset[str] = frozenset()
    mta: str = ""


def prepared(ground: Ground, scenario: Scenario, size: int) -> dict[str, str]:
    """Build the map with so many of the admin's records, and return them; with a tenth as many grants if it is own.

    A run has seen it all, and not just now: so what comes after it is done as on any other minute.
    """
    static: dict[str, str] = {}
    if ground.own:
        ground.access.unlink(missing_ok=True)
        ground.db.unlink(missing_ok=True)
        for number in range(size // 10):
            (ground.stamps / f"10.1.{number // 256}.{number % 256}").touch(mode=SETTLED)
    else:
        static = {f"10.0.{n // 256}.{n % 256}": "REJECT" for n in range(7, size)}
        static |= {f"static.{n}": "OK" for n in range(3)} | {STATIC: "REJECT"}
        ground.build(text_of(static))
        ground.access.write_text("# the values alone tell what is static\n")
        os.utime(ground.access, (0, 0))
    ground.expire()
    scenario.prepare(ground)
    return static


def text_of(records: dict[str, str]) -> str:
    return "".join(f"{key}\t{value}\n" for key, value in records.items())


# ---- states


def grant(ground: Ground, *addresses: str) -> None:
    for address in addresses:
        assert ground.login(address) in ("granted", "renewed", "static")


def granted(*addresses: str) -> Callable[[Ground], None]:
    """Return what makes these grants, and has a run see them."""

    def prepare(ground: Ground) -> None:
        grant(ground, *addresses)
        ground.expire()

    return prepare


def lane_is_open(ground: Ground) -> None:
    granted(KNOWN, "192.0.2.21")(ground)
    with ground.host as host:
        lane.lead(host)


def due(count: int) -> Callable[[Ground], None]:
    def prepare(ground: Ground) -> None:
        names = [f"172.16.{n // 256}.{n % 256}" for n in range(count)]
        if ground.own:
            stamp(ground, names, time.time())
        else:
            pairs = {name.encode(): b"RELAY" for name in names}
            revoke.put(revoke.Edited(ground.place, "", time.time()), pairs)
        grant(ground, KNOWN)
        ground.expire()
        stamp(ground, names, time.time() - LONG_AGO)

    return prepare


def stamp(ground: Ground, names: list[str], when: float) -> None:
    for name in names:
        (ground.stamps / name).touch(mode=SETTLED)
        os.utime(ground.stamps / name, (when, when))


def gone(ground: Ground) -> None:
    granted(KNOWN)(ground)
    ground.db.unlink()


def rebuilt(ground: Ground) -> None:
    text = text_of(ground.records())
    granted(*(f"192.0.2.{n}" for n in range(20, 60)))(ground)
    comment = ground.access.read_text()
    ground.build(text)
    ground.access.write_text(comment)
    os.utime(ground.access, (0, 0))


def with_a_split_to_come(ground: Ground) -> None:
    """Fill the map with grants until one more of NEW would split a bucket."""
    for number in range(4000):
        copy = Copy(ground.place, time.monotonic() + 60, flags=0)
        with copy as records:
            records.put(NEW.encode(), b"RELAY")
            change = copy.changes()
        if change and len(change.chunks) > 3:
            ground.expire()
            return
        grant(ground, f"172.20.{number // 256}.{number % 256}")
    raise RuntimeError("no bucket to split")


def with_a_page_to_empty(ground: Ground) -> None:
    """Give grants a value so long that each has pages of its own."""
    ground.configure(value="x" * 3000)
    granted(NEW)(ground)


def with_another_value(ground: Ground) -> None:
    granted(KNOWN, NEW, "192.0.2.21")(ground)
    ground.configure(value="OK")


def with_requests(ground: Ground) -> None:
    """Three logins that nobody has looked at, one of them from an address of the admin's."""
    granted(KNOWN)(ground)
    with ground.host as host:
        for address in (NEW, STATIC, "192.0.2.21"):
            requests.leave(host.folder, address, LOGIN, time.time())


def with_one_too_many(ground: Ground) -> None:
    ground.configure(max_per_user="2")
    granted(KNOWN, "192.0.2.21")(ground)


# ---- the scenarios

STATIC_OF_INS, STATIC_OF_DEL = frozenset({"static.example", "another.example"}), frozenset({"static.0"})
KEPT, WAITING = frozenset({KNOWN}), frozenset({KNOWN, NEW, "192.0.2.21"})
LOGINS = [
    Scenario("hook, new address", hook(NEW), granted(KNOWN)),
    Scenario("hook, known address", hook(KNOWN), granted(KNOWN)),
    Scenario("hook, static address", hook(STATIC), granted(KNOWN)),
    Scenario("hook, a bucket splits", hook(NEW), with_a_split_to_come),
    Scenario("hook, one too many", hook(NEW), with_one_too_many),
    Scenario("hook, requests wait", hook(NEW), with_requests, owed=WAITING),
    Scenario("postlogin, new address", postlogin(NEW), granted(KNOWN)),
    Scenario("postlogin, known address", postlogin(KNOWN), granted(KNOWN)),
    Scenario("hook, fast lane", hook(KNOWN, whole=True), lane_is_open),
    Scenario("postlogin, fast lane", postlogin(KNOWN, whole=True), lane_is_open),
]
RUNS = [
    Scenario("expire, 1 due", EXPIRE, due(1), owed=KEPT),
    Scenario("expire, 500 due", EXPIRE, due(500), owed=KEPT),
    Scenario("expire, reconcile", EXPIRE, rebuilt, owed=KEPT),
    Scenario("expire, requests wait", EXPIRE, with_requests, owed=WAITING),
    Scenario("expire, another value", EXPIRE, with_another_value, owed=KEPT),
]
ON_OWN_MAP = [
    Scenario("hook, new address, own map", hook(NEW), granted(KNOWN), own=True),
    Scenario("expire, 500 due, own map", EXPIRE, due(500), own=True, owed=KEPT),
    Scenario("expire, own map gone", EXPIRE, gone, own=True, owed=KEPT),
]
BY_HAND = [
    Scenario("db ins", INS, granted(KNOWN), STATIC_OF_INS),
    Scenario("db del", DEL, granted(KNOWN, NEW), STATIC_OF_DEL),
    Scenario("db del, a page empties", DEL, with_a_page_to_empty, STATIC_OF_DEL),
    Scenario("db deny", DENY, granted(KNOWN, NEW)),
    Scenario("db end", END, granted(KNOWN, NEW)),
]
SCENARIOS = [*LOGINS, *RUNS, *ON_OWN_MAP, *BY_HAND]
AS_A_WHOLE = [
    Scenario(f"{name}, {map_}", program, prepare, kind=kind, mta=mta)
    for map_, kind, mta in (
        ("lmdb", "lmdb", "Postfix"),
        ("cdb", "cdb", "Postfix"),
        ("cdb of sendmail's", "cdb", "sendmail with cdb"),
    )
    for name, program, prepare in (
        ("hook, new address", hook(NEW), granted(KNOWN)),
        ("expire, 20 due", EXPIRE, due(20)),
        ("expire, map gone", EXPIRE, gone),
    )
]
EVERY = {scenario.name: scenario for scenario in (*SCENARIOS, *AS_A_WHOLE)}


def named(*names: str) -> list[Scenario]:
    return [EVERY[name] for name in names]
