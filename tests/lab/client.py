"""client.py PROTOCOL SOURCE SERVER [USER PASSWORD]: a session as a mail client has it, from address SOURCE.

PROTOCOL is pop3, imap, idle, or one of these with TLS, pop3s, imaps, idles; or smtp, session. Prints "ok" or the
server's refusal. Over SMTP that is the reply to a RCPT for a domain outside. idle is an IMAP session that lasts until
standard input ends; session is one by SMTP that prints the reply to such a RCPT at each line of it.
"""

import imaplib
import poplib
import smtplib
import socket
import ssl
import sys
from collections.abc import Callable

TIMEOUT = 60
PORTS = {"pop3": 110, "pop3s": 995, "imap": 143, "imaps": 993, "idle": 143, "idles": 993}


class FromSource:
    """Has a client of poplib or imaplib connect from the address SOURCE, by TLS or not: neither of them does both.

    With TLS, whoever signed the server's certificate.
    """

    host: str
    port: int

    def __init__(self, protocol: str, source: str, server: str) -> None:
        self.is_tls, self.source = protocol.endswith("s"), source
        super().__init__(server, PORTS[protocol], timeout=TIMEOUT)  # type: ignore[call-arg]

    def _create_socket(self, timeout: float) -> socket.socket:
        plain = socket.create_connection((self.host, self.port), timeout, (self.source, 0))
        if not self.is_tls:
            return plain
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(plain)


class Pop3(FromSource, poplib.POP3):
    pass


class Imap(FromSource, imaplib.IMAP4):
    pass


def smtp(_: str, source: str, server: str, sender: str = "alice@example.test", to: str = "bob@outside.example") -> str:
    with smtplib.SMTP(server, 25, "client.example.test", TIMEOUT, (source, 0)) as session:
        session.ehlo()
        code, text = session.mail(sender)
        if code == 250:
            code, text = session.rcpt(to)
    return f"{code} {text.decode()}"


def session(_: str, source: str, server: str) -> str:
    """Ask for a RCPT at each line of standard input, all in one session."""
    with smtplib.SMTP(server, 25, "client.example.test", TIMEOUT, (source, 0)) as connection:
        connection.ehlo()
        for _ in sys.stdin:
            connection.mail("alice@example.test")
            print(connection.rcpt("bob@outside.example")[0], flush=True)
            connection.rset()
    return "ok"


def pop3(protocol: str, source: str, server: str, user: str, password: str) -> str:
    session = Pop3(protocol, source, server)
    try:
        session.user(user)
        session.pass_(password)
        session.stat()
    except poplib.error_proto as error:
        return str(error).strip("b'")
    finally:
        session.close()
    return "ok"


def imap(protocol: str, source: str, server: str, user: str, password: str) -> str:
    session = Imap(protocol, source, server)
    try:
        session.login(user, password)
        session.select("INBOX")
    except imaplib.IMAP4.error as error:
        return str(error).strip("b'")
    finally:
        session.shutdown()
    return "ok"


def idle(protocol: str, source: str, server: str, user: str, password: str) -> str:
    session = Imap(protocol, source, server)
    session.login(user, password)
    session.select("INBOX")
    print("there", flush=True)
    sys.stdin.read()
    session.shutdown()
    return "ok"


if __name__ == "__main__":
    kinds: dict[str, Callable[..., str]] = {"smtp": smtp, "session": session, "pop3": pop3, "imap": imap, "idle": idle}
    print(kinds[sys.argv[1].removesuffix("s")](*sys.argv[1:]))
