"""Dovecot: its post-login script, and the drop-in that lets hooks write below /etc."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from popips.setup.step import ByHand, Command, Run, Step, Write
from popips.setup.there import Host, contrib, lines, text, value
from popips.setup.units import RELOAD

CONF, FOLDER = "/etc/dovecot/conf.d/99-popips.conf", "/etc/dovecot/conf.d"
DROP_IN = "/etc/systemd/system/dovecot.service.d/popips.conf"
PART = "dovecot"
SERVICES = ("pop3", "imap")
READ_ONLY = {"yes": ("/usr", "/boot"), "true": ("/usr", "/boot"), "full": ("/usr", "/boot", "/etc"), "strict": ("/",)}


def steps(host: Host) -> list[Step]:
    """Return what makes Dovecot run popips-postlogin; raise ByHand."""
    if not os.path.exists(host.machine.path("/etc/dovecot/dovecot.conf")):
        raise ByHand("no Dovecot is here: for a server that can run no hook see popips-follow(8)")
    hook = host.program("libexec/popips/popips-postlogin")
    files = list(sandbox(host))
    if [service for service in SERVICES if not _has_hook(host, service, hook)]:
        files.append(Write(PART, CONF, contrib("dovecot/postlogin.conf")))
    return [*files, *again(host, files)]


def again(host: Host, files: list[Write]) -> list[Step]:
    """Return what lets Dovecot see the files, if there are any."""
    if not files:
        return []
    units: list[Command] = [RELOAD] if any(file.path == DROP_IN for file in files) else []
    restart = host.restart("dovecot")
    end = (
        host.program("sbin/popips-db"),
        "end",
        "--all",
    )  # nobody is granted any more, and what there is must not last
    return [
        *(Run(PART, unit, undo=(unit,)) for unit in units),
        Run(PART, ("doveconf", "-n")),  # says no to what it cannot read, before the restart would
        Run(PART, restart, undo=(restart, end)),
    ]


def sandbox(host: Host) -> list[Write]:
    """Return the drop-in by which a hook may write where map and stamps are, if Dovecot's unit does not let it."""
    if not host.systemd:
        return []
    said = host.machine.ask("systemctl", "show", "-p", "ProtectSystem", "-p", "ReadWritePaths", "dovecot").out
    barred = READ_ONLY.get(value(said, "ProtectSystem"), ())
    allowed = [path.lstrip("-+") for path in value(said, "ReadWritePaths").split()]
    needed = [
        folder
        for folder in dict.fromkeys((host.settings.map.folder, host.settings.stamps))
        if _below(folder, barred) and not _below(folder, allowed)
    ]
    if not needed:
        return []
    sample = contrib("systemd/dovecot.service.d/popips.conf")
    if not all(_below(folder, ("/etc/mail", "/etc/postfix")) for folder in needed):
        sample = re.sub(
            r"^ReadWritePaths=.*$", f"ReadWritePaths={' '.join(f'-{folder}' for folder in needed)}", sample, flags=re.M
        )
    there = text(host.machine, DROP_IN)
    if there and there != sample:
        raise ByHand(f"{DROP_IN} is there, and does not let hooks write into {' '.join(needed)}: add ReadWritePaths=")
    return [Write(PART, DROP_IN, sample)]


def _below(path: str, folders: Iterable[str]) -> bool:
    """Whether a path is one of the folders, or below one."""
    return any(f"{path}/".startswith(f"{folder.rstrip('/')}/") for folder in folders)


def _has_hook(host: Host, service: str, hook: str) -> bool:
    """Whether the service runs popips-postlogin already; raise ByHand if it runs another script."""
    words, scripts = _scripts(host, service)
    if words == [service] or not words:
        if not any(re.match(r"!include(_try)?\s+(/etc/dovecot/)?conf\.d/\*\.conf$", line) for line in _main(host)):
            raise ByHand(
                "/etc/dovecot/dovecot.conf does not include conf.d/*.conf: put contrib/dovecot/postlogin.conf into it"
            )
        there = text(host.machine, CONF)
        if there and there != contrib("dovecot/postlogin.conf"):
            raise ByHand(
                f"{CONF} is there, and not as setup writes it: let it say what contrib/dovecot/postlogin.conf does"
            )
        return False
    if any(re.search(rf"{re.escape(hook)}(\s|$)", script) for script in scripts):
        return True
    raise ByHand(
        f"Dovecot runs another post-login script for {service} (executable = {' '.join(words)}). If that ends in "
        f'exec "$@", put {hook} behind it, after a blank, in the executable of {" ".join(words[1:])}'
    )


def is_hooked(host: Host) -> bool:
    """Whether POP3 or IMAP runs popips-postlogin, wherever that is installed."""
    return any("popips-postlogin" in script for service in SERVICES for script in _scripts(host, service)[1])


def _scripts(host: Host, service: str) -> tuple[list[str], list[str]]:
    """Return the words of a service's executable, and what doveconf says of the scripts that it names."""
    name = f"service/{service}/executable"
    said = host.machine.ask("doveconf", name)
    if said.status:
        raise ByHand(f"doveconf: {said.err.strip() or said.out.strip()}")
    words = value(said.out.replace(name, "executable"), "executable").split()
    return words, [host.machine.ask("doveconf", f"service/{word}/executable").out for word in words[1:]]


def _main(host: Host) -> list[str]:
    return lines(text(host.machine, "/etc/dovecot/dovecot.conf"))
