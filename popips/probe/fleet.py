"""How this host stands with the others of its fleet, as popips-share has written it down last."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field

from popips import configuration, parsers
from popips.configuration import SettingsError
from popips.elsewhere import Elsewhere
from popips.probe import units
from popips.probe.machine import Machine
from popips.settings import Settings
from popips.stamps import StampError

PROGRAM = "popips-share"
SERVICE = f"{PROGRAM}.service"
FILE = ".fleet"
LARGEST = 1 << 20  # bytes
SCHEMA = 1
SILENT = 30.0  # seconds after which popips-share counts as dead: it writes every ten


@dataclass(frozen=True)
class Host:
    """Another host: when it was heard of last, in seconds since the epoch, and how many its last entry took.

    live: how many addresses have logged in there.
    """

    name: str
    heard: float
    lag: float
    live: int


@dataclass(frozen=True)
class Fleet:
    """What popips-share says. name: what the others call this host; engine: the server by which they tell each other.

    since: from when on that is connected, or is not; None where popips-share says nothing, and error says why. known:
    other hosts, heard or not. id: what tells this one from another of its name.
    """

    name: str
    engine: str
    connected: bool
    since: float | None
    error: str
    written: float | None = None
    hosts: list[Host] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    id: str = ""

    def is_silent(self, now: float) -> bool:
        """Whether popips-share has died, or never was there."""
        return self.written is None or abs(now - self.written) > SILENT


def is_joined(machine: Machine) -> bool:
    """Whether popips-share runs, or is started at boot."""
    unit = units.units(machine, SERVICE)[SERVICE]
    runs = bool(unit.is_active) or any(units.processes(machine, [PROGRAM]).values())
    return unit.is_enabled or runs or _has_told()


def _has_told() -> bool:
    """Whether popips-share has told just now that it runs: by python3 -I, its process bears that one's name."""
    try:
        settings = configuration.load(configuration.PATH)
    except SettingsError:
        return False
    return bool(settings.share) and not seen(settings).is_silent(time.time())


def seen(settings: Settings) -> Fleet:
    """Return what there is to be seen from here."""
    try:
        with Elsewhere(settings.share_from) as there:
            data = there.read(FILE, LARGEST)
    except StampError as error:
        return _silent(settings, str(error))
    if not data:
        return _silent(settings, f"{settings.share_from}/{FILE}: popips-share has not written it: does it run?")
    try:
        return _fleet(json.loads(data))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return _silent(settings, f"{settings.share_from}/{FILE}: not as this version of popips-share writes it")


def _silent(settings: Settings, error: str) -> Fleet:
    return Fleet(settings.share_name, settings.share, False, None, error)


def _fleet(told: dict[str, object]) -> Fleet:
    """Return what a document says; raise ValueError, KeyError, TypeError or AttributeError if it is another."""
    if told["schema"] != SCHEMA or not isinstance(told["hosts"], dict):
        raise ValueError(told["schema"])
    hosts = [
        Host(name, _number(its["heard"]), _number(its["lag"]), int(_number(its["live"])))
        for name, its in sorted(told["hosts"].items())
        if _is_a_hosts(name)
    ]
    odd = len(told["hosts"]) - len(hosts)
    names, its = told.get("known", []), str(told.get("id", ""))
    known = [name for name in names if _is_a_hosts(name)] if isinstance(names, list) else []
    errors = [str(told["error"]), f"left out {odd} by a name that no host can have" if odd else ""]
    return Fleet(
        str(told["name"]),
        str(told["engine"]),
        told["connected"] is True,
        _number(told["since"]),
        "; ".join(filter(None, errors)),
        _number(told["written"]),
        hosts,
        known,
        its if _is_a_hosts(f"x{its}") else "",
    )


def _is_a_hosts(name: str) -> bool:
    """Whether a host may be called that: whoever can write to the server has chosen it."""
    try:
        return bool(parsers.host(name))
    except ValueError:
        return False


def _number(value: object) -> float:
    if not isinstance(value, (int, float)) or not abs(value) < 1 << 53:
        raise ValueError(value)
    return float(value)
