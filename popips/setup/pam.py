"""PAM: the line behind Dovecot's account checks, where the stack is Debian's and Dovecot asks no other service."""

from __future__ import annotations

import re

from popips.setup.dovecot import PART, again, sandbox
from popips.setup.step import ByHand, Step, Write
from popips.setup.there import Host, lines, text, value

SERVICE = "/etc/pam.d/dovecot"
SERVICES = (SERVICE, "/etc/pam.d/pop3", "/etc/pam.d/imap")
ACCOUNT = "@include common-account"


def steps(host: Host) -> list[Step]:
    """Return what makes PAM run popips-hook for Dovecot's logins; raise ByHand."""
    hook = host.program("libexec/popips/popips-hook")
    files = list(sandbox(host))
    if not is_hooked(host):
        _asks_it(host)
        wanted = f"account optional pam_exec.so quiet {hook}"
        files.append(Write(PART, SERVICE, with_line(text(host.machine, SERVICE), wanted)))
    return [*files, *again(host, files)]


def is_hooked(host: Host) -> bool:
    """Whether one of the PAM services that Dovecot may ask runs popips-hook."""
    return any("popips-hook" in line for path in SERVICES for line in lines(text(host.machine, path)))


def left(host: Host) -> list[str]:
    """Return what is left to the admin: who else has his passwords checked by Dovecot."""
    listeners = re.findall(r"unix_listener (\S*(?:postfix|private/auth)\S*)", host.machine.ask("doveconf", "-n").out)
    if not listeners:
        return []
    return [
        f"Dovecot checks the passwords of SMTP AUTH, too ({listeners[0]}), by the same PAM service: each such login "
        "opens the relay. A PAM service each for POP3 and IMAP keeps that from it (docs/by-hand.md, PAM)"
    ]


def with_line(stack: str, wanted: str) -> str:
    """Return Debian's stack with the line behind its account checks; raise ByHand for any other."""
    if lines(stack).count(ACCOUNT) != 1 or any(line.startswith("account") for line in lines(stack)):
        raise ByHand(f"{SERVICE} is not Debian's: put behind its last account check: {wanted}")
    return re.sub(rf"^({re.escape(ACCOUNT)}[ \t]*)$", lambda line: f"{line[1]}\n{wanted}", stack, flags=re.M)


def _asks_it(host: Host) -> None:
    """Raise ByHand unless the PAM service dovecot is all that Dovecot asks, each time."""
    said = host.machine.ask("doveconf", "passdb").out
    drivers = re.findall(r"^passdb (\w+) \{", said, re.M) or re.findall(r"^ *driver = (\S+)", said, re.M)
    if drivers != ["pam"]:
        raise ByHand(
            f"Dovecot checks passwords with {', '.join(drivers) or 'nothing'}, not with PAM alone: --hook postlogin"
        )
    service = value(said, "args") or value(said, "service_name") or value(said, "passdb_pam_service_name")
    if service not in ("", "dovecot"):
        raise ByHand(f"Dovecot asks PAM for {service}: see contrib/pam.d for the stacks that this needs")
    if value(host.machine.ask("doveconf", "auth_cache_size").out, "auth_cache_size") not in ("", "0"):
        raise ByHand("auth_cache_size is set: Dovecot then skips PAM from the second login on: --hook postlogin")
