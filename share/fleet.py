"""What `popips-db status` and `popips-db doctor` show of the fleet: the file .fleet in share_from."""

from __future__ import annotations

from dataclasses import dataclass

from popips.probe.fleet import SCHEMA
from share.told import Told

SOON = 1.0  # seconds between two changes of the file
ALIVE = 10.0  # seconds after which it is written whether or not there is news


@dataclass(frozen=True)
class Heard:
    """When a host has written its last entry, in seconds since the epoch, and how many that took."""

    time: float
    lag: float


class Fleet:
    """How this host stands with the others."""

    def __init__(self, name: str, engine: str, now: float) -> None:
        self._name, self._engine = name, engine
        self._is_connected, self._since, self._error = False, now, ""
        self._hosts: dict[str, Heard] = {}
        self._written, self._is_news = float("-inf"), True

    def heard(self, host: str, written: float, lag: float) -> None:
        """Note when another host has written an entry, and how many seconds it took."""
        self._hosts[host] = Heard(written, max(0.0, lag))
        self._is_news = True

    def state(self, is_connected: bool, error: str, now: float) -> bool:
        """Note whether the server is there, and what is wrong; return whether that is news."""
        if (is_connected, error) == (self._is_connected, self._error):
            return False
        if is_connected != self._is_connected:
            self._since = now
        self._is_connected, self._error, self._is_news = is_connected, error, True
        return True

    def write(self, told: Told, now: float) -> None:
        """Write the file, if it is time for that. Raise OSError."""
        if 0 <= now - self._written < (SOON if self._is_news else ALIVE):
            return
        hosts = {
            name: {"heard": its.time, "lag": its.lag, "live": told.live.get(name, 0)}
            for name, its in self._hosts.items()
        }
        told.tell_fleet(
            {
                "schema": SCHEMA,
                "name": self._name,
                "engine": self._engine,
                "connected": self._is_connected,
                "since": self._since,
                "error": self._error,
                "written": now,
                "hosts": hosts,
            }
        )
        self._written, self._is_news = now, False
