"""Where there is no map: whether popips-mapd answers, and whether the MTA asks it."""

from __future__ import annotations

from collections.abc import Iterator

from popips.doctor import ask_sendmail
from popips.doctor.check import ASKED, FAIL, STRANGERS, Check, Finding, Patient, added, judged, skipped
from popips.doctor.there import contrib
from popips.probe import mapd, sendmail

NO_FILE = "there is no map in a file"
ASKS = {
    "sendmail": (b"14:popips 0.0.0.0,", b"9:NOTFOUND ,"),
    "postfix": (b"request=smtpd_access_policy\n\n", b"action=DUNNO\n\n"),
}


def look_for_it(patient: Patient, ids: tuple[str, ...]) -> Iterator[Check]:
    """Look whether popips-mapd answers; ids: of the checks of a map in a file."""
    if patient.machine.runs:
        yield judged("map.there", "an answer of popips-mapd's", "popips-mapd answers", list(_wrong_there(patient)))
    else:
        yield skipped("map.there", "only files are here")
    yield from (skipped(f"map.{id}", NO_FILE) for id in ids)


def look_at_sendmail(patient: Patient, ids: tuple[str, ...]) -> Iterator[Check]:
    """Look whether sendmail asks it, and what comes of that; ids: of all checks of the MTA."""
    yield judged(ids[0], ASKED, "it asks popips-mapd", list(_wrong_asks(patient)))
    yield skipped(ids[1], "not judged with map = mapd: it is asked first where the lines are as setup puts them")
    yield from ask_sendmail.fresh(patient)


def _wrong_asks(patient: Patient) -> Iterator[Finding]:
    cf = patient.cf
    if cf is None or f"unix:{patient.settings.mapd_socket}" not in cf.text:
        add = added(patient.machine, sendmail.MC, f"cat {contrib('sendmail/mapd.mc')}")
        fix = f"{add} && make -C {sendmail.FOLDER} && service sendmail restart"
        yield Finding(FAIL, "sendmail does not ask popips-mapd", fix=fix)
        return
    if not patient.machine.runs:
        return
    said = patient.bt
    if said.error:
        yield Finding(FAIL, "sendmail cannot be asked", f"sendmail -bt: {said.error}")
        return
    yield from (wrong for name in STRANGERS if (wrong := ask_sendmail.open_to(name, said.verdicts.get(name))))
    for name in patient.live:
        verdict = said.verdicts.get(name)
        if not (verdict and verdict.relays):
            told = verdict.text if verdict else "sendmail -bt: no verdict"
            yield Finding(FAIL, f"{name} has a grant, and sendmail refuses it", told)


def _wrong_there(patient: Patient) -> Iterator[Finding]:
    of = patient.settings
    paths, unit = [of.mapd_socket], "popips-mapd"
    if of.mta == "postfix":
        paths, unit = [mapd.QUEUE, of.mapd_policy], "popips-mapd-postfix"
    wrong = [error for path in paths if (error := _error(path, *ASKS[of.mta]))]
    if len(wrong) == len(paths):
        fix = f"systemctl enable --now {unit}.socket"
        yield Finding(FAIL, "popips-mapd does not answer: no client relays", "; ".join(wrong), fix)


def _error(path: str, question: bytes, answer: bytes) -> str:
    """Return why there is no right answer at a socket, "" if there is one."""
    try:
        found = mapd.said(path, question)
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    return "" if found == answer else f"{path}: answers {found!r}"
