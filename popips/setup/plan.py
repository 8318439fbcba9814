"""The plan of a set-up: what is there, what is wanted, and the steps between the two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from popips.probe.machine import Machine
from popips.setup import conf, dovecot, expirer, mapd, pam, postfix, sendmail
from popips.setup.step import ByHand, Choice, Plan, Step
from popips.setup.there import Host

MTAS = {"sendmail": sendmail, "postfix": postfix}
HOOKS = {"postlogin": "Dovecot's post-login script", "pam": "PAM"}


def plan(machine: Machine, choice: Choice) -> Plan:
    """Return what is to be done; nothing is changed by that. Raise SettingsError if popips.conf has a mistake."""
    try:
        host = conf.host(machine, choice)
        host = replace(host, hook=_hook(host))
    except ByHand as why:
        return Plan("", by_hand=(str(why),))
    mta, hook = MTAS[host.settings.mta], dovecot if host.hook == "postlogin" else pam
    # a map of popips' own is there before the MTA asks it; one of the admin's may be made by make(1) only then
    is_ours = host.settings.own_map or not host.settings.map.row.has_file
    asked = [expirer.first_run, mapd.steps, mta.steps] if is_ours else [mta.steps, expirer.first_run]
    parts: list[Callable[[Host], list[Step]]] = [conf.steps, *asked, expirer.steps, hook.steps]
    steps: list[Step] = []
    by_hand = []
    for part in parts:
        try:
            steps += part(host)
        except ByHand as why:
            by_hand.append(str(why))
    left = pam.left(host) if hook is pam and not by_hand else []
    says = f"{host.settings.mta}, {host.settings.map}, {HOOKS[host.hook]}"
    return Plan(says, () if by_hand else tuple(steps), tuple(dict.fromkeys(by_hand)), tuple(left))


def _hook(host: Host) -> str:
    """Return the hook to use: that which is there, else the post-login script; raise ByHand if both would be."""
    there = "pam" if pam.is_hooked(host) else "postlogin" if dovecot.is_hooked(host) else ""
    if there and host.hook not in ("", there):
        raise ByHand(
            f"the hook that is here is {HOOKS[there]}, and one is enough: if setup has put it there, popips-db setup "
            f"--undo, and then this again; if you have, take it out; or leave --hook {host.hook} out"
        )
    return there or host.hook or "postlogin"
