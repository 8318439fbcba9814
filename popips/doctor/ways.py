"""hook.logins: whether there is a way at all by which popips hears of a login."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from popips.doctor.check import FAIL, OK, SKIP, WARN, Check, Finding, Patient, judged, skipped
from popips.probe import units

ID, FOLLOWER = "hook.logins", "popips-follow"


def look(patient: Patient, checks: Sequence[Check]) -> Iterator[Check]:
    """Look for such a way; checks: what was said of Dovecot and PAM."""
    if not patient.machine.runs:
        yield skipped(ID, "only files are here")
        return
    dovecots = next((check for check in checks if check.id == "dovecot.hook"), None)
    if dovecots and dovecots.status == FAIL:
        yield skipped(ID, f"see {dovecots.id}")
        return
    ways = [check.id for check in checks if check.id.startswith("pam.") and check.status in (OK, WARN)]
    ways += ["Dovecot"] if dovecots and dovecots.status != SKIP else []
    ways += [f"the folder {patient.settings.drop}"] if patient.settings.drop else []
    ways += [FOLLOWER] if not ways and _follows(patient) else []
    found = f"no login comes to popips: no Dovecot is here, no line of popips-hook in PAM, and no {FOLLOWER} runs"
    wrong = [] if ways else [Finding(FAIL, found, fix=f"man {FOLLOWER}")]
    yield judged(ID, "a server whose logins come to popips", f"logins come to popips by {', '.join(ways)}", wrong)


def _follows(patient: Patient) -> bool:
    """Whether popips-follow runs, or is started at boot."""
    unit = f"{FOLLOWER}.service"
    runs = any(units.processes(patient.machine, [FOLLOWER]).values())
    return runs or units.units(patient.machine, unit)[unit].is_enabled
