"""Stopped at each call: while a program stands still there, a login comes, and a reader with the MTA's lock looks.

A kill shows what is left behind; this shows what others see meanwhile. strace stops the program at the n-th call; what
the others do is done in this process; then it goes on.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from popips.maps.berkeley import _Copy

from popips import grants
from tests.box import CRON_ENVIRONMENT
from tests.conftest import Site
from tests.torture import Row, kill
from tests.torture.kill import SCENARIOS, Scenario

DUE = "172.16.0.0"  # the address whose grant is over in the scenario "expire, 1 due"
NAMES = ("expire, 1 due", "hook, a bucket splits", "expire, reconcile", "db del, a page empties")
CHOSEN = [scenario for scenario in SCENARIOS if scenario.name in NAMES]
STANDS_STILL = 0.02  # seconds without a step, after which a traced process counts as stopped
SHORT = 0.05  # seconds that the login in between waits for locks


def run(programs: Path, scenario: Scenario, size: int, most: int = 300) -> Row:
    """Stop the scenario's program at each call, or that many of them, and let others act there."""
    row = Row(f"stopped: {scenario.name}")
    with tempfile.TemporaryDirectory(dir=kill.fast_folder()) as folder:
        site = Site(Path(folder))
        static = kill.prepared(site, scenario, size)
        before = kill.saved(site)
        for call, number in kill.spread(kill.calls(programs, site, scenario.program), most):
            kill.restore(site, before)
            fault = _interrupted(programs, site, scenario, static, f"{call}:signal=STOP:when={number}")
            row.add(f"{scenario.name}: stopped at {call} {number}: {fault}" if fault else "")
    return row


def _interrupted(programs: Path, site: Site, scenario: Scenario, static: dict[str, str], inject: str) -> str:
    options = ("-e", f"trace={inject.partition(':')[0]}", "-e", f"inject={inject}")
    command = ["strace", "-f", "-qq", "-o", "/dev/null", *kill.paths(site), *options]
    with subprocess.Popen(
        [*command, *scenario.program.command(programs, site)],
        env=CRON_ENVIRONMENT | scenario.program.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as traced:
        stopped = _stopped(traced)
        fault, is_open = _seen_by_a_reader(site, static, scenario.touched)
        faults = [fault]
        verdict = ""
        if DUE in site.names():
            patient = site.settings.replace(lock_timeout=SHORT)
            verdict = grants.grant(patient, DUE, kill.LOGIN, time.time()).verdict
        while stopped:  # and the other one, that looks at the other half of the stamps
            os.kill(stopped, signal.SIGCONT)
            stopped = _stopped(traced)
    if verdict and is_open and DUE not in _records(site):  # the record was there, and nobody had the lock on the map
        faults.append(f"a login ({verdict}) did not keep its record")
    if verdict == grants.DEFERRED:  # promised for the next run
        site.now = time.time()
        site.expire()
    if verdict and DUE not in _records(site) & site.names():
        faults.append(f"a login ({verdict}) was lost")
    return "; ".join(filter(None, faults))


def _stopped(strace: subprocess.Popen[bytes]) -> int:
    """Wait until a process under strace stands still, and give it; 0 if they have all ended."""
    while strace.poll() is None:
        for pid in _traced_by(strace.pid):
            first = _steps(pid)
            time.sleep(STANDS_STILL)
            if first and first == _steps(pid):
                return pid
    return 0


def _traced_by(strace: int) -> list[int]:
    """The processes under strace, those whose parent has gone on without them, too."""
    mark = f"\nTracerPid:\t{strace}\n"
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if mark in _status(pid)]


def _steps(pid: int) -> str:
    """What changes whenever a stopped process makes a step; "" if it is not stopped."""
    status = _status(pid)
    is_stopped = "\nState:\tT" in status or "\nState:\tt" in status
    return status.partition("voluntary_ctxt_switches:")[2] if is_stopped else ""


def _status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return ""


def _seen_by_a_reader(site: Site, static: dict[str, str], touched: frozenset[str]) -> tuple[str, bool]:
    """What is wrong for a reader that takes flock(LOCK_SH) as sendmail does, and whether it sees the record of DUE.

    One that must wait for the lock sees nothing.
    """
    with site.db.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return "", False
        content = file.read()
    with _Copy(site.place, content, 0) as copy:
        lost = [k for k, v in static.items() if k not in touched and copy.records.get(k.encode()) != v.encode()]
        is_open = copy.records.get(DUE.encode()) is not None
    return f"a reader does not see {lost[:3]}" if lost else "", is_open


def _records(site: Site) -> set[str]:
    with _Copy(site.place, site.db.read_bytes(), 0) as copy:
        return {key.decode() for key, _ in copy.records.items()}
