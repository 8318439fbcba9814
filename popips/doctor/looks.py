"""All looks at a host, in the order in which their checks are printed."""

from __future__ import annotations

from popips.doctor import conf, dovecot, expirer, host, maps, mta, pam, share, stamps, unused, ways
from popips.doctor.check import Check, Look, Patient
from popips.probe.machine import Machine

LOOKS: tuple[Look, ...] = (  # a row each: a function that yields checks, see popips.doctor.check
    conf.look,
    mta.look,
    maps.look,
    stamps.look,
    dovecot.look,
    pam.look,
    expirer.look,
    share.look,
    host.look,
)


def examine(machine: Machine, path: str, now: float) -> list[Check]:
    """Return all checks of a host; path: of popips.conf, without which only that it is wrong can be told."""
    found = conf.load(machine, path)
    if isinstance(found, Check):
        return [_as_the_host_says(machine, found)]
    patient = Patient(machine, path, found, now)
    checks = [check for look in LOOKS for check in look(patient)]
    checks += ways.look(patient, checks)
    return [_as_the_host_says(machine, check) for check in unused.told(patient, checks)]


def _as_the_host_says(machine: Machine, check: Check) -> Check:
    """Return the check with the paths as they are on the host."""
    if not machine.root:
        return check
    told = {name: text.replace(machine.root, "") for name, text in vars(check).items() if name not in ("id", "status")}
    return Check(check.id, check.status, **told)
