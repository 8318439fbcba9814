"""popips.conf: which MTA and which map it says, and the lines that are to be added."""

from __future__ import annotations

import os

from popips import configuration
from popips.paste import quoted
from popips.probe.machine import Machine
from popips.setup.step import ByHand, Choice, Step, Write
from popips.setup.there import Host, text

OWN_MAP = "/var/lib/popips/popips"
PART = "popips.conf"
MAPD = "mapd"  # a server that answers by the stamps, in place of a map


def host(machine: Machine, choice: Choice) -> Host:
    """Return what is aimed at; raise ByHand where popips.conf says another thing than the choice, SettingsError."""
    said = configuration.load(choice.conf)
    given = vars(said)
    mta = choice.mta or (said.mta if "mta" in given else _installed(machine))
    if "mta" in given and said.mta != mta:
        raise ByHand(f"{choice.conf} says mta = {said.mta}: change that line, or leave --mta {mta} out")
    wanted = choice.map or ("own" if mta == "postfix" else "access")
    if "map" in given:
        if "mta" not in given and mta == "postfix":
            raise ByHand(f"{choice.conf} names a map of sendmail's: write mta = postfix there, if Postfix asks it")
        its = "own" if said.own_map else "access" if said.map.row.has_file else MAPD
        if choice.map and choice.map != its:
            raise ByHand(f"{choice.conf} says map = {said.map}: {_another(choice)}, or leave --map {choice.map} out")
        return Host(machine, said, None, choice.hook)
    if mta == "postfix" and wanted == "access":
        raise ByHand(f"which map does Postfix ask? Write mta = postfix and map = hash:PATH into {choice.conf}")
    added = [f"mta = {mta}"] if mta == "postfix" and "mta" not in given else []
    if wanted == MAPD:
        added += [f"map = {MAPD}"]
    if wanted == "own":
        added += [f"map = {_kind(machine, mta)}:{OWN_MAP}"]
        added += [] if "own_map" in given else ["own_map = yes"]
    if not added:
        return Host(machine, said, None, choice.hook)
    before = text(machine, choice.conf)
    after = "".join(f"{line}\n" for line in [*before.splitlines(), *added])
    return Host(machine, configuration.parsed(choice.conf, os.fsencode(after)), after, choice.hook)


def _another(choice: Choice) -> str:
    """Return how popips.conf comes to say another map than it does."""
    undo = "if setup has written that, popips-db setup --undo, and then this again"
    if choice.map != MAPD:
        return f"{undo}; if you have, change it"
    edit = "sed -i -e 's/^ *map *=.*/map = mapd/' -e '/^ *own_map *=/d'"
    return f"{undo}; if you have, for popips-mapd in its place, {edit} {quoted(choice.conf)}"


def steps(host: Host) -> list[Step]:
    """Return the lines that popips.conf lacks, as one step."""
    return [Write(PART, configuration.PATH, host.new_conf)] if host.new_conf is not None else []


def _installed(machine: Machine) -> str:
    """Return the MTA that is installed; raise ByHand if it is none that popips knows, or both."""
    postfix = os.path.exists(machine.path("/usr/sbin/postconf"))
    sendmail = os.path.exists(machine.path("/usr/share/sendmail/cf")) and os.path.exists(
        machine.path("/etc/mail/sendmail.mc")
    )
    if postfix == sendmail:
        found = (
            "both sendmail and Postfix are here" if postfix else "no sendmail with a sendmail.mc and no Postfix is here"
        )
        raise ByHand(f"{found}: which one is to ask the map? Say --mta sendmail or --mta postfix")
    return "postfix" if postfix else "sendmail"


def _kind(machine: Machine, mta: str) -> str:
    """Return the type of a map of popips' own that the MTA can read."""
    if mta == "sendmail":
        return "hash"
    known = machine.ask("postconf", "-m").out.split()
    for kind in ("hash", "lmdb", "cdb"):
        if kind in known:
            return kind
    raise ByHand("Postfix knows neither hash nor lmdb nor cdb (postconf -m): install the package postfix-lmdb")
