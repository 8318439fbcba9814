"""What a server's login lines look like: a small file for each in formats/, or follow_pattern in popips.conf.

A file has lines `key = value`, and # before a comment. These are Python's regular expressions, and match as a whole:

  program  the program's name in the head of a line, see heads.py; it may have the group `service`
  login    the message of a login, with groups `address`, `user` and `service`, as far as the line has them; where a
           server has several forms of it, a line for each
  from     a message that comes before it, from the same process, with `address`, if `login` has none; also several

A server with a log file of its own, in which no syslogd writes heads, has in place of `program`

  head     what stands in front of the message and a blank, with the group `time`, and `pid` if it has one
  time     its form, as strptime(3) has it; ` | ` between several

and all may have

  service  the service of a login that names none
  doubt    a message behind which a piece of it may follow as a line: the next lines of the program are no logins
  units    the units of systemd that may say such a line, with blanks between and fnmatch(3)'s wildcards, for --journal
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

from follower import heads, journal, rules
from follower.heads import Line
from follower.rules import Login

FOLDER = Path(__file__).parent / "formats"
PROCESSES = 10_000  # of which it is kept from where their session is
SESSION = 600.0  # seconds that a client may take to log in
DOUBTED = 3  # lines behind one that is in pieces
NAMES = 1000  # of programs that are known to be the server's, or another's
MANY = ("login", "from")  # keys that may stand more than once
KEYS = ("program", *MANY, "head", "time", "service", "units", "doubt")

Said = dict[str, list[str]]  # what a file says: the values of each key
Pattern = re.Pattern[str]


class FormatError(Exception):
    """A format cannot be used; str() names its file and the cure."""


@dataclass
class Format:
    """A format, and what is kept of the lines so far.

    is_likely: whether a line is worth to be looked at. split: from a line to its parts. times: the forms of their
    times. origins: of the lines `from`. doubted: of each program, how many of its next lines are no logins.
    """

    is_likely: Callable[[str], object]
    split: Callable[[str], Line | None]
    times: tuple[str, ...]
    program: Pattern
    logins: tuple[Pattern, ...]
    origins: tuple[Pattern, ...]
    service: str
    by_journal: bool = False
    word: str = ""  # which each of its lines has in it
    doubt: Pattern | None = None
    doubted: dict[str, int] = field(default_factory=dict)
    sessions: OrderedDict[tuple[str, str], tuple[float, str]] = field(default_factory=OrderedDict)  # when, and address

    def read(self, text: str, now: float, named: Collection[str] = ()) -> Login | None:
        """Return the login that a line, without its newline, tells of; None for any other, or if it may grant nothing.

        now: in seconds since the epoch. named: services that the admin names, besides those of mailboxes.
        """
        found = self.match(text, now)
        return found if found and not self.refusal(found, named) else None

    def refusal(self, login: Login, named: Collection[str] = ()) -> str:
        """Return the reason why a login may grant nothing, "" if it may, as far as that does not depend on when."""
        return rules.refusal(login, {self.service, *named} - {""})

    def match(self, text: str, now: float) -> Login | None:
        """Return the login that a line tells of, whether or not it may grant anything."""
        line = self.split(text) if self.is_likely(text) else None
        if line is None or (self.doubt and self._is_doubted(line, self.doubt)):
            return None
        for pattern in self.origins:
            began = pattern.fullmatch(line.message)
            if began:
                self._remember(line, began["address"], now)
                return None
        for pattern in self.logins:
            found = pattern.fullmatch(line.message)
            if found:
                return self._login(line, found, now)
        return None

    def _is_doubted(self, line: Line, doubt: Pattern) -> bool:
        left = self.doubted.get(line.program, 0)
        self.doubted[line.program] = DOUBTED if doubt.fullmatch(line.message) else max(left - 1, 0)
        return left > 0

    def matches(self, lines: list[str], now: float) -> list[Login]:
        """Return the logins that match() finds in lines."""
        word, is_likely, match = self.word, self.is_likely, self.match
        return [found for line in lines if word in line and is_likely(line) and (found := match(line, now))]

    def _login(self, line: Line, found: re.Match[str], now: float) -> Login | None:
        time = self._time(line, now)
        of_program = self.program.fullmatch(line.program)
        groups = {**(of_program.groupdict() if of_program else {}), **found.groupdict()}
        address = groups.get("address") or self._remembered(line, time)
        service = (groups.get("service") or "").lower() or self.service
        return Login(address, groups.get("user") or "-", service, time) if address else None

    def _time(self, line: Line, now: float) -> float | None:
        return heads.epoch(line.stamp, self.times, now)

    def _remember(self, line: Line, address: str, now: float) -> None:
        time, process = self._time(line, now), (line.program, line.pid)
        if line.pid and time is not None:  # without a process, anybody's session would do for anybody's login
            self.sessions.pop(process, None)
            self.sessions[process] = time, address
        while len(self.sessions) > PROCESSES:
            self.sessions.popitem(last=False)

    def _remembered(self, line: Line, time: float | None) -> str:
        began, address = self.sessions.pop((line.program, line.pid), (0.0, ""))
        # a process of later may have the same number
        return address if time is not None and abs(time - began) <= SESSION else ""


def names() -> list[str]:
    """Return the names of all formats that there are."""
    return sorted(path.stem for path in FOLDER.glob("*.conf"))


def load(name: str, by_journal: bool = False, units: tuple[str, ...] = ()) -> Format:
    """Return the format of this name; raise FormatError if there is none, or its file has a mistake.

    by_journal: for entries of the journal in place of lines with heads. units: in place of the format's own.
    """
    path = FOLDER / f"{name}.conf"
    if name not in names():
        raise FormatError(f"{name}: no such format; there are {', '.join(names())}, and own for follow_pattern")
    said: Said = {}
    for line in path.read_text().splitlines():
        key, _, value = line.partition(" = ")
        if line and not line.startswith("#"):
            said.setdefault(key, []).append(value)
    wrong = [key for key, values in said.items() if key not in KEYS or (len(values) > 1 and key not in MANY)]
    if wrong:
        raise FormatError(f"{path}: {wrong[0]}: not a key, or more than once; the keys are {', '.join(KEYS)}")
    return _compiled(str(path), said, by_journal, units)


def own(pattern: str, where: str, by_journal: bool = False, units: tuple[str, ...] = ()) -> Format:
    """Return the format that a pattern says, `PROGRAM: REGEX$`; raise FormatError. where: it stands."""
    if not pattern:
        raise FormatError(f"{where} is not set: write one, see --try in popips-follow(8)")
    program, colon, login = pattern.partition(": ")
    if not colon or not re.fullmatch(r"[A-Za-z0-9._/-]+", program):
        raise FormatError(
            f"{where}: begin with the program's name as the log has it, without [PID], quotes or a regular expression, "
            "and a colon and a blank: `mypopd: login ...$`"
        )
    if not login.endswith("$") or login.endswith(r"\$"):
        raise FormatError(f"{where}: end with $, or what a user writes at the end may match")
    return _compiled(
        where, {"program": [re.escape(program)], "login": [login[:-1]], "service": [program]}, by_journal, units
    )


def _compiled(where: str, said: Said, by_journal: bool, units: tuple[str, ...]) -> Format:
    patterns = {key: _patterns(where, said.get(key, [])) for key in ("program", "head", "doubt", *MANY)}
    if not all("address" in pattern.groupindex for pattern in patterns["from"] or patterns["login"]):
        raise FormatError(f"{where}: the pattern needs a group for the address: (?P<address>[0-9a-fA-F.:]+)")
    if not patterns["login"] or (
        patterns["head"] and not ("time" in said and "time" in patterns["head"][0].groupindex)
    ):
        raise FormatError(f"{where}: there must be a login, and with a head its group `time`, and the form of that")
    (program, *_), times = patterns["program"] or _patterns(where, [""]), heads.FORMS
    is_wanted = lru_cache(NAMES)(program.fullmatch)
    split: Callable[[str], Line | None] = partial(heads.split, is_wanted=is_wanted)
    messages = [*said.get("login", []), *said.get("from", [])] if "doubt" not in said else [".*"]
    is_likely = _likely(heads.front(program.pattern), messages)
    if by_journal:
        units = units or tuple(" ".join(said.get("units", [])).split())
        if patterns["head"] or not units:
            if patterns["head"]:
                raise FormatError(f"{where}: the journal has no lines of a log file: have the server log by syslog")
            raise FormatError(f"{where}: it is not known which unit is the server's: name it, --unit mypopd.service")
        split, is_likely = partial(journal.split, is_wanted=is_wanted, units=units), bool
    elif patterns["head"]:
        (head,) = _patterns(where, [f"(?:{said['head'][0]}) "])
        split, times = partial(_split, head=head), tuple(said["time"][0].split(" | "))
        is_likely = _likely(head.pattern, messages)
    word = program.pattern if program.pattern.isalnum() and not by_journal else ""
    service, logins, origins = said.get("service", [""])[0], patterns["login"], patterns["from"]
    doubt = next(iter(patterns["doubt"]), None)
    return Format(is_likely, split, times, program, logins, origins, service, by_journal, word, doubt)


def _patterns(where: str, texts: list[str]) -> tuple[Pattern, ...]:
    try:
        return tuple(re.compile(text, re.ASCII) for text in texts)
    except re.error as error:
        raise FormatError(f"{where}: not a regular expression: {error}") from None


def _likely(front: str, messages: list[str]) -> Callable[[str], object]:
    """Return a quick test that no line fails which matches one of the patterns behind the front.

    It is all of them in one regular expression, without their groups. Where that cannot be, all lines pass.
    """
    texts = (re.sub(r"(?<!\\)\(\?P<\w+>", "(?:", text) for text in (front, *messages))
    first, *others = texts
    if any(re.search(r"\\[0-9]|\(\?P=|\(\?\(", text) for text in messages):
        return bool
    try:
        return re.compile(rf"(?:{first})(?:{'|'.join(f'(?:{text})$' for text in others)})", re.ASCII).match
    except re.error:
        return bool


def _split(text: str, head: Pattern) -> Line | None:
    """Return a line of a server's own log file in its parts."""
    found = head.match(text)
    if not found:
        return None
    return Line(found["time"], "", found.groupdict().get("pid") or "", text[found.end() :])
