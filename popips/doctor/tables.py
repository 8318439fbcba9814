"""Postfix's tables: which of them is ours, where popips.conf names another, and how one can be read again."""

from __future__ import annotations

import os
import shlex

from popips.command import UsageError
from popips.doctor.check import Patient
from popips.maps import MapError, Place, exists
from popips.probe.machine import Machine
from popips.probe.postfix import LISTS, Config, Restriction, parsed

OURS = "/var/lib/popips/"  # nothing of the admin's lies there
AGAIN = "popips-expire && postfix reload"  # a smtpd that has found no map asks for none until it ends
BUILT = ("hash", "btree", "lmdb", "cdb", "dbm", "sdbm")  # postmap makes these of a text: DATABASE_README
TEXTS = ("cidr", "pcre", "regexp", "texthash")  # and these are one


def asked_instead(patient: Patient) -> str:
    """Return the command that has popips.conf name the map of ours that Postfix asks; "" if it asks none, or that one.

    Ours is what lies in popips' own folder, and what setup has put into main.cf.
    """
    there = _asked(patient.postfix)
    if patient.settings.map.name in there:
        return ""
    its = _put_by_setup(patient.machine, there)
    for table in there:
        try:
            place = Place.parse(table)
        except MapError:
            continue
        is_made = exists(patient.machine.path(place.path)) or not exists(patient.here.map.path)
        if is_made and (place.path.startswith(OURS) or table in its):
            own = "" if patient.settings.map.own else f"{patient.set_line('own_map', 'yes')} && "
            return f"{patient.set_line('map', place.name)} && {own}{AGAIN}"
    return ""


def readable(machine: Machine, table: str, complaint: str) -> str:
    """Return the command after which Postfix can read a table of the admin's, or that says what is wrong with it."""
    name = table.removeprefix("proxy:")
    kind, _, path = name.partition(":")
    is_there = os.path.exists(machine.path(path))
    words = [] if is_there or kind not in (*BUILT, *TEXTS) else [f"touch {shlex.quote(path)}"]
    words += [f"postmap {shlex.quote(name)}"] if kind in BUILT else []
    if command := unknown_type(name, complaint) or " && ".join(words):
        return f"{command} && postfix reload"
    return f"postmap -q 192.0.2.1 {shlex.quote(name)}; postfix reload"  # which fails, and says why


def as_setup_writes(said: str, table: str, wanted: list[Restriction]) -> str:
    """Return a list that is wanted as setup puts the question into it, "" if that makes another of it.

    So `setup --undo` takes a line that was put back by a cure for its own.
    """
    from popips.setup.postfix import with_check
    from popips.setup.step import ByHand

    try:
        text = with_check(said, table)
    except ByHand:
        return ""
    return text if parsed(text) == wanted else ""


def unknown_type(table: str, complaint: str) -> str:
    """Return what installs the type of a table, "" if that is not what postmap complains of."""
    kind = table.partition(":")[0]
    return f"apt-get install -y postfix-{kind}" if "unsupported dictionary type" in complaint else ""


def _asked(config: Config) -> list[str]:
    """Return the tables in which the lists look a client up."""
    entries = [each for name in LISTS for each in config.restrictions(name)]
    return [each.of.removeprefix("proxy:") for each in entries if each.name == "check_client_access"]


def _put_by_setup(machine: Machine, tables: list[str]) -> list[str]:
    from popips.setup.postfix import put_here

    try:
        return put_here(machine, tables)
    except UsageError:  # by a newer popips
        return []
