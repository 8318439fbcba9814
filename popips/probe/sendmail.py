"""sendmail: what its .cf says, and what its rulesets answer to a client."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from popips import address
from popips.maps.kinds import KINDS
from popips.probe import units
from popips.probe.machine import NO_ANSWER, Machine

PROGRAM = "/usr/sbin/sendmail"
FOLDER, CF, MC = "/etc/mail", "/etc/mail/sendmail.cf", "/etc/mail/sendmail.mc"
PIDS = ("/run/sendmail/mta/sendmail.pid", "/run/sendmail.pid")
MAKE_AND_RESTART = f"make -C {FOLDER} && service sendmail restart"
RECIPIENT = "<postmaster@[192.0.2.200]>"  # of nobody's domain, and no name that DNS would be asked for
MAP = re.compile(r"^K(\S+)\s+(\S+)\s*(.*?)\s*$", re.M)
OPTION = re.compile(r"^O\s+(\w+)\s*=\s*(.*?)\s*$", re.M)
RULE = re.compile(r"^R.*$", re.M)
LOOKUP = re.compile(r"^map_lookup\((\S+?), (.*), %0=.*\) => (.*?) \((\d+)\)", re.M)
IN_TURN = ("sequence", "switch")  # kinds of maps that are lists of other maps


@dataclass(frozen=True)
class KLine:
    """A map of the .cf. kind: hash, socket ...; words: its flags, and its file or what else it is made of, at the end.

    sendmail finds the file with or without its ending.
    """

    name: str
    kind: str
    words: tuple[str, ...]

    @property
    def path(self) -> str:
        """The file's path with its ending, "" if it is no file."""
        last = self.words[-1] if self.words else ""
        ending = KINDS[self.kind].suffix if self.kind in KINDS else ".db"
        return f"{last.removesuffix(ending)}{ending}" if last.startswith("/") else ""

    def has_flag(self, letter: str) -> bool:
        """Whether a flag is set, as T in -T<TMPF>."""
        return any(word.startswith(f"-{letter}") for word in self.words)


@dataclass(frozen=True)
class Cf:
    """What sendmail.cf says. options: the last value of each, all values of DaemonPortOptions."""

    text: str
    maps: dict[str, KLine]
    options: dict[str, str]
    ports: tuple[str, ...]

    @property
    def rules(self) -> list[str]:
        """The lines of its rulesets."""
        return RULE.findall(self.text)

    def names_of(self, path: str) -> list[str]:
        """Return the names of the maps that are this file, or ask it in a sequence."""
        named = [line.name for line in self.maps.values() if line.path and _is_same(line.path, path)]
        return named + [
            line.name for line in self.maps.values() if line.kind in IN_TURN and set(line.words) & set(named)
        ]

    def asks(self, name: str) -> bool:
        """Whether a rule looks a key up in the map."""
        return any(f"$({name} " in rule for rule in self.rules)

    def asks_file(self, path: str) -> bool:
        """Whether a rule asks a map that is this file."""
        return any(map(self.asks, self.names_of(path)))

    def says_yes(self, option: str) -> bool:
        """Whether an option is on: sendmail takes True, yes and an empty value for that."""
        value = self.options.get(option, "no")
        return value[:1].lower() in ("t", "y", "")

    @property
    def delays_checks(self) -> bool:
        """Whether it was made with FEATURE(`delay_checks'): the client is judged at the RCPT."""
        return "$>checkrelay $&{client_name}" in self.text

    @property
    def is_local_only(self) -> bool:
        """Whether all that listens for SMTP listens on this host's own loopback address."""
        smtp = [port for port in self.ports if not re.search(r"\b(Port|P)=(?!smtp\b|25\b)", port)]
        return bool(smtp) and all(
            re.search(r"\b(Addr|A)[a-z]*=(127\.|(IPv6:)?::1\b|localhost\b)", port) for port in smtp
        )


@dataclass(frozen=True)
class Verdict:
    """What the rulesets say to a RCPT from an address to somebody elsewhere. asked: maps and keys, and what came."""

    address: str
    relays: bool
    text: str
    asked: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Answers:
    """What sendmail -bt said, or why it did not; is_silent: it took too long.

    libdb: the version that it was linked with, "" if it does not say.
    """

    error: str = ""
    is_silent: bool = False
    libdb: str = ""
    has_flock: bool = False
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    found: dict[tuple[str, str], str] = field(default_factory=dict)


def _is_same(one: str, other: str) -> bool:
    """Whether two paths name one file, by links in them, too."""
    return one == other or os.path.realpath(one) == os.path.realpath(other)


def cf(machine: Machine) -> Cf | None:
    """Return what the .cf says, None if there is none."""
    text = machine.read(CF)
    return parsed(text) if text else None


def began(machine: Machine, cf: Cf) -> float | None:
    """Return when the daemon has read its .cf, in seconds since the epoch; None if it does not run.

    After SIGHUP it is the same process that begins anew, and writes its pid file again.
    """
    for path in dict.fromkeys([cf.options.get("PidFile", ""), *PIDS]):
        first = machine.read(path).partition("\n")[0].strip() if path.startswith("/") else ""
        started = units.started(machine, int(first)) if first.isdigit() else None
        if started is not None:
            return max(started, os.stat(machine.path(path)).st_mtime)
    return None


def listen_to_all(machine: Machine) -> str:
    """Return the command that has sendmail serve others: by IPv6, too, with a socket that takes both."""
    edit = "s/^(DAEMON_OPTIONS\\(`Family=inet6?, .*Port=smtp), Addr=[^,'\\'']*/\\1/"
    debians = "s/^(DAEMON_OPTIONS\\(`Family=inet), +Name=MTA-v4, Port=smtp, Addr=[^,'\\'']*/\\16, Name=MTA, Port=smtp/"
    if not re.search(r"^DAEMON_OPTIONS\(`Family=inet6", machine.read(MC), re.M):
        edit = f"{debians};{edit}"
    return f"sed -i -E '{edit}' {MC} && {MAKE_AND_RESTART}"


def parsed(text: str) -> Cf:
    """Return what the text of a .cf says."""
    maps = {name: KLine(name, kind, tuple(rest.split())) for name, kind, rest in MAP.findall(text)}
    options = OPTION.findall(text)
    ports = tuple(value for name, value in options if name == "DaemonPortOptions")
    return Cf(text, maps, dict(options), ports)


def ask(
    machine: Machine,
    clients: Iterable[str],
    lookups: Iterable[tuple[str, str]] = (),
    is_compressed: bool = False,
) -> Answers:
    """Return what sendmail says to clients, by address, and finds in its maps, by map and key.

    It is asked once, in its test mode, which reads the .cf as a daemon that starts now would. is_compressed: how
    that writes IPv6 addresses, see UseCompressedIPv6Addresses.
    """
    clients, lookups = list(clients), list(lookups)
    typed = ".D{mail_from}<>\n.D{client_resolve}FAIL\n"
    for client in clients:
        name = address.key(client, "bare", is_compressed).decode().replace("ipv6:", "IPv6:")
        typed += f".D{{client_addr}}{name}\n.D{{client_name}}[{name}]\n"
        typed += f"check_relay [{name}] $| {name}\ncheck_rcpt {RECIPIENT}\n"
    typed += "".join(f"/map {name} {key}\n" for name, key in lookups)
    said = machine.ask(PROGRAM, "-bt", "-d0.13", "-d60.5", typed=typed + "/quit\n")
    if said.status == NO_ANSWER:
        return Answers(error=said.err, is_silent=True)
    if said.status:
        return Answers(error=(said.err or said.out).strip() or f"sendmail -bt: status {said.status}")
    return heard(said.out, clients, lookups)


def heard(said: str, clients: list[str], lookups: list[tuple[str, str]]) -> Answers:
    """Return what sendmail's test mode has said, when all clients and then all keys were asked for in turn."""
    libdb = re.search(r"\bNEWDB=([\d.]+)", said)
    words = re.split(r"^(?:> )+(check_relay|check_rcpt) +input:.*$", said, flags=re.M)
    turns = list(zip(words[1::2], words[2::2]))
    verdicts = {
        client: _verdict(client, turns[2 * index : 2 * index + 2])
        for index, client in enumerate(clients)
        if len(turns) >= 2 * index + 2
    }
    found = dict(re.findall(r"^(?:> )*map_lookup: (\S+ \(.*\)) (?:returns (.*) \(\d+\)|.*)$", said, re.M))
    return Answers(
        libdb=libdb[1] if libdb else "",
        has_flock="HASFLOCK" in said,
        verdicts=verdicts,
        found={(name, key): found.get(f"{name} ({key})", "") for name, key in lookups},
    )


def _verdict(client: str, turns: list[tuple[str, str]]) -> Verdict:
    """Return what was said by check_relay and check_rcpt; a refusal by either is one."""
    last, asked = "", []
    for ruleset, said in turns:
        asked += [(name, key, value) for name, key, value, _ in LOOKUP.findall(said)]
        returned = re.findall(rf"^{ruleset} +returns: *(.*?)\s*$", said, re.M)
        last = returned[-1] if returned else ""
        if last.startswith(("$# error", "$# discard")) or not returned:
            return Verdict(client, False, _told(last), tuple(asked))
    return Verdict(client, True, _told(last), tuple(asked))


def _told(returned: str) -> str:
    """Return the reply that a ruleset's result has in it, else the result."""
    reply = re.search(r'"(.*?)"', returned)
    return reply[1].strip() if reply else returned
