"""sendmail: the line in sendmail.mc by which it asks the map, tried in a .cf of its own before make."""

from __future__ import annotations

import os
import re
from tempfile import TemporaryDirectory

from popips.probe.machine import Machine
from popips.probe.sendmail import CF, FOLDER, MC, parsed
from popips.setup.step import ByHand, Command, Run, Step, Write
from popips.setup.there import Host, contrib, text

DRAC = "/usr/share/sendmail/cf/feature/drac.m4"
PART = "sendmail"
MAKE: Command = ("make", "-C", FOLDER)
MADE = tuple(
    f"{FOLDER}/{name}" for name in ("sendmail.cf", "sendmail.cf.errors", "sendmail.cf.new", "Makefile", "databases")
)
ACCESS_DB = re.compile(r"^FEATURE\(`access_db'.*$", re.M)
MAILERS = re.compile(r"^MAILER_DEFINITIONS\b|^MAILER\(", re.M)


def steps(host: Host) -> list[Step]:
    """Return what makes sendmail ask the map of popips.conf, or popips-mapd; raise ByHand."""
    machine, place = host.machine, host.settings.map
    built, source = text(machine, CF), text(machine, MC)
    asked = place.path if place.row.has_file else f"unix:{host.settings.mapd_socket}"
    if _asks(built, asked):
        return []
    if not built or not source:
        raise ByHand(f"{MC if built else CF} is missing: which map does sendmail ask? It must be {place}")
    before, changed = _lined(host, source) if place.row.has_file else (source, _with_mapd(source, asked))
    if waiting := _waiting(machine):
        raise ByHand(f"make has not seen your last edit of {', '.join(waiting)}, and would now: make -C {FOLDER} first")
    _try(machine, before, changed, built, asked)
    return [
        *([] if changed == source else [Write(PART, MC, changed)]),
        Run(PART, MAKE, touches=MADE, remake=MAKE),
        Run(PART, host.restart("sendmail"), undo=(host.restart("sendmail"),)),
    ]


def _asks(built: str, asked: str) -> bool:
    """Whether a .cf asks a map by the path of its file, or a server by its socket."""
    return asked in built if asked.startswith("unix:") else parsed(built).asks_file(asked)


def _lined(host: Host, source: str) -> tuple[str, str]:
    """Return sendmail.mc as make has seen it, and with the line by which it asks the map; raise ByHand."""
    place = host.settings.map
    if place.own:
        if not os.path.exists(host.machine.path(DRAC)):
            raise ByHand(f"this sendmail has no FEATURE(`drac'): put contrib/sendmail/own-check-rcpt.mc into {MC}")
        wanted = _feature(contrib("sendmail/own-drac.mc"), place.path)
    elif place.source == "/etc/mail/access":
        wanted = _feature(contrib("sendmail/access.mc"), place.path)
    else:
        raise ByHand(f"{CF} has no map {place}: have sendmail ask it, or take `map` out of popips.conf")
    if wanted in source.splitlines():  # and make has not seen it yet
        return source.replace(f"{wanted}\n", "", 1), source
    return source, with_line(source, wanted)


def _with_mapd(source: str, socket: str) -> str:
    """Return sendmail.mc with contrib's lines at its end, by which it asks popips-mapd; raise ByHand."""
    if any("SLocal_check_rcpt" in line for line in _live(source)):
        raise ByHand(f"{MC} has rules of Local_check_rcpt: put what contrib/sendmail/mapd.mc says among them")
    end = "" if source.endswith("\n") else "\n"
    return source + end + contrib("sendmail/mapd.mc").replace("unix:/run/popips/mapd.sock", socket)


def with_line(source: str, line: str) -> str:
    """Return sendmail.mc with the line: behind that of the access map, else before the mailers; raise ByHand."""
    kind = line.partition("'")[0]
    if re.search(rf"^[^#\n]*{re.escape(kind)}'", "\n".join(_live(source)), re.M):
        raise ByHand(f"{MC} has another {kind}'): see contrib/sendmail, and have it name the map of popips.conf")
    if found := ACCESS_DB.search(source):
        if found[0].count("(") != found[0].count(")"):
            raise ByHand(f"{MC}: FEATURE(`access_db') goes on in the next line; put behind it: {line}")
        return f"{source[: found.end()]}\n{line}{source[found.end() :]}"
    if found := MAILERS.search(source):
        return f"{source[: found.start()]}{line}\n{source[found.start() :]}"
    raise ByHand(f"{MC} has no MAILER_DEFINITIONS; put in front of the mailers: {line}")


def _waiting(machine: Machine) -> list[str]:
    """Return what else make would build: texts that are newer than the map, or the submit.cf, that is made of them."""
    made = {path: path.removesuffix(".db") for path in machine.glob(f"{FOLDER}/*.db")}
    made[f"{FOLDER}/submit.cf"] = f"{FOLDER}/submit.mc"
    times = {path: _time(machine, path) for pair in made.items() for path in pair}
    return [text for path, text in made.items() if times[path] < times[text]]


def _time(machine: Machine, path: str) -> int:
    """Return when a file was changed, in ns as make compares it; 0 if it is not there."""
    try:
        return os.stat(machine.path(path)).st_mtime_ns
    except OSError:
        return 0


def _live(source: str) -> list[str]:
    return [line for line in source.splitlines() if not line.lstrip().startswith("dnl")]


def _feature(sample: str, path: str) -> str:
    """Return the FEATURE line of a file in contrib, for the map at this path."""
    (line,) = re.findall(r"^FEATURE.*$", sample, re.M)
    return str(re.sub(r"/\S+\.db", path, line))


def _try(machine: Machine, source: str, changed: str, built: str, asked: str) -> None:
    """Build both sendmail.mc; raise ByHand if make would do more to the .cf than what the line does."""
    with TemporaryDirectory(prefix="popips-setup-") as folder:
        if _essence(_build(machine, folder, source)) != _essence(built):
            raise ByHand(
                f"{CF} is not what {MC} makes: it was edited, or an edit of sendmail.mc waits. Settle that first"
            )
        new = _build(machine, folder, changed)
        said = machine.ask("sendmail", "-bt", "-C", f"{folder}/cf", typed="/quit\n")
    if said.status or "error" in said.err.lower() or not _asks(new, asked):
        raise ByHand(f"sendmail refuses {MC} with popips' line: {said.err.strip() or said.out.strip()}")


def _build(machine: Machine, folder: str, source: str) -> str:
    """Return the .cf that a sendmail.mc makes, which is in the folder, too; raise ByHand."""
    with open(f"{folder}/mc", "wb") as file:
        file.write(os.fsencode(source))
    made = machine.ask("env", "-C", FOLDER, "m4", f"{folder}/mc")
    if made.status or made.err:
        raise ByHand(f"m4 {MC}: {made.err.strip() or 'failed'}")
    with open(f"{folder}/cf", "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(made.out)
    return made.out


def _essence(built: str) -> list[str]:
    """Return the lines of a .cf that say something, without the dates and the copy of sendmail.mc that make adds."""
    return [line for line in built.splitlines() if line.strip() and not line.startswith("#")]
