"""Postfix: what its restrictions say, and what its tables answer."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from popips import address
from popips.probe import units
from popips.probe.machine import Machine

FOLDER, MAIN, MASTER = "/etc/postfix", "/etc/postfix/main.cf", "/etc/postfix/master.cf"
RELAY, RECIPIENT = "smtpd_relay_restrictions", "smtpd_recipient_restrictions"
CLASSES, DEEPEST = "smtpd_restriction_classes", 10
LISTS = ("smtpd_client_restrictions", "smtpd_helo_restrictions", "smtpd_sender_restrictions", RELAY, RECIPIENT)
OTHERS = (
    CLASSES,
    "mynetworks",
    "inet_interfaces",
    "smtpd_delay_reject",
    "postscreen_dnsbl_sites",
    "postscreen_dnsbl_action",
)
# what Postfix has built in, for a host whose programs cannot be asked: postconf(5)
DEFAULTS = {
    RELAY: "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination",
    "inet_interfaces": "all",
    "smtpd_delay_reject": "yes",
    "mynetworks": "127.0.0.0/8 [::1]/128",
}
CLOSE = ("reject", "defer", "defer_if_permit", "reject_unauth_destination", "defer_unauth_destination")
NETWORK = re.compile(r"[0-9a-fA-F:.]+(/\d+)?")
BRACES = r"\{(?:[^{}]|\{[^{}]*\})*\}"
WORD = re.compile(rf"(?:[^\s,{{}}]|{BRACES})+")
WITH_WORD = re.compile(r"\b(check_\w+|reject_(rbl|rhsbl)_\w+|permit_(dnswl|rhswl)_\w+|sleep)$")  # and a word behind it


@dataclass(frozen=True)
class Restriction:
    """One entry of a list: its name, and the table, list or service behind it, "" if it has none."""

    name: str
    of: str = ""

    @property
    def refuses_strangers(self) -> bool:
        """Whether no client passes it to a domain elsewhere."""
        return self.name in CLOSE

    @property
    def permits_all(self) -> bool:
        """Whether each client passes the list by it."""
        return self.name == "permit"

    @property
    def is_dnsbl(self) -> bool:
        """Whether it refuses by a list in DNS."""
        return self.name.startswith(("reject_rbl_", "reject_rhsbl_"))

    def asks(self, table: str) -> bool:
        """Whether it looks the client up in the table, TYPE:PATH."""
        return self.name == "check_client_access" and self.of.removeprefix("proxy:") == table

    def __str__(self) -> str:
        return f"{self.name} {self.of}".rstrip()


@dataclass(frozen=True)
class Config:
    """What main.cf says, variables replaced; overrides: what master.cf sets for port 25 instead; error: postconf's.

    service: who answers at port 25, as `postconf -M` names it; screened: by postscreen first.
    """

    values: dict[str, str]
    overrides: frozenset[str] = frozenset()
    error: str = ""
    service: str = "smtp/inet"
    screened: bool = False

    def restrictions(self, name: str) -> list[Restriction]:
        """Return the entries of a list."""
        return self.expanded(parsed(self.values.get(name, "")))

    def expanded(self, entries: list[Restriction], depth: int = 0) -> list[Restriction]:
        """Return entries, and in the place of each class of restrictions what it stands for, as smtpd does."""
        named = {word.lower(): word for word in _words(self.values.get(CLASSES, ""))}
        found: list[Restriction] = []
        for each in entries:
            if each.name in named and depth < DEEPEST:
                found += self.expanded(parsed(self.values.get(named[each.name], "")), depth + 1)
            else:
                found.append(each)
        return found


def is_there(machine: Machine) -> bool:
    """Whether Postfix is installed."""
    return bool(machine.read(MAIN)) and any(machine.glob("/usr/sbin/postconf"))


def runs(machine: Machine) -> bool:
    """Whether its master does."""
    pid = machine.read("/var/spool/postfix/pid/master.pid").strip()
    return bool(units.processes(machine, ["master"])["master"]) or (pid.isdigit() and os.path.isdir(f"/proc/{pid}"))


def config(machine: Machine) -> Config:
    """Return what the smtpd of port 25 goes by."""
    names = (*LISTS, *OTHERS)
    if not machine.runs:
        return Config({**DEFAULTS, **_from_text(machine.read(MAIN))})
    said = machine.ask("postconf", "-x", *names)
    values = dict(re.findall(r"^(\w+) *= *(.*?)\s*$", said.out, re.M))
    service, screened = _at_port_25(machine.ask("postconf", "-M").out)
    of_service = re.findall(rf"^{re.escape(service)}/(\w+) *= *(.*?)\s*$", machine.ask("postconf", "-Px").out, re.M)
    own = {name: value for name, value in of_service if name in names}
    if classes := _words(values.get(CLASSES, "")):
        values |= dict(re.findall(r"^(\S+) *= *(.*?)\s*$", machine.ask("postconf", "-x", *classes).out, re.M))
    error = said.err.strip() if said.status or not values else ""
    return Config({**values, **own}, frozenset(own), error, service, screened)


def _words(text: str) -> list[str]:
    """Return the words of a list in main.cf, which commas and blanks separate."""
    return text.replace(",", " ").split()


def is_loopback(interfaces: str) -> bool:
    """Whether inet_interfaces names loopback addresses only."""
    words = _words(interfaces)
    return bool(words) and all(re.fullmatch(r"loopback-only|localhost|127\.[\d.]+|\[?::1\]?", word) for word in words)


def listen_to_all(machine: Machine) -> str:
    """Return the command that has Postfix serve others; a reload does not open another socket: postconf(5)."""
    again = "systemctl restart postfix" if units.has_systemd(machine) else "postfix stop; postfix start"
    return f"postconf -e 'inet_interfaces = all' && {again}"


def _at_port_25(services: str) -> tuple[str, bool]:
    """Return the smtpd of port 25, of the lines of `postconf -M`, and whether postscreen(8) stands in front of it."""
    for words in map(str.split, services.splitlines()):
        if len(words) > 7 and words[1] == "inet" and words[0].rpartition(":")[2] in ("smtp", "25"):
            return ("smtpd/pass", True) if words[7] == "postscreen" else (f"{words[0]}/inet", False)
    return "smtp/inet", False


def written(machine: Machine, name: str) -> str:
    """Return a parameter as main.cf has it, variables and all; what Postfix does by itself if it is not there."""
    is_set = re.search(rf"^{name} *=", machine.ask("postconf", "-n").out, re.M)
    return machine.ask("postconf", "-h" if is_set else "-xh", name).out.strip()


def others(machine: Machine, config: Config) -> Iterator[tuple[str, dict[str, str]]]:
    """Return what else master.cf has of smtpd that is to be reached from elsewhere, and the lists of its own."""
    said = machine.ask("postconf", "-Px").out
    for words in map(str.split, machine.ask("postconf", "-M").out.splitlines()):
        service, host = "/".join(words[:2]), words[0].rpartition(":")[0] if words else ""
        if words[7:8] != ["smtpd"] or words[1] != "inet" or service == config.service or is_loopback(host):
            continue
        own = dict(re.findall(rf"^{re.escape(service)}/(\w+) *= *(.*?)\s*$", said, re.M))
        yield service, {name: value for name, value in own.items() if name in LISTS}


def is_mine(config: Config, name: str) -> bool:
    """Whether mynetworks names a network that holds the canonical address; see unclear()."""
    return any(_holds(word, name) for word in _mine(config) if NETWORK.fullmatch(word))


def unclear(config: Config) -> list[str]:
    """Return what mynetworks names that is no network: tables, files and !NETWORK."""
    return [word for word in _mine(config) if not NETWORK.fullmatch(word)]


def _mine(config: Config) -> list[str]:
    return _words(re.sub(r"\[([0-9a-fA-F:.]+)\]", r"\1", config.values.get("mynetworks", "")))


def _holds(network: str, name: str) -> bool:
    try:
        return address.is_in(name, address.networks(network))
    except address.Refused:
        return False


def parsed(text: str) -> list[Restriction]:
    """Return the entries of a list of restrictions."""
    words = WORD.findall(text)
    found: list[Restriction] = []
    while words:
        word = words.pop(0)
        name = word if ":" in word else word.lower()
        if name == "warn_if_reject" and words:  # which makes a trial of the next one
            name = f"{name} {words.pop(0).lower()}"
        with_word = WITH_WORD.search(name) and words
        found.append(Restriction(name, words.pop(0) if with_word else ""))
    return found


def query(machine: Machine, table: str, keys: Iterable[str]) -> tuple[dict[str, str], str]:
    """Return what a table says of keys, those that it has, and what postmap complains of.

    A policy server is not asked: it may count.
    """
    if table.startswith(("{", "unix:", "inet:")):
        return {}, ""
    said = machine.ask("postmap", "-q", "-", table, typed="".join(f"{key}\n" for key in keys))
    found = dict(line.split("\t", 1) for line in said.out.splitlines() if "\t" in line)
    return found, said.err.strip()


def _from_text(text: str) -> dict[str, str]:
    """Return what main.cf sets, as far as that can be told without postconf: variables are not replaced."""
    values: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0].isspace():
            values[name] = f"{values.get(name, '')} {line.strip()}".strip()
        else:
            name, _, value = (part.strip() for part in line.partition("="))
            values[name] = value
    return values
