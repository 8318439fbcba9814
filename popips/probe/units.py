"""Services: what systemd and /proc know of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from popips.probe.machine import Machine

FOLDERS = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system")
FOLDERS_OF_OLD = ("/lib/systemd/system",)
PROPERTIES = "Id,LoadState,ActiveState,UnitFileState,Result,NeedDaemonReload,MainPID"


@dataclass(frozen=True)
class Unit:
    """A unit of systemd. is_active: None if systemd does not run, and nobody can tell."""

    name: str
    is_there: bool = False
    is_enabled: bool = False
    is_active: bool | None = None
    has_failed: bool = False
    is_stale: bool = False  # its file has changed since systemd read it
    pid: int = 0


def has_systemd(machine: Machine) -> bool:
    """Whether systemd runs the host; of one that is only files, whether it would."""
    path = "/run/systemd/system" if machine.runs else "/etc/systemd/system"
    return os.path.isdir(machine.path(path))


def units(machine: Machine, *names: str) -> dict[str, Unit]:
    """Return units by name, with .service or .timer at the end; asked all at once."""
    if machine.runs and has_systemd(machine):
        said = machine.ask("systemctl", "show", "-p", PROPERTIES, *names).out
        blocks = [dict(re.findall(r"^(\w+)=(.*)$", block, re.M)) for block in said.split("\n\n")]
        if len(blocks) == len(names):
            return {name: _shown(machine, name, block) for name, block in zip(names, blocks)}
    return {name: _by_files(machine, name) for name in names}


def unit_file(machine: Machine, name: str) -> str:
    """Return the path of a unit's file, "" if there is none."""
    paths = (f"{folder}/{name}" for folder in (*FOLDERS, *FOLDERS_OF_OLD))
    return next((path for path in paths if os.path.exists(machine.path(path))), "")


def processes(machine: Machine, names: Iterable[str]) -> dict[str, list[int]]:
    """Return the ids of the processes that run by these names, as ps -o comm shows them; none of a container's."""
    found: dict[str, list[int]] = {name[:15]: [] for name in names}
    if not machine.runs:
        return found
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            name = _proc(machine, f"{entry}/comm").strip()
            if name in found and _space(entry) in ("", _space("self")):
                found[name].append(int(entry))
    return found


def _space(entry: str) -> str:
    """Return which processes a process sees, pid_namespaces(7); "" if that is not to be known."""
    try:
        return os.readlink(f"/proc/{entry}/ns/pid")
    except OSError:
        return ""


def started(machine: Machine, pid: int) -> float | None:
    """Return when a process was started, in seconds since the epoch; None if it is gone."""
    fields = _proc(machine, f"{pid}/stat").rpartition(")")[2].split()
    boot = re.search(r"^btime (\d+)", _proc(machine, "stat"), re.M)
    if len(fields) < 20 or not boot:
        return None
    return int(boot[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")


def lockers(machine: Machine, path: str) -> list[int]:
    """Return the ids of the processes that have an exclusive lock on a file: "lock:" in /proc/PID/fdinfo, proc(5)."""
    found = []
    for entry in machine.glob("/proc/[0-9]*"):
        for link in machine.glob(f"{entry}/fd/*"):
            try:
                is_it = os.readlink(link) == path
                said = machine.read(link.replace("/fd/", "/fdinfo/")) if is_it else ""
            except OSError:
                continue  # it has closed that, or is gone
            if re.search(r"^lock:.* WRITE ", said, re.M):
                found.append(int(entry.rpartition("/")[2]))
    return sorted(set(found))


def _proc(machine: Machine, path: str) -> str:
    """Return what a file of /proc says, "" if its process is gone."""
    try:
        return machine.read(f"/proc/{path}")
    except OSError:
        return ""


def _shown(machine: Machine, name: str, said: dict[str, str]) -> Unit:
    state = said.get("UnitFileState", "")
    if state == "generated":  # of a script in /etc/init.d, which links by runlevel start
        is_enabled = any(True for _ in machine.glob(f"/etc/rc[2-5].d/S??{name.removesuffix('.service')}"))
    else:
        is_enabled = state.startswith("enabled")
    return Unit(
        name,
        is_there=said.get("LoadState") not in ("not-found", "masked", None),
        is_enabled=is_enabled,
        is_active=said.get("ActiveState") in ("active", "activating", "reloading"),
        has_failed=said.get("ActiveState") == "failed",
        is_stale=said.get("NeedDaemonReload") == "yes",
        pid=int(said.get("MainPID") or 0),
    )


def _by_files(machine: Machine, name: str) -> Unit:
    """Return what the files say: a unit is enabled by a link in the folder of a target."""
    links = (f"{folder}/*.wants/{name}" for folder in (*FOLDERS, *FOLDERS_OF_OLD))
    is_enabled = any(True for pattern in links for _ in machine.glob(pattern))
    return Unit(name, bool(unit_file(machine, name)), is_enabled)
