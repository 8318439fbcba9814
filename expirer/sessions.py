"""Sessions that last: an IMAP client keeps one connection for hours, and its address needs its grant all the while."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

from popips import address
from popips.limits import ANONYMOUS
from popips.settings import Settings
from popips.stamps import Folder, Stamp

SERVICES = ("imap", "pop3")  # others, submission for instance, open no relay
PATIENCE = 10.0  # seconds to wait for Dovecot


class SessionError(Exception):
    """Dovecot does not tell who is there; str() says why."""


def renew(settings: Settings, clock: Callable[[], float]) -> int:
    """Renew the stamps of the addresses that have a session with Dovecot, and give their number.

    It asks `doveadm who`, and then the clock, for seconds since the epoch. Raise SessionError or StampError.
    """
    there = sorted(_present(settings))
    with Folder(settings.stamps) as folder:
        return sum(_is_grant(folder.get(name)) and folder.renew(name, clock()) for name in there)


def _is_grant(stamp: Stamp | None) -> bool:
    return stamp is not None and stamp.time > 0  # 0 is a stamp that was ended


def _present(settings: Settings) -> set[str]:
    command = [*settings.doveadm.split(), "-f", "json", "who", "-1"]
    services = set(SERVICES).intersection(settings.only_services or SERVICES)
    try:
        done = subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
        there = [session for session in json.loads(done.stdout) if session["service"] in services]
        found = {session["ip"] for session in there if str(session.get("username")).lower() != ANONYMOUS}
        return {address.parse(text) for text in found if address.is_address(text)}
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        said = getattr(error, "stderr", None) or b""
        reason = said.decode(errors="replace").strip() or error
        raise SessionError(f"{settings.doveadm}: {reason}; set doveadm in popips.conf, or renew = logins") from None
