"""popips-expire: whether the timer or cron starts it, and when it last finished a run."""

from __future__ import annotations

import os
from collections.abc import Iterator

from popips import watch
from popips.doctor.by_setup import or_by_hand
from popips.doctor.check import FAIL, WARN, Check, Finding, Patient, judged
from popips.doctor.there import contrib, sbin
from popips.paste import literal, quoted
from popips.probe import cron, units
from popips.probe.cron import Job
from popips.stamps import RUN_FILE, StampError
from popips.stamps.folder import Folder

TIMER, SERVICE = "popips-expire.timer", "popips-expire.service"
TABLE = "/etc/cron.d/popips"
CRONS = ("cron", "crond", "fcron", "bcron-start")


def look(patient: Patient) -> Iterator[Check]:
    """Look at what starts popips-expire, and at what came of it."""
    there = units.units(patient.machine, TIMER, SERVICE)
    named = cron.jobs(patient.machine, patient.conf)
    started = list(_wrong_start(patient, there, named))
    by = [TIMER] if there[TIMER].is_enabled else [job.where for job in named if job.is_run]
    yield judged("expirer.started", "started by the timer or by cron, not by both", f"by {', '.join(by)}", started)
    yield judged(
        "expirer.run", "a complete run within the last minutes", _last(patient), list(_wrong_run(patient, there))
    )


def _wrong_start(patient: Patient, there: dict[str, units.Unit], named: list[Job]) -> Iterator[Finding]:
    timer, jobs = there[TIMER], [job for job in named if job.is_run]
    has_systemd = units.has_systemd(patient.machine)
    is_on = timer.is_there and timer.is_enabled and timer.is_active is not False
    if is_on and jobs:
        yield from (
            Finding(WARN, f"the timer and cron ({job.where}) both start it", job.line, _comment_out(job))
            for job in jobs
        )
    elif not is_on and not jobs:
        yield _not_started(patient, timer, named)
    elif jobs and patient.machine.runs and not _cron_runs(patient):
        found = f"cron is to start it ({jobs[0].where}), and cron does not run"
        start = "systemctl enable --now cron" if has_systemd else "service cron start"
        is_there = any(True for name in ("cron", "crond") for _ in patient.machine.glob(f"/usr/sbin/{name}"))
        yield Finding(FAIL, found, fix=start if is_there else "apt-get install -y cron")
    if timer.is_stale or there[SERVICE].is_stale:
        yield Finding(WARN, "systemd has not read the units as they are now", fix="systemctl daemon-reload")


def _not_started(patient: Patient, timer: units.Unit, named: list[Job]) -> Finding:
    """Return that nothing starts it; named: lines of cron's that do not run it each minute, or do more than that."""
    evidence = "; ".join(f"{job.where} does not count, {job.fault}: {job.line}" for job in named)
    if timer.is_there and units.has_systemd(patient.machine):
        what = "not enabled" if not timer.is_enabled else "not active"
        found = f"nothing starts popips-expire: {TIMER} is {what}"
        return Finding(FAIL, found, evidence, f"systemctl enable --now {TIMER}")
    return Finding(FAIL, "nothing starts popips-expire: no grant ends", evidence, _install(patient))


def _install(patient: Patient) -> str:
    if not units.has_systemd(patient.machine):
        has_other = bool(patient.machine.read(TABLE))  # which has other lines of the admin's
        return or_by_hand(patient, TABLE, f"cp {contrib('cron.d/popips')} {TABLE}{'-expire' if has_other else ''}")
    folder = units.FOLDERS[0]
    files = f"{contrib(f'systemd/{SERVICE}')} {contrib(f'systemd/{TIMER}')}"
    by_hand = f"cp {files} {folder}/ && systemctl daemon-reload && systemctl enable --now {TIMER}"
    return or_by_hand(patient, f"{folder}/{TIMER}", by_hand)


def _comment_out(job: Job) -> str:
    """Return the command that makes a comment of that line alone."""
    if job.path == cron.CRONTAB:  # crontab(1) does not print all of its lines
        edit = f"s|^[[:blank:]]*{literal(job.line)}[[:blank:]]*$|#&|"
        return f"crontab -l | sed {quoted(edit)} | crontab -"
    return f"sed -i '{job.number}s/^/#/' {job.path}"


def _cron_runs(patient: Patient) -> bool:
    return any(units.processes(patient.machine, CRONS).values())


def _wrong_run(patient: Patient, there: dict[str, units.Unit]) -> Iterator[Finding]:
    if there[SERVICE].has_failed:
        said = patient.machine.ask(
            "journalctl", "-q", "--no-pager", "-o", "cat", "-n", "1", "-t", "popips-expire"
        ).out.strip()
        fix = f"systemctl reset-failed {SERVICE} && popips-expire"
        yield Finding(FAIL, "the last run by the timer failed", said or f"systemctl status {SERVICE}", fix)
    try:
        with Folder(patient.here.stamps) as folder:
            dead = watch.expirer_is_dead(folder, patient.now)
    except StampError as error:
        yield Finding(FAIL, str(error), fix=f"install -d -m 0700 {quoted(patient.settings.stamps)}")
        return
    if dead:
        yield Finding(FAIL, dead, f"{patient.settings.stamps}/{RUN_FILE}", sbin("popips-expire"))
    link, target = f"{patient.conf}.lane", f"{patient.settings.stamps}/.lane"
    try:
        leads_to = os.readlink(patient.machine.path(link))
    except OSError:
        leads_to = ""
    if leads_to != target:
        found = f"{link} does not lead to {target}: each login starts Python"
        yield Finding(WARN, found, f"it leads to {leads_to or 'nothing'}", sbin("popips-expire"))


def _last(patient: Patient) -> str:
    try:
        with Folder(patient.here.stamps) as folder:
            last = folder.time_of(RUN_FILE)
    except StampError:
        return ""
    return f"the last whole run began {patient.now - last:.0f} s ago" if last else ""
