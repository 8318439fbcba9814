"""Where popips is installed, and no more: one check says so, and none judges what only a set-up makes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from popips import configuration
from popips.doctor.check import ASKED, FAIL, Check, Finding, Patient, judged, skipped
from popips.doctor.there import set_up
from popips.doctor.ways import ID as LOGINS
from popips.probe import postfix
from popips.probe.unused import TOLD, is_unused

BY = "mta.asks"  # whose check says so
OF_A_SET_UP = ("map.", "mta.", "stamps.", "dovecot.hook", "expirer.", LOGINS)


def told(patient: Patient, checks: Sequence[Check]) -> Iterator[Check]:
    """Return the checks, but of a host where nothing is set up without those that would speak of that alone."""
    if patient.conf != configuration.PATH or not is_unused(patient.machine, patient.settings):
        yield from checks
        return
    for check in checks:
        if check.id == BY:
            is_no_mta = not postfix.is_there(patient.machine)
            yield check if is_no_mta else judged(BY, ASKED, "", [Finding(FAIL, TOLD, fix=set_up())])
        elif check.id.startswith(OF_A_SET_UP):
            yield skipped(check.id, f"{TOLD}, see {BY}")
        else:
            yield check
