"""Failing calls: each call of a program that touches the site fails in turn, with each error; and a full disk."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import Site
from tests.torture import Row, kill
from tests.torture.kill import SCENARIOS, Judge, Program, Scenario

ERRORS = ("ENOSPC", "EIO", "EDQUOT", "EROFS", "EMFILE", "EACCES", "EINTR")
FALLIBLE = {
    "open",
    "openat",
    "read",
    "write",
    "pread64",
    "pwrite64",
    "fsync",
    "fdatasync",
    "rename",
    "unlink",
    "unlinkat",
    "flock",
}
FALLIBLE |= {"ftruncate", "utimensat", "fchmod", "fcntl", "getdents64"}
SYSEXITS = {
    0,
    1,
    os.EX_DATAERR,
    os.EX_NOINPUT,
    os.EX_CANTCREAT,
    os.EX_IOERR,
    os.EX_TEMPFAIL,
    os.EX_NOPERM,
    os.EX_CONFIG,
}
LOGIN_LIMIT = 3.0  # seconds
NAMES = ("hook, new address", "hook, known address", "postlogin, new address", "expire, 1 due", "expire, reconcile")
CHOSEN = [scenario for scenario in SCENARIOS if scenario.name in (*NAMES, "db ins", "db del")]


def run(programs: Path, scenario: Scenario, size: int, most: int = 300) -> Row:
    """Let each call fail with each error, or that many of them, on a map of so many static records."""
    row = Row(f"failing calls: {scenario.name}")
    with tempfile.TemporaryDirectory(dir=kill.fast_folder()) as folder:
        site = Site(Path(folder))
        judge = Judge(site, scenario, kill.prepared(site, scenario, size))
        before = kill.saved(site)
        found = [(c, n, e) for c, n in kill.calls(programs, site, scenario.program) if c in FALLIBLE for e in ERRORS]
        for call, number, error in kill.spread(found, most):
            kill.restore(site, before)
            start = time.monotonic()
            inject = ("-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={number}")
            under = ("strace", "-f", "-qq", "-o", "/dev/null", *kill.paths(site), *inject)
            done = scenario.program.run(programs, site, under)
            took = time.monotonic() - start
            fault = _wrong(scenario.program, site, done, took)
            kill.EXPIRE.run(programs, site)
            after = judge.verdict()
            where = f"{scenario.name}: {call} {number} {error}: "
            row.add(where + fault + after.fault if fault or after.fault else "", after.lost, after.bare)
            if scenario.program.name in ("popips-hook", "popips-postlogin"):
                row.worst = max(row.worst, took)
    return row


def _wrong(program: Program, site: Site, done: subprocess.CompletedProcess[str], took: float) -> str:
    if "Traceback" in done.stderr:
        return f"a traceback: {done.stderr[-300:]}"
    if program.name in ("popips-hook", "popips-postlogin"):
        return f"exit {done.returncode} after {took:.1f} s" if done.returncode or took > LOGIN_LIMIT else ""
    if done.returncode not in SYSEXITS:
        return f"exit {done.returncode}: {done.stderr[-300:]}"
    if done.returncode > 1 and str(site.folder) not in done.stderr:
        return f"no file named: {done.stderr[-300:]}"
    return ""


def full_disk(programs: Path) -> Row:
    """On a small tmpfs, in a mount namespace of its own, that is filled to the last byte, or nearly so."""
    row = Row("a full disk")
    with tempfile.TemporaryDirectory() as folder:
        script = (
            f"mount -t tmpfs -o size=1m tmpfs {folder}; exec {sys.executable} -m tests.torture.fail {folder} {programs}"
        )
        done = subprocess.run(["unshare", "--mount", "sh", "-ec", script], capture_output=True, text=True)
    for line in done.stdout.splitlines() or [f"nothing was tried: {done.stderr}"]:
        row.add("" if line == "ok" else line)
    return row


def _fill(folder: Path, programs: Path) -> None:
    for scenario in CHOSEN:
        for left in (0, 1, 2, 3, 5, 8):
            (folder / f"{left}").mkdir()
            site = Site(folder / f"{left}")
            judge = Judge(site, scenario, kill.prepared(site, scenario, 200))
            filler = site.folder / "access.filler"
            with filler.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(4096))
                except OSError:
                    os.ftruncate(file.fileno(), max(0, file.tell() // 4096 - left) * 4096)
            fault = _wrong(scenario.program, site, scenario.program.run(programs, site), 0)
            filler.unlink()
            kill.EXPIRE.run(programs, site)
            after = judge.verdict().fault
            print(f"{scenario.name}, {left} pages left: {fault} {after}" if fault or after else "ok")
            subprocess.run(["rm", "-rf", str(site.folder)], check=True)


if __name__ == "__main__":
    _fill(Path(sys.argv[1]), Path(sys.argv[2]))
