"""popips-expire: whether the timer or cron starts it, and when it last finished a run."""

from __future__ import annotations

import os
from collections.abc import Iterator

from popips import watch
from popips.doctor.check import FAIL, WARN, Check, Finding, Patient, judged
from popips.doctor.there import contrib, sbin
from popips.paste import quoted
from popips.probe import units
from popips.stamps import RUN_FILE, StampError
from popips.stamps.folder import Folder

TIMER, SERVICE = "popips-expire.timer", "popips-expire.service"
CRON = ("cron", "crond", "fcron", "bcron-start")


def look(patient: Patient) -> Iterator[Check]:
    """Look at what starts popips-expire, and at what came of it."""
    there = units.units(patient.machine, TIMER, SERVICE)
    lines = units.cron_lines(patient.machine, "popips-expire")
    started = list(_wrong_start(patient, there, lines))
    by = [TIMER] if there[TIMER].is_enabled else [path for path, _ in lines]
    yield judged("expirer.started", "started by the timer or by cron, not by both", f"by {', '.join(by)}", started)
    yield judged(
        "expirer.run", "a complete run within the last minutes", _last(patient), list(_wrong_run(patient, there))
    )


def _wrong_start(patient: Patient, there: dict[str, units.Unit], lines: list[tuple[str, str]]) -> Iterator[Finding]:
    timer = there[TIMER]
    has_systemd = units.has_systemd(patient.machine)
    is_on = timer.is_there and timer.is_enabled and timer.is_active is not False
    if is_on and lines:
        path, line = lines[0]
        found = f"the timer and cron ({path}) both start it"
        yield Finding(WARN, found, line, _without(path))
    elif not is_on and not lines:
        if timer.is_there and has_systemd:
            what = "not enabled" if not timer.is_enabled else "not active"
            yield Finding(
                FAIL, f"nothing starts popips-expire: {TIMER} is {what}", fix=f"systemctl enable --now {TIMER}"
            )
        else:
            yield Finding(FAIL, "nothing starts popips-expire: no grant ends", fix=_install(has_systemd))
    elif lines and patient.machine.runs and not _cron_runs(patient):
        found = f"cron is to start it ({lines[0][0]}), and cron does not run"
        start = "systemctl enable --now cron" if has_systemd else "service cron start"
        is_there = any(True for name in ("cron", "crond") for _ in patient.machine.glob(f"/usr/sbin/{name}"))
        yield Finding(FAIL, found, fix=start if is_there else "apt-get install -y cron")
    if timer.is_stale or there[SERVICE].is_stale:
        yield Finding(WARN, "systemd has not read the units as they are now", fix="systemctl daemon-reload")


def _install(has_systemd: bool) -> str:
    if not has_systemd:
        return f"cp {contrib('cron.d/popips')} /etc/cron.d/popips"
    files = f"{contrib('systemd/popips-expire.service')} {contrib('systemd/popips-expire.timer')}"
    return f"cp {files} /etc/systemd/system/; systemctl daemon-reload; systemctl enable --now {TIMER}"


def _without(path: str) -> str:
    """Return the command that takes the line out of a crontab."""
    if path.startswith("/etc/cron"):  # the file may have other lines of the admin's
        return f"sed -i '/popips-expire/d' {path}"
    return "crontab -l | sed '/popips-expire/d' | crontab -"


def _cron_runs(patient: Patient) -> bool:
    return any(units.processes(patient.machine, CRON).values())


def _wrong_run(patient: Patient, there: dict[str, units.Unit]) -> Iterator[Finding]:
    if there[SERVICE].has_failed:
        said = patient.machine.ask(
            "journalctl", "-q", "--no-pager", "-o", "cat", "-n", "1", "-t", "popips-expire"
        ).out.strip()
        fix = f"systemctl reset-failed {SERVICE}; popips-expire"
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
