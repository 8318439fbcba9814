"""The real sendmail and the real Postfix ask popips-mapd, by the lines of contrib, whatever state it is in.

Mail to the host's own domain passes in each, and nobody relays who has no grant.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tests.box import CRON_ENVIRONMENT, Box, server_for
from tests.postfix import HOME, unpack_postfix

V4, V6, OTHER = "192.0.2.10", "2001:db8::10", "192.0.2.11"
INSIDE, OUTSIDE = "bob@example.test", "bob@outside.example"
POLICY = HOME / "queue/popips/policy"
DELAYED = "FEATURE(`delay_checks')dnl\n"  # Debian's default
REJECT = "check_client_access hash:{access}, check_policy_service"
# a session that asks once more as soon as it is told to
SESSION = """
import smtplib, sys
with smtplib.SMTP(sys.argv[2], 25, "client.example.test", 60, (sys.argv[1], 0)) as session:
    session.ehlo()
    session.mail("alice@example.test")
    for _ in range(3):
        print(session.rcpt(sys.argv[3])[0], flush=True)
        sys.stdin.readline()
"""
# a server that is not popips-mapd: it says what it is told to, or takes nobody up and fills its own queue
FAKE = """
import os, pwd, socket, sys
path, says = sys.argv[1], sys.argv[2].encode()
if os.path.lexists(path): os.unlink(path)
server = socket.socket(socket.AF_UNIX)
server.bind(path)
os.chmod(path, 0o666)
server.listen(0 if not says else 9)
waiting = []
while not says:
    waiting.append(socket.socket(socket.AF_UNIX))
    waiting[-1].setblocking(False)
    try:
        waiting[-1].connect(path)
    except BlockingIOError:
        print("up", flush=True)
        sys.stdin.read()
print("up", flush=True)
while True:
    client, _ = server.accept()
    waiting.append(client)
    client.recv(4096)
    client.sendall(says)
"""


class Host:
    """A box with an MTA that asks popips-mapd."""

    def __init__(self, box: Box, mta: str, relay: str = "") -> None:
        self.box, self.mta, self.pid = box, mta, ""
        more = {"mta": "postfix", "mapd_policy": str(POLICY)} if mta == "postfix" else {}
        box.configure(map="mapd", **more)
        self.socket = str(POLICY) if mta == "postfix" else "/run/popips/mapd.sock"
        if mta == "postfix":
            lines = box.contrib("postfix/mapd.cf").partition("\nsmtpd_relay_restrictions =\n")[2]
            rules = " ".join(line.strip() for line in lines.splitlines())
            if relay:
                rules = rules.replace("check_policy_service", relay)
            unpack_postfix(box, smtpd_relay_restrictions=rules)
            box.run(["sed", "-i", "s/^smtp inet n - n/smtp inet n - y/", "/etc/postfix/master.cf"])  # in a chroot
            self.start()
            box.daemon(["postfix", "start-fg"])
            box.until("Postfix", lambda: box.listens(25))
        else:
            self.start()
            box.start_sendmail(access="mapd.mc", before=DELAYED)

    def start(self) -> None:
        """Start popips-mapd, and wait until it listens."""
        script = f"{self.box.path('popips-mapd')} -c {self.box.conf} < /dev/null > /dev/null 2>&1 & echo $!"
        self.pid = self.box.run(["sh", "-c", script]).stdout.strip()
        self.box.until("popips-mapd", lambda: self.box.run(["test", "-S", self.socket]).returncode == 0)
        if self.mta == "postfix":
            self.box.run(["chown", "postfix", self.socket])  # as popips-mapd-postfix.socket has it

    def kill(self, name: str) -> None:
        assert self.box.run(["kill", f"-{name}", self.pid]).returncode == 0

    def end(self) -> None:
        self.kill("TERM")
        self.box.until("end", lambda: self.box.run(["test", "-e", self.socket]).returncode != 0)

    def fake(self, says: str) -> None:
        """Have something else in its place."""
        self.end()
        command = [sys.executable, "-c", FAKE, self.socket, says]
        process = subprocess.Popen(
            self.box._entered(command), env=CRON_ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.box._daemons.append(process)  # type: ignore[arg-type]
        assert process.stdout and process.stdout.readline() == "up\n"

    def rcpt(self, source: str, to: str = OUTSIDE) -> str:
        return self.box.client("smtp", source, server_for(source), "alice@example.test", to)[:3]

    def session(self, source: str) -> subprocess.Popen[str]:
        words = ["ip", "netns", "exec", "cli", sys.executable, "-c", SESSION, source, server_for(source), OUTSIDE]
        return subprocess.Popen(
            self.box._entered(words), env=CRON_ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def age(self, name: str, seconds: float) -> None:
        then = time.time() - seconds
        os.utime(self.box.stamps / name, (then, then))

    @property
    def denied(self) -> str:
        return "554" if self.mta == "postfix" else "550"


MTAS = pytest.mark.parametrize("mta", ["sendmail", "postfix"])


@MTAS
def test_it_relays_from_login_to_the_end_of_the_window_without_a_run(box: Box, mta: str) -> None:
    host = Host(box, mta)
    for client in (V4, V6):
        assert host.rcpt(client) == host.denied
        box.pam_login(client)
        assert [host.rcpt(one) for one in (client, OTHER)] == ["250", host.denied]
        host.age(client, 870)
        assert host.rcpt(client) == "250"
        host.age(client, 900.001)
        assert host.rcpt(client) == host.denied
        host.age(client, -30)
        assert host.rcpt(client) == host.denied
        box.pam_login(client)
        assert host.rcpt(client) == "250"
        assert box.popips("popips-db", "deny", client).returncode == 0
        assert host.rcpt(client) == host.denied
    assert host.rcpt(OTHER, INSIDE) == "250"
    assert "error" not in "".join(box.logged("popips-mapd"))


@MTAS
def test_the_admins_reject_comes_first(box: Box, mta: str) -> None:
    host = Host(box, mta, REJECT.format(access=box.access))
    for client in (V4, OTHER):
        box.pam_login(client)
        assert host.rcpt(client) == "250"
    box.write_access(f"{'' if mta == 'postfix' else 'Connect:'}{V4}\tREJECT\n")
    assert [host.rcpt(client) for client in (V4, OTHER)] == [host.denied, "250"]


def stopped(host: Host) -> None:
    host.end()


def killed(host: Host) -> None:
    host.kill("KILL")


def hung(host: Host) -> None:
    host.kill("STOP")


def garbage(host: Host) -> None:
    host.fake("250 OK RELAY action=OK\n")


# what a client with a grant gets from each MTA
STATES: list[tuple[Callable[[Host], None], dict[str, str]]] = [
    (stopped, {"sendmail": "550", "postfix": "554"}),
    (killed, {"sendmail": "550", "postfix": "554"}),
    (hung, {"sendmail": "451", "postfix": "554"}),
    (garbage, {"sendmail": "451", "postfix": "554"}),
]


@pytest.mark.parametrize(("state", "answers"), STATES, ids=[state.__name__ for state, _ in STATES])
@MTAS
def test_in_whatever_state_it_is_nobody_relays_who_may_not_and_mail_comes_in(
    box: Box, mta: str, state: Callable[[Host], None], answers: dict[str, str]
) -> None:
    host = Host(box, mta)
    box.pam_login(V4)
    assert host.rcpt(V4) == "250"
    state(host)
    assert [host.rcpt(client, INSIDE) for client in (V4, OTHER, V6)] == ["250"] * 3
    assert host.rcpt(V4) == answers[mta]
    assert host.rcpt(OTHER) in (answers[mta], host.denied)
    if state is hung:
        host.kill("CONT")
        assert host.rcpt(V4) == "250"


@MTAS
def test_mail_comes_in_while_its_queue_is_full(box: Box, mta: str) -> None:
    host = Host(box, mta)
    box.pam_login(V4)
    host.fake("")
    assert [host.rcpt(client, INSIDE) for client in (V4, OTHER)] == ["250"] * 2
    if mta == "postfix":  # sendmail waits for as long as it is full
        assert [host.rcpt(client) for client in (V4, OTHER)] == ["554"] * 2


@MTAS
def test_after_a_restart_in_a_session_the_next_mail_relays_again(box: Box, mta: str) -> None:
    host = Host(box, mta)
    box.pam_login(V4)
    with host.session(V4) as session:
        assert session.stdin and session.stdout

        def rcpt() -> str:
            assert session.stdout
            return session.stdout.readline().strip()

        assert rcpt() == "250"
        host.end()
        host.start()
        session.stdin.write("\n")
        session.stdin.flush()
        assert rcpt() == ("451" if mta == "sendmail" else "250")  # sendmail does not try again
        session.stdin.write("\n")
        session.stdin.flush()
        assert rcpt() == "250"
        session.stdin.close()
    assert host.rcpt(V4) == "250"
