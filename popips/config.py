"""popips.conf as a value. Every default stands here and nowhere else; see popips.conf(5).

This is on the way of every login: no dataclasses, whose import costs more than the rest of it.
"""

from __future__ import annotations

import posix as os  # os itself costs a login two milliseconds

from popips import address
from popips.maps import BY_POSTMAP, MapError, Place, exists

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PATH = "/etc/popips.conf"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SERVICE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"  # what a service's name may hold
LONGEST_VALUE = 3000  # characters
LONGEST_WAIT = 2.0  # seconds: a login is not held up for longer, whatever it waits for


class ConfigError(Exception):
    """The configuration cannot be used; str() names file, line and cure."""


class Config:
    """What popips.conf says, unchangeable. Times are in seconds."""

    mta: str = "sendmail"
    map: Place = Place("hash", "/etc/mail/access.db")
    stamps: str = "/var/lib/popips/stamps"
    window: float = 15 * 60.0
    value: str = "RELAY"
    key: str = "bare"
    compressed_ipv6: bool = False
    never: tuple[address.Network, ...] = address.networks(
        "0.0.0.0/8 127.0.0.0/8 169.254.0.0/16 224.0.0.0/4 ::/128 ::1 fe80::/10 ff00::/8"
    )
    lock_timeout: float = LONGEST_WAIT
    log_renewals: bool = False
    own_map: bool = False
    max_per_user: int = 0  # 0: no limit
    only_services: tuple[str, ...] = ()  # (): all
    only_group: str = ""  # "": everybody
    renew: str = "logins"
    doveadm: str = "doveadm"
    drop: str = ""  # "": none
    follow_pattern: str = ""  # "": none
    static_source: str | None = None  # None: the map's text file if there is one; "": none
    path: str = ""  # of the file that says so; "" if none does

    def __init__(self, **settings: Any) -> None:
        self.__dict__.update(settings)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Config is a value: {name} cannot be set")

    def source(self, place: Place) -> str:
        """Give the text file that a map is made from; "" if there is none."""
        if place == self.map and self.own_map:
            return ""
        if place == self.map and self.static_source is not None:
            return self.static_source
        return place.source if exists(place.source) else ""

    @property
    def styles(self) -> tuple[str, ...]:
        """The forms in which a record may stand for an address."""
        # sendmail asks for connect:ADDRESS before ADDRESS: a record in either form is the admin's word on the address
        return ("postfix",) if self.mta == "postfix" else ("bare", "connect")

    def summary(self) -> str:
        """Give in a word all that decides which record belongs to which address."""
        never = " ".join(f"{network.first.hex()}/{network.bits}" for network in self.never)
        return (
            f"{self.map} {self.own_map} {self.key} {self.compressed_ipv6} {self.value!r} {self.static_source} {never}"
        )

    def replace(self, **settings: Any) -> Config:
        """Give the same configuration with some settings of its own."""
        return Config(**{**self.__dict__, **settings})


def duration(text: str) -> float:
    """Give the seconds in a text like 90s, 15m, 2h or 1d; raise ValueError for another."""
    number, unit = text[:-1], text[-1:]
    if unit not in UNITS or not number.isascii() or not number.replace(".", "", 1).isdigit():
        raise ValueError("write a number and a unit, s m h or d: 15m")
    seconds = float(number) * UNITS[unit]
    if not 0 < seconds <= 366 * 86400:
        raise ValueError("a time is more than 0 and at most a year")
    return seconds


def _lock_timeout(text: str) -> float:
    seconds = duration(text)
    if seconds > LONGEST_WAIT:
        raise ValueError(f"at most {LONGEST_WAIT:g}s: a login must not be held up for longer")
    return seconds


def _one_of(first: str, second: str) -> Callable[[str], str]:
    """Give the parser that takes these two words."""

    def parse(text: str) -> str:
        if text not in (first, second):
            raise ValueError(f"write {first} or {second}")
        return text

    return parse


def _yes_or_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError("write yes or no")
    return text == "yes"


def _value(text: str) -> str:
    if not text.isprintable() or not text.isascii() or len(text) > LONGEST_VALUE:
        raise ValueError(f"write one line of ASCII, RELAY for instance, of at most {LONGEST_VALUE} characters")
    return text


def _absolute(text: str) -> str:
    parts = text.split("/")
    if parts[0] or ".." in parts:
        raise ValueError("write an absolute path, without ..")
    return "/" + "/".join(part for part in parts if part not in ("", "."))


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError("write a number, 0 for no limit")
    return int(text)


def _services(text: str) -> tuple[str, ...]:
    names = () if text == "all" else tuple(text.replace(",", " ").split())
    for name in names:
        if name.strip(SERVICE):
            raise ValueError(f"{name}: write the names of PAM services, pop3 and imap for instance, or all")
    return names


def _group(text: str) -> str:
    if text.split() != [text]:
        raise ValueError("write the name of one group, or all")
    return "" if text == "all" else text


def _pattern(text: str) -> str:
    return "" if text == "none" else text


def _networks(text: str) -> tuple[address.Network, ...]:
    return () if text == "none" else address.networks(text)


def _path_or_none(text: str) -> str:
    return "" if text == "none" else _absolute(text)


PARSERS: dict[str, Callable[[str], object]] = {
    "mta": _one_of("sendmail", "postfix"),
    "map": Place.parse,
    "stamps": _absolute,
    "window": duration,
    "value": _value,
    "key": _one_of("bare", "connect"),
    "compressed_ipv6": _yes_or_no,
    "never": _networks,
    "lock_timeout": _lock_timeout,
    "log_renewals": _yes_or_no,
    "own_map": _yes_or_no,
    "max_per_user": _number,
    "only_services": _services,
    "only_group": _group,
    "renew": _one_of("logins", "sessions"),
    "doveadm": str,
    "drop": _path_or_none,
    "follow_pattern": _pattern,
    "static_source": _path_or_none,
}


def load(path: str) -> Config:
    """Read the file; a missing one gives the defaults. Raise ConfigError for all that is not `key = value`."""
    path = path if path.startswith("/") else f"{os.getcwd()}/{path}"
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return Config(path=path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{number}: not UTF-8; write it in ASCII") from None
    settings: dict[str, object] = {}
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        name, equals, text = (part.strip() for part in line.partition("="))
        where = f"{path}:{number}"
        if not equals or not text:
            raise ConfigError(f"{where}: write `key = value`, or # before a comment; a value must not be empty")
        if name not in PARSERS:
            raise ConfigError(f"{where}: unknown key {name!r}: the keys are {', '.join(PARSERS)}")
        if name in settings:
            raise ConfigError(f"{where}: {name} is set twice: leave one of the lines out")
        try:
            settings[name] = PARSERS[name](text)
        except (ValueError, MapError) as error:
            comment = "; a comment needs a line of its own" if "#" in text else ""
            raise ConfigError(f"{where}: {name}: {error}{comment}") from None
    return Config(path=path, **_agreed(path, settings))


def _agreed(path: str, settings: dict[str, object]) -> dict[str, object]:
    """Give the settings with what follows from them; raise ConfigError if they do not go together."""
    place, is_postfix, is_own = settings.get("map"), settings.get("mta") == "postfix", bool(settings.get("own_map"))
    if not isinstance(place, Place):
        if is_own:
            raise ConfigError(f"{path}: own_map = yes: set map, to one that holds nothing else: access.db does")
        if is_postfix:
            raise ConfigError(f"{path}: mta = postfix: set map, hash:/var/lib/popips/popips for instance")
        return settings
    if place.kind in BY_POSTMAP and not (is_postfix and is_own):
        cure = "set mta = postfix and own_map = yes, and name a map that holds nothing else"
        raise ConfigError(f"{path}: map: {place.kind} is of Postfix, and made anew as a whole: {cure}")
    if is_postfix:
        for name in ("key", "compressed_ipv6"):
            if name in settings:
                raise ConfigError(f"{path}: {name} is for sendmail, Postfix has one form of key: leave the line out")
        settings = {"value": "OK", **settings, "key": "postfix"}
    return {**settings, "map": Place(place.kind, place.path, own=is_own, postfix=is_postfix)}
