"""mta.listens: whether anybody but the host itself can reach the MTA, and so make use of a grant."""

from __future__ import annotations

from collections.abc import Iterator

from popips.doctor.check import FAIL, Check, Finding, Patient, judged, skipped
from popips.probe import postfix, sendmail

ID, WANTED = "mta.listens", "an MTA that clients elsewhere can reach"


def look(patient: Patient) -> Iterator[Check]:
    """Look at the addresses at which the MTA listens."""
    if patient.settings.mta == "postfix":
        yield judged(ID, WANTED, "", list(_postfix(patient)))
    elif patient.cf:
        yield judged(ID, WANTED, "", list(_sendmail(patient, patient.cf)))
    else:
        yield skipped(ID, f"there is no {sendmail.CF}")


def _postfix(patient: Patient) -> Iterator[Finding]:
    at = patient.postfix.values.get("inet_interfaces", "")
    if postfix.is_loopback(at):
        fix = postfix.listen_to_all(patient.machine)
        yield Finding(FAIL, "Postfix listens on loopback only, and serves nobody else", f"inet_interfaces = {at}", fix)


def _sendmail(patient: Patient, cf: sendmail.Cf) -> Iterator[Finding]:
    if cf.is_local_only:
        ports = "; ".join(f"DaemonPortOptions={port}" for port in cf.ports)
        yield Finding(
            FAIL,
            "sendmail listens on loopback only, and serves nobody else",
            ports,
            sendmail.listen_to_all(patient.machine),
        )
