"""popips-expire each minute: by the timer under systemd, else by cron, and never by both."""

from __future__ import annotations

import os
import re

from popips import configuration
from popips.probe.units import CRONTABS, SKIPS_SYSTEMD
from popips.setup import units
from popips.setup.step import NO_MAP, ByHand, Command, Run, Step, Write
from popips.setup.there import Host, contrib, lines, text

SERVICE, TIMER = "popips-expire.service", "popips-expire.timer"
CRON = "/etc/cron.d/popips"
PART = "expirer"


def first_run(host: Host) -> list[Step]:
    """Return the run that makes a map of popips' own, and the hooks' way to the stamps, if one of them is missing."""
    place = host.settings.map
    link = f"{configuration.PATH}.lane"
    is_made = not place.own or os.path.exists(host.machine.path(place.path))
    if is_made and os.path.islink(host.machine.path(link)) and host.new_conf is None:
        return []
    journal = "" if os.path.exists(place.journal) or not place.path.startswith("/etc/") else str(place)
    program = (host.program("sbin/popips-expire"),)
    return [Run(PART, program, touches=(link,), journal=journal, good=(0, NO_MAP))]


def steps(host: Host) -> list[Step]:
    """Return what runs popips-expire each minute; raise ByHand."""
    end = (host.program("sbin/popips-db"), "end", "--all")
    by_cron = crontabs(host)
    if not host.systemd:
        return [] if by_cron else _cron(host, end)
    if by_cron or units.is_enabled(host, TIMER, "nothing would close the relay again"):
        return []
    missing = () if units.is_there(host, TIMER) else (SERVICE, TIMER)
    return units.enabling(PART, TIMER, missing, (end, *units.stopping(TIMER, SERVICE)))  # a run that goes on, too


def left(host: Host) -> list[str]:
    """Return what is left to the admin: a second expirer."""
    tables = crontabs(host) if host.systemd else []
    if not tables or not host.machine.ask("systemctl", "is-enabled", TIMER).out.startswith("enabled"):
        return []
    return [f"popips-expire is run by {TIMER} and by {', '.join(tables)}: one of them is enough"]


def crontabs(host: Host) -> list[str]:
    """Return the tables of cron that run popips-expire."""
    found = [path for pattern in CRONTABS for path in host.machine.glob(pattern)]
    paths = [path for path in found if os.path.isfile(host.machine.path(path))]
    read = [path for path in paths if re.fullmatch(r"[\w-]+", os.path.basename(path))]  # cron takes no other name
    return [path for path in read if any(map(runs_it, lines(text(host.machine, path))))]


def runs_it(line: str) -> bool:
    """Whether a line of a crontab runs popips-expire on a host that has systemd."""
    return "popips-expire" in line and SKIPS_SYSTEMD not in line


def _cron(host: Host, end: Command) -> list[Step]:
    if not os.path.exists(host.machine.path("/usr/sbin/cron")):
        raise ByHand("neither systemd nor cron is here: run popips-expire each minute by what there is")
    there = text(host.machine, CRON)
    if any(SKIPS_SYSTEMD in line and "popips-expire" in line for line in lines(there)):
        return []
    if there:
        raise ByHand(f"{CRON} is there, and does not run popips-expire: let it say what contrib/cron.d/popips does")
    return [Write(PART, CRON, contrib("cron.d/popips"), before_undo=(end,))]
