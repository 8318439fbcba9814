"""What a server's login lines look like: a small file for each in formats/, or follow_pattern in popips.conf.

A file has lines `key = value`; the values of these keys are Python's regular expressions, and match as a whole:

  program  the program's name in the head of a syslog line; without it, the message follows the time at once
  login    the message of a login, with groups `address`, `user` and `service`, as far as the line has them
  from     a message that comes before it, from the same process, with `address`, if `login` has none

and service, the service of a login that names none.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

FOLDER = Path(__file__).parent / "formats"
LONGEST = 8192  # bytes of a line: syslogd has 8192 at most (rsyslog's $MaxMessageSize)
PROCESSES = 10_000  # of which it is kept from where their session is
SESSION = 600.0  # seconds that a client may take to log in
TIME = r"(?:[A-Z][a-z]{2} [ 0-3][0-9] [0-9:]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(?:Z|[+-][0-9]{2}:[0-9]{2}))"


class FormatError(Exception):
    """A format cannot be used; str() names its file and the cure."""


@dataclass(frozen=True)
class Login:
    """What a line says: texts as they stand there."""

    address: str
    user: str
    service: str


@dataclass
class Format:
    """A format, and the sessions whose login is still to come."""

    login: re.Pattern[str]
    origin: re.Pattern[str] | None  # the line `from`
    service: str
    sessions: OrderedDict[str, tuple[float, str]] = field(default_factory=OrderedDict)  # process: when, and address

    def read(self, line: str, now: float) -> Login | None:
        """Return the login that a line, without its newline, tells of; None for any other line. now: in seconds."""
        began = self.origin.fullmatch(line) if self.origin else None
        if began:
            self._remember(began["pid"], began["address"], now)
        found = None if began else self.login.fullmatch(line)
        if not found:
            return None
        groups = found.groupdict()
        address = groups.get("address") or self._remembered(groups.get("pid"), now)
        return Login(address, groups.get("user") or "-", groups.get("service") or self.service) if address else None

    def _remember(self, process: str | None, address: str, now: float) -> None:
        if process:  # without one, anybody's session would do for anybody's login
            self.sessions.pop(process, None)
            self.sessions[process] = now, address
        while len(self.sessions) > PROCESSES:
            self.sessions.popitem(last=False)

    def _remembered(self, process: str | None, now: float) -> str:
        began, address = self.sessions.pop(process or "", (0.0, ""))
        return address if now - began <= SESSION else ""  # a process of later may have the same number


def names() -> list[str]:
    """Return the names of all formats that there are."""
    return sorted(path.stem for path in FOLDER.glob("*.conf"))


def load(name: str) -> Format:
    """Return the format of this name; raise FormatError if there is none, or its file has a mistake."""
    path = FOLDER / f"{name}.conf"
    if name not in names():
        raise FormatError(f"{name}: no such format; there are {', '.join(names())}, and own for follow_pattern")
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    settings = {key: value for key, _, value in (line.partition(" = ") for line in lines)}
    return _compiled(str(path), settings)


def own(pattern: str, where: str) -> Format:
    """Return the format that follow_pattern says, `PROGRAM: REGEX$`; raise FormatError. where: it stands."""
    if not pattern:
        raise FormatError(f"{where}: follow_pattern is not set")
    program, colon, login = pattern.partition(": ")
    if not colon or not re.fullmatch(r"[A-Za-z0-9._/-]+", program):
        raise FormatError(f"{where}: follow_pattern: begin with the program's name, as it is, and `: `")
    if not login.endswith("$") or login.endswith(r"\$"):
        raise FormatError(f"{where}: follow_pattern: end with $, or what a user writes at the end may match")
    return _compiled(where, {"program": re.escape(program), "login": login[:-1], "service": program})


def _compiled(where: str, settings: dict[str, str]) -> Format:
    head = rf"{TIME} [^ ]+ (?:{settings['program']})(?:\[(?P<pid>[0-9]+)\])?: " if "program" in settings else f"{TIME} "
    try:
        login = re.compile(f"{head}(?:{settings['login']})", re.ASCII)
        origin = re.compile(f"{head}(?:{settings['from']})", re.ASCII) if "from" in settings else None
    except re.error as error:
        raise FormatError(f"{where}: not a regular expression: {error}") from None
    if "address" not in (origin or login).groupindex:
        raise FormatError(f"{where}: the pattern needs a group for the address: (?P<address>[0-9a-fA-F.:]+)")
    return Format(login, origin, settings.get("service", "-"))


def lines(stream: BinaryIO) -> Iterator[str]:
    """Return the stream's lines, as they come; those that are longer than LONGEST are left out as a whole."""
    is_rest = False
    while data := stream.readline(LONGEST):
        is_whole = data.endswith(b"\n")
        if is_whole and not is_rest:
            yield data[:-1].decode("utf-8", "replace")
        is_rest = not is_whole
