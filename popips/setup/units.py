"""Units of systemd that a set-up enables; those that no package has brought are put where the admin's own are."""

from __future__ import annotations

import os
from collections.abc import Iterable

from popips.setup.step import ByHand, Command, Run, Step, Write
from popips.setup.there import Host, contrib

FOLDERS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
RELOAD: Command = ("systemctl", "daemon-reload")


def is_there(host: Host, unit: str) -> bool:
    """Whether a unit has a file."""
    return any(os.path.exists(host.machine.path(f"{folder}/{unit}")) for folder in FOLDERS)


def is_enabled(host: Host, unit: str, otherwise: str) -> bool:
    """Whether a unit is enabled; raise ByHand if it is masked, and say what would come of that otherwise."""
    said = host.machine.ask("systemctl", "is-enabled", unit).out.strip()
    if said.startswith("masked"):
        raise ByHand(f"{unit} is masked: {otherwise}: systemctl unmask {unit}")
    return said.startswith("enabled")


def enabling(part: str, unit: str, missing: Iterable[str], before_undo: tuple[Command, ...]) -> list[Step]:
    """Return what enables and starts a unit; missing: the units whose files contrib has and the host has not."""
    files = [Write(part, f"{FOLDERS[0]}/{name}", contrib(f"systemd/{name}")) for name in missing]
    reload = [RELOAD] if files else []
    start = Run(part, ("systemctl", "enable", "--now", unit), before_undo=before_undo, undo=tuple(reload))
    return [*files, *(Run(part, command) for command in reload), start]


def stopping(unit: str, service: str) -> tuple[Command, ...]:
    """Return what disables a unit and stops it, and the service that it starts."""
    return ("systemctl", "disable", "--now", unit), ("systemctl", "stop", service)
