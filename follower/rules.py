"""What must hold of a login whatever the format, for a log says what somebody wrote into it."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from popips.login import BY_HAND, PUSHED, word
from popips.policy import ANONYMOUS

# the services of mailboxes: who logs in to submission may not be at the address, but at a webmail's or a relay's
MAILBOX = frozenset(
    ("pop", "pop3", "pop3s", "pop3-ssl", "spop3", "imap", "imap4", "imaps", "imap-ssl", "imap4s", "imap4-ssl")
)
LONGEST_USER = 80  # bytes: Dovecot cuts a name there
AHEAD = 300.0  # seconds that another host's clock may be ahead


@dataclass(frozen=True)
class Login:
    """What a line says: texts as they stand there, and its time in seconds since the epoch, None if it has none."""

    address: str
    user: str
    service: str
    time: float | None = None


def refusal(login: Login, named: Container[str] = ()) -> str:
    """Return the reason why a login grants nothing, "" if it may; named: services besides those of mailboxes."""
    if len(login.user.encode(errors="replace")) > LONGEST_USER:
        return f"the user's name is of more than {LONGEST_USER} bytes"
    if login.user.lower() == ANONYMOUS:
        return "an anonymous login: everybody could open the relay by it"
    if login.service in (BY_HAND, PUSHED) or (login.service not in MAILBOX and login.service not in named):
        return f"{word(login.service)} is no mailbox: name it in only_services, if its logins are to open the relay"
    return ""


def when(login: Login, now: float, window: float) -> float | None:
    """Return the time from which on a login counts, None if it is not of now: a log can be read once more."""
    if login.time is None or not now - window < login.time <= now + AHEAD:
        return None
    return min(login.time, now)
