"""popips-share and those who read what it tells, together: hosts with maps in files, with the installed programs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box import CRON_ENVIRONMENT
from tests.share import A, B, Host, Server, wait
from tests.share.conftest import Hosts


class MailHost:
    """A host with a map in a file."""

    def __init__(self, host: Host, programs: Path) -> None:
        self.its, self.programs = host, programs
        self.map = host.folder / "access"
        subprocess.run(["makemap", "hash", self.map], input=b"", check=True, stderr=subprocess.DEVNULL)
        host.configure(map=f"hash:{self.map}")

    def run(self, program: str, *words: str, **env: str) -> str:
        command = [str(self.programs / program), "-c", str(self.its.conf), *words]
        done = subprocess.run(command, env=CRON_ENVIRONMENT | env, capture_output=True, text=True)
        return done.stdout + done.stderr

    def login(self, name: str) -> None:
        env = {"PAM_RHOST": name, "PAM_USER": "alice", "PAM_SERVICE": "pop3", "PAM_TYPE": "account"}
        self.run("libexec/popips/popips-hook", **env)

    def expire(self) -> str:
        return self.run("sbin/popips-expire", "-v")

    def granted(self) -> list[str]:
        """The keys of the map's records."""
        return [line.partition("\t")[0] for line in self.run("sbin/popips-db", "lst").splitlines()]


@pytest.fixture
def mail(hosts: Hosts, server: Server, programs: Path) -> Iterator[list[MailHost]]:
    found = [MailHost(host, programs) for host in hosts(server.url, "pop1", "pop2")]
    wait(lambda: all(one.its.fleet["connected"] for one in found))
    for one in found:
        one.expire()
    yield found


def test_a_login_on_one_host_relays_on_the_other_and_its_end_and_denial_reach_it(mail: list[MailHost]) -> None:
    one, two = mail
    one.login(A)
    wait(lambda: two.its.hears(A) == "live")
    two.expire()
    assert two.granted() == [A]
    assert "by=@pop1 " in two.run("sbin/popips-db", "why", A)
    wait(lambda: "pop1 live 1" in two.run("sbin/popips-db", "status"))  # .fleet is written once a second
    assert "2 ok" in two.run("sbin/popips-db", "doctor", "--only", "share.engine,share.hosts").splitlines()[0]
    one.run("sbin/popips-db", "end", A)
    wait(lambda: two.its.hears(A) == "ended")
    said = two.expire()
    assert "ended on another host" in said and two.granted() == []
    one.login(A)
    wait(lambda: two.its.hears(A) == "live")
    two.expire()
    assert two.granted() == [A]
    two.run("sbin/popips-db", "deny", A)
    wait(one.its.denied)
    one.expire()
    assert (one.granted(), two.granted()) == ([], [])
    one.login(A)
    assert one.granted() == []


def test_what_is_ended_here_while_popips_share_is_down_ends_on_all_hosts(mail: list[MailHost]) -> None:
    one, two = mail
    one.login(A)
    wait(lambda: two.its.hears(A) == "live")
    two.expire()
    assert two.granted() == [A]
    assert two.its.end() == 0
    two.run("sbin/popips-db", "end", A)
    two.its.start()
    wait(lambda: one.its.hears(A) == "ended")
    for host in mail:
        host.expire()
    assert (one.granted(), two.granted()) == ([], [])


def test_what_a_host_has_heard_of_it_does_not_tell_again_and_an_end_here_ends_it_there(
    mail: list[MailHost], server: Server
) -> None:
    one, two = mail
    one.login(A)
    wait(lambda: two.its.hears(A) == "live")
    two.expire()
    assert server.lines_of("pop2") == []
    two.run("sbin/popips-db", "end", A)
    wait(lambda: one.its.hears(A) == "ended")
    one.expire()
    assert (one.granted(), two.granted()) == ([], [])
    two.expire()
    assert two.granted() == []
    before = len(server.lines())
    for _ in range(3):
        one.expire()
        two.expire()
    assert len(server.lines()) == before
    two.login(B)
    wait(lambda: one.its.hears(B) == "live")
    one.expire()
    assert one.granted() == two.granted() == [B]
