"""popips.conf: the file, read and understood."""

from __future__ import annotations

import os
from collections.abc import Mapping
from stat import S_ISREG

from popips.files import identity, opened
from popips.maps import WHOLE, Place
from popips.paste import quoted
from popips.settings import ROWS, Settings

PATH = "/etc/popips.conf"


class SettingsError(Exception):
    """The settings cannot be used; str() names file, line and cure."""


def load(path: str) -> Settings:
    """Return what the file says; the usual one need not be there. Raise SettingsError for all but `key = value`."""
    path = path if path.startswith("/") else f"{os.getcwd()}/{path}"
    identity, data = _content(path)
    return parsed(path, data, identity)


def parsed(path: str, data: bytes, identity: str = "-") -> Settings:
    """Return what a file with these bytes says; identity: that of the file. Raise SettingsError."""
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{path}:{number}: not UTF-8; write it in ASCII") from None
    given: dict[str, object] = {}
    places: dict[str, str] = {}  # the line of each
    for number, line in enumerate((line.strip() for line in lines), 1):
        if not line or line.startswith("#"):
            continue
        name, equals, text = (part.strip() for part in line.partition("="))
        where = f"{path}:{number}"
        if not equals or not text:
            raise SettingsError(f"{where}: write `key = value`, or # before a comment; a value must not be empty")
        if name not in ROWS:
            raise SettingsError(f"{where}: unknown key {name!r}: the keys are {', '.join(ROWS)}")
        if name in given:
            raise SettingsError(f"{where}: {name} is set twice: leave one of the lines out")
        try:
            given[name], places[name] = ROWS[name].parse(text), where
        except ValueError as error:
            comment = "; a comment needs a line of its own" if "#" in text else ""
            raise SettingsError(f"{where}: {name}: {error}{comment}") from None
    settings = Settings(path=path, identity=identity, **_agreed(path, given))
    if settings.share:
        _apart(settings, places)
    return settings


def _content(path: str) -> tuple[str, bytes]:
    """Return the file's identity and bytes, "-" and none if the usual one is missing.

    Raise SettingsError if it is not root's alone to write; where another user runs the program, in a test for
    instance, it may be his.
    """
    try:
        with opened(path, os.O_RDONLY | os.O_NONBLOCK) as fd:
            state, owners = os.fstat(fd), (0, os.geteuid())
            if not S_ISREG(state.st_mode):
                raise SettingsError(f"{path}: cannot be read: it is not a plain file")
            if state.st_uid not in owners or state.st_mode & 0o022 or os.lstat(path).st_uid not in owners:
                its = quoted(path)
                cure = f"chown -h root {its} && chown root {its} && chmod go-w {its}"
                raise SettingsError(f"{path}: others may write it, and root runs what it says: {cure}")
            with open(fd, "rb", closefd=False) as file:
                return identity(state), file.read()
    except FileNotFoundError:
        if path != PATH:
            raise SettingsError(f"{path}: there is no such file") from None
        return "-", b""
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None


def _apart(settings: Settings, places: Mapping[str, str]) -> None:
    """Raise SettingsError where the files of two folders would stand beside each other: they have the same names."""
    stamps, told = settings.stamps, settings.share_from
    if not (_is_within(stamps, told) or _is_within(told, stamps)):
        return
    wrong = "share_from" if "share_from" in places else "stamps"
    cure = f"name another folder as {wrong}, {getattr(Settings, wrong)} for instance"
    raise SettingsError(
        f"{places[wrong]}: {told} (share_from) and {stamps} (stamps) must be two separate folders: {cure}"
    )


def _is_within(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other.rstrip('/')}/")


def _agreed(path: str, given: dict[str, object]) -> dict[str, object]:
    """Return the settings with what follows from them; raise SettingsError if they do not go together."""
    place, is_postfix, is_own = given.get("map"), given.get("mta") == "postfix", bool(given.get("own_map"))
    if not isinstance(place, Place):
        if is_own:
            raise SettingsError(f"{path}: own_map = yes: set map, to one that holds nothing else: access.db does")
        if is_postfix:
            raise SettingsError(f"{path}: mta = postfix: set map, hash:/var/lib/popips/popips for instance")
        return given
    if not place.row.has_file:
        return _without_file(path, given, place.kind)
    if not is_postfix and "sendmail" not in place.row.build:
        cure = "name a map of type hash, or set map = mapd where there is no Berkeley DB"
        raise SettingsError(f"{path}: map: sendmail asks no {place.kind}: {cure}")
    if place.kind in WHOLE and not is_own:
        whose = "Postfix's" if is_postfix else "sendmail's"
        cure = "set own_map = yes, and name a map that holds nothing else; or name one of type hash"
        raise SettingsError(f"{path}: map: {whose} {place.kind} can only be written as a whole: {cure}")
    if is_postfix:
        for name in ("key", "compressed_ipv6"):
            if name in given:
                raise SettingsError(f"{path}: {name} is for sendmail, Postfix has one form of key: leave the line out")
        given = {"value": "OK", **given, "key": "postfix"}
    return {**given, "map": Place(place.kind, place.path, own=is_own, postfix=is_postfix)}


def _without_file(path: str, given: dict[str, object], kind: str) -> dict[str, object]:
    """Return the settings where there is no map: what popips-mapd answers is not for popips.conf to say."""
    for name in ("own_map", "key", "value"):
        if name in given:
            raise SettingsError(f"{path}: {name} is for a map in a file, and map = {kind} has none: leave the line out")
    postfix = given.get("mta") == "postfix"
    its = {"value": "OK", "key": "postfix"} if postfix else {}
    return {**given, **its, "map": Place(kind, str(given.get("stamps", Settings.stamps)), own=True, postfix=postfix)}
