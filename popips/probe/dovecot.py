"""Dovecot's configuration, as doveconf(1) prints it or as its files have it: 2.3 and 2.4 alike."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from popips.probe.machine import Machine

PROGRAMS = ("/usr/sbin/dovecot", "/usr/local/sbin/dovecot", "/opt/dovecot/sbin/dovecot")
CONF = "/etc/dovecot/dovecot.conf"
PID = "/run/dovecot/master.pid"
SOCKET = "/run/dovecot/config"  # made anew at each start and each reload, when the files have been read
MAILBOXES = ("pop3", "imap")
BROKEN = 89  # doveconf's status of a configuration that Dovecot refuses
PAM_OPTIONS = re.compile(r"(session=|setcred=|max_requests=|cache_key=|failure_show_msg=|\*$)\S*")
PROTOCOL = re.compile(r"%(s|\{(service|protocol)\})")  # in the name of a PAM service


@dataclass(frozen=True)
class Value:
    """A setting: the blocks that it is in, from the outermost on, each "service imap" or the like; its name and text.

    block: the number of the innermost one in Dovecot.blocks, -1 outside of all.
    """

    blocks: tuple[str, ...]
    name: str
    text: str
    block: int = -1


@dataclass(frozen=True)
class Dovecot:
    """What is configured. error: why Dovecot refuses it, "" if it does not."""

    values: tuple[Value, ...]
    blocks: tuple[tuple[str, ...], ...]
    error: str = ""
    version: str = ""  # "2.3" or "2.4"; "" if nobody can tell

    def get(self, *path: str) -> str:
        """Return the last text of a setting by its blocks and name, "" if it has the default."""
        found = (value.text for value in reversed(self.values) if (*value.blocks, value.name) == path)
        return next(found, "")

    @cached_property
    def protocols(self) -> list[str]:
        """The protocols of mailboxes that it serves, the default being both."""
        said = f" {self.get('protocols')} "
        listed = {value.name for value in self.values if value.blocks == ("protocols",) and value.text == "yes"}
        is_told = bool(said.strip()) or any(blocks == ("protocols",) for blocks in self.blocks)
        found = [name for name in MAILBOXES if f" {name} " in said or name in listed]
        return found if is_told else list(MAILBOXES)

    def postlogin(self, protocol: str) -> list[str]:
        """Return the services that a login of the protocol goes through before it has its server."""
        return self.get(f"service {protocol}", "executable").split()[1:]

    @cached_property
    def pam(self) -> list[tuple[str, dict[str, str]]]:
        """The passdbs of PAM, in order: the name of each one's service, and its settings."""
        found = []
        for index, block in enumerate(self.blocks):
            if len(block) == 1 and re.fullmatch(r"passdb\b.*", block[0]):
                its = {value.name: value.text for value in self.values if value.block == index}
                if block[0] == "passdb pam" or its.get("driver") == "pam":
                    found.append((_service(its), its))
        return found

    @property
    def opens_sessions(self) -> bool:
        """Whether logins by the first passdb of PAM come to the session phase."""
        its = self.pam[0][1] if self.pam else {}
        names = ("session", "passdb_pam_session")
        return "session=yes" in its.get("args", "").split() or "yes" in [its.get(name) for name in names]

    @cached_property
    def pam_services(self) -> list[str]:
        """The PAM services that logins to mailboxes are asked of."""
        names = [name for name, _ in self.pam[:1]]  # the first has the last word: passdb's result_failure is continue
        return [PROTOCOL.sub(protocol, name) for name in names for protocol in self.protocols]


def dovecot(machine: Machine) -> Dovecot | None:
    """Return what is configured, None if there is no Dovecot."""
    if machine.runs and any(os.path.exists(path) for path in PROGRAMS):
        said = machine.ask("doveconf", "-nP")
        error = said.err.strip().splitlines()[-1:] if said.status == BROKEN else []
        return _parsed(machine, said.out.splitlines(), "".join(error))
    return _parsed(machine, [line for _, line in _from_files(machine, CONF)], "") if machine.read(CONF) else None


def has_read(machine: Machine) -> float | None:
    """Return when a Dovecot has read its files last, in seconds since the epoch; None if nobody can tell."""
    try:
        return os.stat(machine.path(SOCKET)).st_mtime
    except OSError:
        return None


def listens(machine: Machine, services: list[str]) -> list[str]:
    """Return those services, of sockets named after them, that a Dovecot listens for; all, if nobody can tell."""
    named = set(re.findall(r"(?m)/dovecot/(\S+)$", machine.read("/proc/net/unix")))
    return [name for name in services if name in named or os.path.basename(SOCKET) not in named]


def changed(machine: Machine) -> tuple[float, str]:
    """Return when one of its files was changed last, or put there, in seconds since the epoch, and which one."""
    files = dict.fromkeys(path for path, _ in _from_files(machine, CONF))
    there = (path for path in files if os.path.exists(machine.path(path)))
    return max(((os.stat(machine.path(path)).st_ctime, path) for path in there), default=(0.0, CONF))


def _from_files(machine: Machine, path: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Return the lines of a file, each with its path, those of the files that it includes in their place."""
    yield path, ""  # an empty file is one, too
    for line in machine.read(path).splitlines() if depth < 10 else ():
        included = re.fullmatch(r"\s*!include(?:_try)?\s+(\S+)\s*", line)
        if not included:
            yield path, line
            continue
        pattern = included[1] if included[1].startswith("/") else f"{os.path.dirname(path)}/{included[1]}"
        for name in machine.glob(pattern):
            yield from _from_files(machine, name, depth + 1)


def _parsed(machine: Machine, lines: list[str], error: str) -> Dovecot:
    inside: list[tuple[str, int]] = []
    values, blocks, version = list[Value](), list[tuple[str, ...]](), ""
    for raw in lines:
        stated = re.match(r"# (2\.\d+)\.\d+|\s*dovecot_config_version\s*=\s*(2\.\d+)", raw)
        version = version or next((part for part in (stated.groups() if stated else ()) if part), "")
        line = re.sub(r"(^|\s)#.*", "", raw).strip()
        key, equals, text = (part.strip() for part in line.partition("="))
        if line.endswith("{"):
            inside.append((" ".join(line[:-1].split()), len(blocks)))
            blocks.append(tuple(name for name, _ in inside))
        elif line == "}":
            inside = inside[:-1]
        elif equals:
            names, block = tuple(name for name, _ in inside), inside[-1][1] if inside else -1
            values.append(Value(names, key, text.strip('"'), block))
    if not version and (packaged := machine.packaged("dovecot-core")):
        version = ".".join(map(str, packaged))
    return Dovecot(tuple(values), tuple(blocks), error, version)


def _service(its: dict[str, str]) -> str:
    """Return the name of a passdb's PAM service: in 2.3 it is the last of args."""
    words = [word for word in its.get("args", "").split() if not PAM_OPTIONS.match(word)]
    return its.get("service_name") or its.get("passdb_pam_service_name") or (words[-1] if words else "dovecot")


def master(machine: Machine) -> int:
    """Return the process id of the Dovecot that runs, 0 if none does."""
    try:
        pid = int(machine.read(PID) or "0") if machine.runs else 0
    except ValueError:
        return 0
    return pid if pid and os.path.exists(f"/proc/{pid}") else 0


def is_read_only(machine: Machine, pid: int, folder: str) -> bool:
    """Whether a folder is on a mount that is read only for a process: proc(5), mountinfo."""
    longest, options = -1, ""
    for line in machine.read(f"/proc/{pid}/mountinfo").splitlines():
        words = line.split()
        point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), words[4])
        if f"{folder}/".startswith(point.rstrip("/") + "/") and len(point) >= longest:
            longest, options = len(point), words[5]
    return "ro" in options.split(",")
