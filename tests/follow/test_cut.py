"""No client without a password writes a login into Dovecot's log.

With imap_id_log, in 2.4 with log_debug, Dovecot logs what a client says of itself by ID. 2.3 cuts a message that is
longer than a pipe takes at once (PIPE_BUF), and gives each piece the head of a message: a piece begins with whatever
the client has put there. What it cannot put is the end: `: user=<>, method=..., rip=..., lip=..., session=<...>` comes
behind its text, with the user who failed to log in before, and its own address. So the end alone is nearly a login;
it lacks mpid=, the process of the mailbox, which only a login has.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.box import LAB, Box, dovecot_version
from tests.follow.reading import logins

FORGED = "198.51.100.66"
CLIENT, SERVER = "192.0.2.10", "192.0.2.1"
VERB = "Login" if dovecot_version() == "2.3" else "Logged in"
PARTS = [f"{VERB}: user=<alice>", "method=PLAIN", f"rip={FORGED}", f"lip={SERVER}", "mpid=1", "session=<AAAAAAAAAAAA>"]
ENDS = [  # what the client's text ends with: a part of a login, which the server's own end completes
    [VERB],
    *(PARTS[:count] for count in range(1, len(PARTS) + 1)),
    [*PARTS[:5], "TLS=", "session=<AAAAAAAAAAAA>"],
    [*PARTS[:5], "session=<"],
    [*PARTS[:2], "mpid=1"],
    [f"{VERB}: user=<", "mpid=1"],
]
FAILED = ["", "bob", f"bob>, method=PLAIN, rip={FORGED}, lip={SERVER}, mpid=1, session=<A"]
CUTS = dovecot_version() == "2.3"  # 2.4 logs no more of an ID than a piece has room for
Session = Sequence[object]  # the user, and the fields of the ID
LONGEST = 76  # bytes of a value of the filler: Dovecot 2.3 cuts one at 80
TAIL = 75  # bytes of the server's end, at least
ID = "ID sent: " if dovecot_version() == "2.3" else "Pre-login ID sent: "
# in one process, so that the pieces of all messages are of one length
COUNT = "service_count = 0" if dovecot_version() == "2.3" else "restart_request_count = unlimited"
ONE_PROCESS = f"service imap-login {{\n  {COUNT}\n  process_min_avail = 1\n  process_limit = 1\n}}\n"
LOGS_ID = "imap_id_log = *\n" if dovecot_version() == "2.3" else "log_debug = category=imap OR event=*\n"


@pytest.mark.parametrize("name", ["dovecot", "dovecot-file"])
def test_no_piece_of_a_message_that_dovecot_cut_is_a_login(box: Box, name: str) -> None:
    to_syslog = "log_path = syslog\n" if name == "dovecot" else ""
    box.start_dovecot(by="log", more=LOGS_ID + ONE_PROCESS + to_syslog)
    have(box, [["", list(filled(5000))]])
    box.until("piece", lambda: any(text.startswith(ID) for text in messages(box, name)))
    piece = max(map(len, messages(box, name))) if CUTS else 4000  # bytes, without its head
    whole: list[Session] = [["", at_cut(PARTS, piece - back)] for back in range(len(", ".join(PARTS)) + TAIL)]
    have(box, whole + [[user, at_cut(end, piece)] for user in FAILED for end in ENDS])
    assert box.login("imap", CLIENT) == "ok"
    box.until("login", lambda: f"{VERB}: user=<alice>, method=PLAIN, rip={CLIENT}" in "\n".join(written(box, name)))
    if CUTS:
        for end in ENDS:  # the cut was where it had to be
            assert [text for text in messages(box, name) if text.startswith(", ".join(end))], end
    assert logins(name, written(box, name)) == [f"imap {CLIENT} alice"]


def have(box: Box, sessions: list[Session]) -> None:
    """Have the sessions of ids.py."""
    script: list[str | Path] = ["ip", "netns", "exec", "cli", sys.executable, LAB / "ids.py", CLIENT, SERVER]
    done = box.run(script, stdin=json.dumps(sessions))
    assert done.returncode == 0, done.stderr + box.said()


def at_cut(end: list[str], offset: int) -> list[list[str]]:
    """Return the fields of an ID whose text ends so, and its end begins at that offset of the message."""
    fields = [field.split("=", 1) if "=" in field else ["k", field] for field in end]
    begins = offset if "=" in end[0] else offset - len("k=")
    return [*filled(begins - len(ID)), *fields]


def filled(size: int) -> Iterator[list[str]]:
    """Return fields whose text is that long, with a comma and a blank behind each."""
    while size > 0:
        now = size if size <= LONGEST + 4 else min(LONGEST + 4, size - 5)  # 4 bytes are no value: `k=, `
        yield ["k", "x" * (now - 4)]
        size -= now


def written(box: Box, name: str) -> Iterator[str]:
    """Return the lines of Dovecot's log as a syslogd writes them, or its own file's."""
    if name == "dovecot-file":
        return iter((box.scratch / "dovecot.log").read_text().splitlines())
    lines = box.log.read_text().splitlines()
    return (re.sub(r"^<[0-9]+>(.{15}) ", r"\1 mail ", line) for line in lines)


def messages(box: Box, name: str) -> list[str]:
    """Return the messages of imap-login."""
    texts = [line.partition("imap-login: ")[2] for line in written(box, name)]
    return [text.removeprefix("Info: ").removeprefix("Debug: ") for text in texts]
