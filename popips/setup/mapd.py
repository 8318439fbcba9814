"""popips-mapd: its units and the socket at which the MTA asks it, where popips.conf says map = mapd."""

from __future__ import annotations

from popips.setup import units
from popips.setup.step import ByHand, Step
from popips.setup.there import Host

PART, SERVICE = "mapd", "popips-mapd.service"
SOCKETS = {"sendmail": "popips-mapd.socket", "postfix": "popips-mapd-postfix.socket"}


def steps(host: Host) -> list[Step]:
    """Return what has systemd listen for the MTA's questions; raise ByHand."""
    if host.settings.map.row.has_file:
        return []
    if not host.systemd:
        raise ByHand("without systemd, start popips-mapd before the MTA, by what starts it again: see popips-mapd(8)")
    socket = SOCKETS[host.settings.mta]
    if units.is_enabled(host, socket, "nobody would answer the MTA"):
        return []
    missing = [name for name in (SERVICE, socket) if not units.is_there(host, name)]
    return units.enabling(PART, socket, missing, units.stopping(socket, SERVICE))
