"""Sessions that last: an IMAP client keeps one connection for hours, and its address needs its grant all the while."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator

from popips import address, grant, policy
from popips.login import Login
from popips.site import Site

SERVICES = ("imap", "pop3")  # others, submission for instance, open no relay
PATIENCE = 10.0  # seconds to wait for Dovecot


class SessionError(Exception):
    """Dovecot does not tell who is there; str() says why."""


def renew(site: Site, clock: Callable[[], float]) -> int:
    """Renew the stamps of the addresses that have a session with Dovecot, and return their number.

    It asks `doveadm who`, and then the clock, for seconds since the epoch. Whoever would get no grant by a login, keeps
    none by a session. Raise SessionError or StampError.
    """
    there = sorted(_present(site))
    settled = (name for name in there if (stamp := site.folder.get(name)) and stamp.settled)
    return sum(site.folder.renew(name, None, clock()) for name in settled)


def wrong(site: Site) -> Iterator[str]:
    """Return why sessions cannot renew anything, if they are to."""
    try:
        if site.settings.renew == "sessions":
            _present(site)
    except SessionError as error:
        yield str(error)


def _present(site: Site) -> set[str]:
    conf = site.settings
    command = [*conf.doveadm.split(), "-f", "json", "who", "-1"]
    try:
        done = subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
        there = [session for session in json.loads(done.stdout) if session["service"] in SERVICES]
        found = {
            (address.parse(session["ip"]), Login(str(session.get("username")), session["service"], ""))
            for session in there
            if address.is_address(session["ip"])
        }
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        said = getattr(error, "stderr", None) or b""
        reason = said.decode(errors="replace").strip() or error
        raise SessionError(f"{conf.doveadm}: {reason}; set doveadm in popips.conf, or renew = logins") from None
    bars = policy.strict(site)
    return {name for name, login in found if not grant.refusal(site, bars, name, login)}
