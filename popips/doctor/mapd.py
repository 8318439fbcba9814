"""Where there is no map: whether popips-mapd answers, and whether the MTA asks it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from popips.doctor.check import FAIL, Check, Finding, Patient, judged, skipped
from popips.doctor.there import contrib
from popips.probe import sendmail

QUEUE = "/var/spool/postfix/popips/policy"  # as popips-mapd-postfix.socket has it
PATIENCE = 2.0  # seconds for an answer
ASKS = {
    "sendmail": (b"14:popips 0.0.0.0,", b"9:NOTFOUND ,"),
    "postfix": (b"request=smtpd_access_policy\n\n", b"action=DUNNO\n\n"),
}
RELAY = (
    "smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, permit_auth_destination, "
    "check_policy_service { unix:popips/policy, timeout=2s, try_limit=2, retry_delay=1s, default_action=DUNNO }, reject"
)


def look_for_it(patient: Patient, ids: tuple[str, ...]) -> Iterator[Check]:
    """Look whether popips-mapd answers; ids: of the checks of a map in a file."""
    if patient.machine.runs:
        yield judged("map.there", "an answer of popips-mapd's", "popips-mapd answers", list(_wrong_there(patient)))
    else:
        yield skipped("map.there", "only files are here")
    yield from (skipped(f"map.{id}", "there is no map in a file") for id in ids)


def look_at_mta(patient: Patient, ids: tuple[str, ...]) -> Iterator[Check]:
    """Look whether the MTA asks it; ids: of all checks of the MTA."""
    yield judged(ids[0], "yes to who has a grant, no to others", "it asks popips-mapd", list(_wrong_asks(patient)))
    yield from (skipped(id, "popips-mapd(8) has the lines") for id in ids[1:])


def is_asked(patient: Patient) -> bool:
    """Whether the configuration of the MTA names its socket."""
    if patient.settings.mta == "sendmail":
        return patient.cf is not None and f"unix:{patient.settings.mapd_socket}" in patient.cf.text
    said = patient.machine.ask("postconf", "-n").out
    return any(f"unix:{path}" in said for path in ("popips/policy", patient.settings.mapd_policy))


def _wrong_asks(patient: Patient) -> Iterator[Finding]:
    if is_asked(patient):
        return
    if patient.settings.mta == "sendmail":
        fix = f"cat {contrib('sendmail/mapd.mc')} >> {sendmail.MC}; make -C {sendmail.FOLDER}; service sendmail restart"
    else:
        fix = f"postconf -e '{RELAY}'; postfix reload"
    yield Finding(FAIL, f"{patient.settings.mta} does not ask popips-mapd", fix=fix)


def _wrong_there(patient: Patient) -> Iterator[Finding]:
    of = patient.settings
    paths, unit = (
        ([of.mapd_socket], "popips-mapd") if of.mta == "sendmail" else ([QUEUE, of.mapd_policy], "popips-mapd-postfix")
    )
    wrong = [error for path in paths if (error := _error(path, *ASKS[of.mta]))]
    if len(wrong) == len(paths):
        fix = f"systemctl enable --now {unit}.socket"
        yield Finding(FAIL, "popips-mapd does not answer: no client relays", "; ".join(wrong), fix)


def _error(path: str, question: bytes, answer: bytes) -> str:
    """Return why there is no right answer at a socket, "" if there is one."""
    with socket.socket(socket.AF_UNIX) as its:
        its.settimeout(PATIENCE)
        try:
            its.connect(path)
            its.sendall(question)
            said = its.recv(len(answer) + 1)
        except OSError as error:
            return f"{path}: {error.strerror or error}"
    return "" if said == answer else f"{path}: answers {said!r}"
