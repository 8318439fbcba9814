"""What `popips-db status` and `popips-db doctor` show of the fleet: the file .fleet in share_from."""

from __future__ import annotations

from dataclasses import dataclass

from popips.probe.fleet import SCHEMA
from share.entry import Entry
from share.told import Told

SOON = 1.0  # seconds between two changes of the file
ENDED = "popips-share was ended"
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
        self._namesake = ""  # which of the hosts of this one's name was heard last
        self._known: list[str] = []
        self._written, self._is_news = float("-inf"), True

    def heard(self, its: Entry, written: float, lag: float) -> None:
        """Note when another host has written an entry, and how many seconds it took."""
        self._hosts[its.host] = Heard(written, max(0.0, lag))
        if its.host == self._name:
            self._namesake = its.by
        elif its.by and its.by == self._namesake:  # it has another name by now
            self._hosts.pop(self._name, None)
            self._namesake = ""
        self._is_news = True

    def know(self, hosts: list[str]) -> None:
        """Note which other hosts have told the server of their denials, be it long ago."""
        self._is_news |= hosts != self._known
        self._known = hosts

    def state(self, is_connected: bool, error: str, now: float) -> bool:
        """Note whether the server is there, and what is wrong; return whether that is news."""
        if (is_connected, error) == (self._is_connected, self._error):
            return False
        if is_connected != self._is_connected:
            self._since = now
        self._is_connected, self._error, self._is_news = is_connected, error, True
        return True

    def end(self, told: Told, now: float) -> None:
        """Write that this host is no longer connected. Raise OSError."""
        self.state(False, ENDED, now)
        self._written = float("-inf")
        self.write(told, now)

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
                "known": self._known,
                "id": told.id,
            }
        )
        self._written, self._is_news = now, False
