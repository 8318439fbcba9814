"""client.py pop3|imap|idle|smtp SOURCE SERVER [USER PASSWORD]: a session as a mail client has it, from address SOURCE.

Prints "ok" or the server's refusal. Over SMTP that is the reply to a RCPT for a domain outside. idle is an IMAP session
that lasts until standard input ends.
"""

import imaplib
import poplib
import smtplib
import socket
import sys
from collections.abc import Callable

TIMEOUT = 60


class FromSource:
    """Has a client of poplib or imaplib connect from the address SOURCE: neither of them takes one."""

    host: str
    port: int

    def __init__(self, source: str, server: str) -> None:
        self.source = source
        super().__init__(server, timeout=TIMEOUT)  # type: ignore[call-arg]

    def _create_socket(self, timeout: float) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout, (self.source, 0))


class Pop3(FromSource, poplib.POP3):
    pass


class Imap(FromSource, imaplib.IMAP4):
    pass


def smtp(source: str, server: str, sender: str = "alice@example.test", to: str = "bob@outside.example") -> str:
    with smtplib.SMTP(server, 25, "client.example.test", TIMEOUT, (source, 0)) as session:
        session.ehlo()
        code, text = session.mail(sender)
        if code == 250:
            code, text = session.rcpt(to)
    return f"{code} {text.decode()}"


def pop3(source: str, server: str, user: str, password: str) -> str:
    session = Pop3(source, server)
    try:
        session.user(user)
        session.pass_(password)
        session.stat()
    except poplib.error_proto as error:
        return str(error).strip("b'")
    finally:
        session.close()
    return "ok"


def imap(source: str, server: str, user: str, password: str) -> str:
    session = Imap(source, server)
    try:
        session.login(user, password)
        session.select("INBOX")
    except imaplib.IMAP4.error as error:
        return str(error).strip("b'")
    finally:
        session.shutdown()
    return "ok"


def idle(source: str, server: str, user: str, password: str) -> str:
    session = Imap(source, server)
    session.login(user, password)
    session.select("INBOX")
    print("there", flush=True)
    sys.stdin.read()
    session.shutdown()
    return "ok"


if __name__ == "__main__":
    sessions: dict[str, Callable[..., str]] = {"smtp": smtp, "pop3": pop3, "imap": imap, "idle": idle}
    print(sessions[sys.argv[1]](*sys.argv[2:]))
