"""popips-expire each minute: by the timer under systemd, else by cron, and never by both."""

from __future__ import annotations

import os

from popips import configuration
from popips.probe import cron
from popips.probe.cron import Job
from popips.setup import units
from popips.setup.step import END_ALL, NO_MAP, ByHand, Command, Run, Step, Write
from popips.setup.there import Host, contrib, text

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
    end = (host.program("sbin/popips-db"), *END_ALL)
    is_run = bool(by_cron(host))
    if not host.systemd:
        return [] if is_run else _cron(host, end)
    if is_run or units.is_enabled(host, TIMER, "nothing would close the relay again"):
        return []
    missing = () if units.is_there(host, TIMER) else (SERVICE, TIMER)
    return units.enabling(PART, TIMER, missing, (end, *units.stopping(TIMER, SERVICE)))  # a run that goes on, too


def by_cron(host: Host) -> list[Job]:
    """Return the lines by which cron runs popips-expire."""
    return [job for job in cron.jobs(host.machine, configuration.PATH) if job.is_run]


def _cron(host: Host, end: Command) -> list[Step]:
    if not os.path.exists(host.machine.path("/usr/sbin/cron")):
        raise ByHand("neither systemd nor cron is here: run popips-expire each minute by what there is")
    there = text(host.machine, CRON)
    if there:
        raise ByHand(f"{CRON} is there, and does not run popips-expire: let it say what contrib/cron.d/popips does")
    return [Write(PART, CRON, contrib("cron.d/popips"), before_undo=(end,))]
