"""mta.listens: whether anybody but the host itself can reach the MTA, and so make use of a grant."""

from __future__ import annotations

from collections.abc import Iterator

from popips.doctor.check import FAIL, Check, Finding, Patient, judged, skipped
from popips.probe import postfix, sendmail

ID, WANTED = "mta.listens", "an MTA that clients elsewhere can reach"


def look(patient: Patient) -> Iterator[Check]:
    """Look at the addresses at which the MTA listens."""
    if patient.settings.mta == "postfix":
        at = patient.postfix.values.get("inet_interfaces", "")
        yield judged(ID, WANTED, f"inet_interfaces = {at}", list(_postfix(patient, at)))
    elif patient.cf:
        ports = "; ".join(f"DaemonPortOptions={port}" for port in patient.cf.ports)
        yield judged(ID, WANTED, ports or "port smtp of all addresses", list(_sendmail(patient, patient.cf, ports)))
    else:
        yield skipped(ID, f"there is no {sendmail.CF}")


def _postfix(patient: Patient, at: str) -> Iterator[Finding]:
    if postfix.is_loopback(at):
        fix = postfix.listen_to_all(patient.machine)
        yield Finding(FAIL, "Postfix listens on loopback only, and serves nobody else", f"inet_interfaces = {at}", fix)


def _sendmail(patient: Patient, cf: sendmail.Cf, ports: str) -> Iterator[Finding]:
    if cf.is_local_only:
        yield Finding(
            FAIL,
            "sendmail listens on loopback only, and serves nobody else",
            ports,
            sendmail.listen_to_all(patient.machine),
        )
