"""popips-mapd: what it answers at its sockets, and which entry of Postfix's lists asks it."""

from __future__ import annotations

import re
import socket

from popips.probe.postfix import Restriction
from popips.settings import Settings

QUEUE = "/var/spool/postfix/popips/policy"  # as popips-mapd-postfix.socket has it; in main.cf unix:popips/policy
PATIENCE = 2.0  # seconds for an answer
QUESTION = Restriction(
    "check_policy_service",
    "{ unix:popips/policy, timeout=2s, try_limit=2, retry_delay=1s, default_action=DUNNO }",
)


def is_asked(settings: Settings, entry: Restriction) -> bool:
    """Whether an entry of a list asks popips-mapd by Postfix's policy protocol."""
    sockets = {word.partition(":")[2] for word in re.findall(r"\bunix:[^\s,}]+", entry.of)}
    return entry.name == QUESTION.name and bool(sockets & {"popips/policy", QUEUE, settings.mapd_policy})


def default_action(entry: Restriction) -> str:
    """Return what Postfix does by such an entry while popips-mapd is down, as it is written there."""
    found = re.search(r"\bdefault_action\s*=\s*\{?\s*(\w+)", entry.of)
    return found[1] if found else ""


def relays(settings: Settings, name: str) -> bool:
    """Whether popips-mapd lets an address relay, asked as Postfix does; raise OSError if it does not answer."""
    question = f"request=smtpd_access_policy\nprotocol_state=RCPT\nclient_address={name}\n\n".encode()
    failed = OSError()
    for path in (QUEUE, settings.mapd_policy):
        try:
            return said(path, question).startswith(b"action=OK")
        except OSError as error:
            failed = error
    raise failed


def said(path: str, question: bytes) -> bytes:
    """Return the answer at a socket; raise OSError."""
    with socket.socket(socket.AF_UNIX) as its:
        its.settimeout(PATIENCE)
        its.connect(path)
        its.sendall(question)
        return its.recv(1024)
