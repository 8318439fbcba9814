"""popips-mapd: its units and the socket at which the MTA asks it, where popips.conf says map = mapd."""

from __future__ import annotations

import os

from popips.setup.expirer import RELOAD, UNITS
from popips.setup.step import ByHand, Run, Step, Write
from popips.setup.there import Host, contrib

PART, SERVICE = "mapd", "popips-mapd.service"
SOCKETS = {"sendmail": "popips-mapd.socket", "postfix": "popips-mapd-postfix.socket"}


def steps(host: Host) -> list[Step]:
    """Return what has systemd listen for the MTA's questions; raise ByHand."""
    if host.settings.map.row.has_file:
        return []
    if not host.systemd:
        raise ByHand("without systemd, start popips-mapd before the MTA, by what starts it again: see popips-mapd(8)")
    socket = SOCKETS[host.settings.mta]
    enabled = host.machine.ask("systemctl", "is-enabled", socket).out.strip()
    if enabled.startswith("enabled"):
        return []
    if enabled.startswith("masked"):
        raise ByHand(f"{socket} is masked: nobody would answer the MTA: systemctl unmask {socket}")
    missing = [name for name in (SERVICE, socket) if not _is_there(host, name)]
    files = [Write(PART, f"{UNITS[0]}/{name}", contrib(f"systemd/{name}")) for name in missing]
    reload = [RELOAD] if files else []
    stop = (("systemctl", "disable", "--now", socket), ("systemctl", "stop", SERVICE))
    start = Run(PART, ("systemctl", "enable", "--now", socket), before_undo=stop, undo=tuple(reload))
    return [*files, *(Run(PART, command) for command in reload), start]


def _is_there(host: Host, unit: str) -> bool:
    return any(os.path.exists(host.machine.path(f"{folder}/{unit}")) for folder in UNITS)
