"""The MTA: whether it asks the map, in which order with what else refuses, and by which configuration it runs."""

from __future__ import annotations

import os
from collections.abc import Iterator

from popips.doctor import ask_postfix, ask_sendmail, listens, mapd
from popips.doctor.check import FAIL, Check, Finding, Patient, judged, skipped
from popips.paste import quoted
from popips.probe import postfix, sendmail, units

OWN_MAP = "hash:/var/lib/popips/popips"
IDS = ("mta.asks", "mta.order", "mta.fresh")


def look(patient: Patient) -> Iterator[Check]:
    """Look at the MTA that popips.conf names, if that is the one that is here."""
    other = another(patient)
    if other:
        yield judged(IDS[0], "the MTA that popips.conf names", "", [other])
        yield from (skipped(id, "see mta.asks") for id in (*IDS[1:], listens.ID))
        return
    if patient.settings.mta == "postfix":
        yield from ask_postfix.look(patient)
    elif patient.settings.map.row.has_file:
        yield from ask_sendmail.look(patient)
    else:
        yield from mapd.look_at_sendmail(patient, IDS)
    yield from listens.look(patient)


def another(patient: Patient) -> Finding | None:
    """Return what is wrong if another MTA is here than popips.conf says."""
    machine, conf = patient.machine, patient.conf
    here = [
        name for name, is_here in (("postfix", _has_postfix(patient)), ("sendmail", _has_sendmail(patient))) if is_here
    ]
    if len(here) == 2 and machine.runs:
        running = units.processes(machine, ["master", "sendmail-mta", "sendmail"])
        here = ["postfix"] if running["master"] else ["sendmail"]
    if patient.settings.mta in here:
        return None
    if not here:
        return Finding(FAIL, f"neither Postfix nor sendmail is here, and {conf} says mta = {patient.settings.mta}")
    given = vars(patient.settings)
    names = [name for name in ("mta", "map", "own_map", "key", "value", "compressed_ipv6") if name in given]
    clear = f"sed -i -E '/^[ \\t]*({'|'.join(names)})[ \\t]*=/d' {quoted(conf)} && " if names else ""
    found = f"{here[0]} is the MTA here, and {conf} says mta = {patient.settings.mta}"
    if here[0] == "sendmail":
        return Finding(FAIL, found, fix=f"{clear}popips-expire")
    add = patient.add("mta = postfix", f"map = {OWN_MAP}", "own_map = yes")
    return Finding(FAIL, found, fix=f"{clear}{add} && popips-expire")


def _has_postfix(patient: Patient) -> bool:
    return postfix.is_there(patient.machine)


def _has_sendmail(patient: Patient) -> bool:
    """Whether sendmail itself is here, and not another MTA's program of that name."""
    path = patient.machine.path(sendmail.PROGRAM)
    is_anothers = (
        os.path.exists(path) and _has_postfix(patient) and not any(patient.machine.glob("/usr/*/sendmail/makemap"))
    )
    return patient.cf is not None and not is_anothers and (os.path.lexists(path) or not patient.machine.runs)
