"""The agent in this process, with a clock of the test's own: hosts of other times, renewals that wait, and its log."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from popips import configuration, denials
from popips.elsewhere import Elsewhere
from popips.log import Log
from share import denying
from share.agent import Agent
from share.engine import COUNT, LARGEST, Engine, EngineError
from share.watch import Lost, Watch
from tests.share import LIMIT, STREAM, V6, A, B, C, Host, Server, wait
from tests.share.conftest import Servers

DENIED = f"{STREAM}:denied"


class Lines(Log):
    """The lines of a log."""

    def __init__(self) -> None:
        super().__init__("test")
        self.lines: list[str] = []

    def line(self, level: int, text: str) -> None:
        self.lines.append(text)


class Clocked:
    """A host whose clock is ahead, and its agent."""

    def __init__(self, folder: Path, name: str, url: str, ahead: float = 0) -> None:
        self.host, self.log, self.ahead = Host(folder, folder, name, url), Lines(), ahead
        self.denied = self.host.told / ".denied"
        self.agent: Agent | None = None

    def now(self) -> float:
        return time.time() + self.ahead

    def start(self) -> Agent:
        self.agent = Agent(configuration.load(str(self.host.conf)), self.log, self.now)
        return self.agent

    def login(self, name: str, age: float = 0) -> float:
        """Log in by this host's clock; return when that was by it."""
        return self.host.login(name, age=age - self.ahead)


Hosts = Callable[..., Clocked]


@pytest.fixture
def clocked(tmp_path: Path) -> Iterator[Hosts]:
    found = []

    def made(name: str, url: str, ahead: float = 0) -> Clocked:
        found.append(Clocked(tmp_path, name, url, ahead))
        found[-1].start()
        return found[-1]

    yield made
    for its in found:
        if its.agent:
            its.agent.close()


def until(condition: Callable[[], object], *hosts: Clocked) -> None:
    """Let the agents of these hosts work until it holds."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, [host.log.lines for host in hosts]
        for host in hosts:
            assert host.agent
            host.agent.turn(0.01)


def test_times_are_told_by_the_servers_clock(server: Server, clocked: Hosts) -> None:
    early, late = clocked("early", server.url, 300), clocked("late", server.url, -120)
    then = early.login(A, age=40)
    back = late.login(B, age=50)
    until(lambda: late.host.hears(A) == early.host.hears(B) == "live", early, late)
    assert abs(late.host.time(A) - (then - 420)) < 1
    assert abs(early.host.time(B) - (back + 420)) < 1
    early.host.end_grant(A)
    until(lambda: late.host.hears(A) == "ended", early, late)
    assert abs(late.host.time(A) - late.now()) < LIMIT
    assert late.host.time(A) <= late.now()
    early.host.deny("198.51.100.7", early.now() + 3600)
    until(late.host.denied, early, late)
    assert abs(int(late.host.denied()[0].split(" ")[1]) - late.now() - 3600) < LIMIT


def test_a_clock_that_is_put_back_hides_nothing_that_comes_and_loses_nothing_that_was_told(
    server: Server, clocked: Hosts
) -> None:
    one, two = clocked("pop1", server.url), clocked("pop2", server.url, ahead=600)
    one.login(A)
    one.login(B)
    one.host.deny(V6, one.now() + 3600)
    until(lambda: two.host.hears(A) == two.host.hears(B) == "live" and two.host.denied(), one, two)
    one.host.end_grant(B)
    until(lambda: two.host.hears(B) == "ended", one, two)
    two.ahead = 0
    assert two.agent
    two.agent.turn(0)
    assert two.host.time(B) <= two.now()
    assert (two.host.hears(A), two.host.hears(B)) == ("live", "ended")
    assert two.host.time(A) <= two.now()
    until(lambda: abs(int(two.host.denied()[0].split(" ")[1]) - two.now() - 3600) < LIMIT, one, two)
    one.login(B)
    until(lambda: two.host.hears(B) == "live", one, two)


def test_what_was_ended_elsewhere_stays_ended_when_the_clock_is_put_back(server: Server, clocked: Hosts) -> None:
    """A stamp here is of the future then, until a run has seen it; what ends it covers it, and no login after that."""
    one, two = clocked("pop1", server.url), clocked("pop2", server.url, ahead=30)

    def end(name: str) -> None:
        with Elsewhere(str(one.host.told)) as told:
            told.end(name, "pop1", one.now())
        assert one.agent
        one.agent.close()
        one.start()
        until(lambda: two.host.hears(name) == "ended", one, two)

    last = {name: two.login(name) for name in (A, B, C, V6)}
    until(lambda: all(one.host.hears(name) == "live" for name in last), one, two)
    for name in (A, C):
        end(name)
    last[C] = two.login(C)
    until(lambda: one.host.hears(C) == "live", one, two)
    two.ahead = 0
    for name in (B, V6):
        end(name)
    covered = {name: two.host.time(name) >= then for name, then in last.items()}
    assert covered == {A: True, B: True, C: False, V6: True}
    now = two.login(A)
    one.login(B)
    until(lambda: one.host.hears(A) == two.host.hears(B) == "live", one, two)
    assert two.host.time(A) < now
    assert two.host.hears(V6) == "ended"


def test_whom_the_others_deny_is_written_down_when_the_server_was_asked_and_not_before(
    server: Server, clocked: Hosts
) -> None:
    """For who reads it may not take a missing list for an empty one."""
    server.end()
    one = clocked("pop1", server.url)
    until(lambda: one.log.lines, one)
    assert not one.denied.exists()
    server.start()
    until(one.denied.exists, one)
    assert one.denied.read_bytes() == b""


def test_more_denials_than_hosts_can_heed_leave_those_in_force_that_were_known(server: Server, clocked: Hosts) -> None:
    one, two = clocked("pop1", server.url), clocked("pop2", server.url)
    one.host.deny(A)
    until(one.denied.exists, one, two)
    until(lambda: two.host.denied() == [f"{A} - root@pop1"], one, two)
    (one.host.stamps / ".denied").write_text("".join(f"{B}/{n % 32} - root\n" for n in range(denials.MOST + 1)))
    until(lambda: len(one.log.lines) == 2, one, two)
    assert one.log.lines[1].startswith("error: the other hosts do not hear what is denied here now: 10001 denials, ")
    assert two.host.denied() == [f"{A} - root@pop1"]
    # a host that does not keep to it
    server.client.hset(f"{STREAM}:denied", "pop3", f"{B} - root\n" * (denials.MOST + 1))
    server.client.xadd(STREAM, {"e": "! - 0.000 - - pop3"})
    until(lambda: len(two.log.lines) == 2, one, two)
    assert f"{STREAM}:denied: " in two.log.lines[1] and "most of them by pop3; " in two.log.lines[1]
    assert two.host.denied() == [f"{A} - root@pop1"]
    until(lambda: "most of them by pop3; " in two.host.error, one, two)
    two.login(A)
    until(lambda: one.host.hears(A) == "live", one, two)  # which goes on
    server.client.hset(f"{STREAM}:denied", "pop3", "")
    server.client.xadd(STREAM, {"e": "! - 0.000 - - pop3"})
    one.host.lift(A)
    (one.host.stamps / ".denied").write_text(f"{B} - root\n")
    until(lambda: two.host.denied() == [f"{B} - root@pop1"], one, two)
    until(lambda: not one.host.error and not two.host.error, one, two)


@pytest.mark.parametrize("is_killed", [False, True], ids=["cut off", "killed"])
def test_a_denial_reaches_the_others_if_the_host_is_lost_before_it_has_told_of_it(
    server: Server, clocked: Hosts, monkeypatch: pytest.MonkeyPatch, is_killed: bool
) -> None:
    monkeypatch.setattr(denying, "AGAIN", 3600.0)
    one, two = clocked("pop1", server.url), clocked("pop2", server.url)
    until(lambda: one.log.lines and two.denied.exists(), one, two)
    until(lambda: "pop1" in two.host.fleet["hosts"], one, two)  # or what it has told before is what has two ask
    real, lost = Engine.add, list[bytes]()

    def add(its: Engine, lines: Sequence[bytes], since: float) -> bytes:
        if lines[0].startswith(b"!") and not lost:
            lost.extend(lines)
            raise EngineError("it is gone", is_lost=True)
        return real(its, lines, since)

    monkeypatch.setattr(Engine, "add", add)
    one.host.deny(A)
    until(lambda: lost, one)
    if is_killed:
        assert one.agent
        one.agent.close()
        one.start()
    until(lambda: two.host.denied() == [f"{A} - root@pop1"], one, two)


def test_denials_that_the_server_has_lost_are_told_again(server: Server, clocked: Hosts) -> None:
    one, two = clocked("pop1", server.url), clocked("pop2", server.url)
    one.host.deny(A)
    until(lambda: two.host.denied() == [f"{A} - root@pop1"], one, two)
    server.client.delete(f"{STREAM}:denied")  # it ran short of memory, for instance
    two.host.deny(B)
    until(lambda: len(server.client.hkeys(f"{STREAM}:denied")) == 2, one, two)
    three = clocked("pop3", server.url)
    until(lambda: len(three.host.denied()) == 2, one, two, three)


def test_denials_that_another_host_of_that_name_has_overwritten_are_told_again_when_it_gets_another(
    server: Server, clocked: Hosts, tmp_path: Path
) -> None:
    (tmp_path / "x").mkdir()
    one, two = clocked("pop1", server.url), Clocked(tmp_path / "x", "pop1", server.url)
    one.host.deny(A)
    until(lambda: server.client.hgetall(f"{STREAM}:denied") == {"pop1": f"{A} - root\n"}, one)
    two.host.deny(B)
    two.start()
    assert two.agent
    try:
        until(lambda: server.client.hgetall(f"{STREAM}:denied") == {"pop1": f"{B} - root\n"}, one, two)
        two.agent.close()
        two.host.configure(share_name="pop1-2")
        two.start()
        both = {"pop1": f"{A} - root\n", "pop1-2": f"{B} - root\n"}
        until(lambda: server.client.hgetall(f"{STREAM}:denied") == both, one, two)
        until(lambda: list(one.host.fleet["hosts"]) == ["pop1-2"], one, two)  # and nobody warns of two any more
        assert one.host.fleet["id"] != two.host.fleet["id"]
    finally:
        two.agent.close()


def is_denied(one: Clocked, name: str) -> bool:
    return one.host.denied() == [f"{name} - root@pop3"]


def test_two_of_one_name_that_deny_others_do_not_answer_each_other_for_ever(
    server: Server, clocked: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(denying, "AGAIN", 3600.0)
    one = clocked("pop1", server.url)
    until(lambda: server.client.hexists(DENIED, "pop1"), one)
    for name in (A, B, C, V6):  # as one that is called so does whenever another host tells of its denials
        server.client.hset(DENIED, "pop1", f"{B} - root\n")
        server.client.xadd(STREAM, {"e": "! - 0.000 - - pop3"})
        server.client.hset(DENIED, "pop3", f"{name} - root\n")
        server.client.xadd(STREAM, {"e": "! - 0.000 - - pop3"})
        until(partial(is_denied, one, name), one)
    told = [fields["e"] for _, fields in server.client.xrange(STREAM) if "pop1/" in fields["e"]]
    assert len(told) == 2  # when it was connected, and one answer in AGAIN seconds


@pytest.mark.parametrize("how", ["goes on", "is started again", "is booted"])
def test_denials_of_a_host_that_is_down_hold_when_the_server_comes_back_without_them(
    server: Server, clocked: Hosts, how: str
) -> None:
    one, two = clocked("pop1", server.url), clocked("pop2", server.url, ahead=300)
    one.host.deny(A)
    one.host.deny(B, one.now() + 3600)
    until(lambda: len(two.host.denied()) == 2, one, two)
    assert one.agent and two.agent
    one.agent.close()
    one.agent = None
    server.client.flushall()
    if how != "goes on":
        two.agent.close()
        if how == "is booted":
            two.denied.rename(two.host.stamps / ".denied-elsewhere")  # as the last run has noted it
            shutil.rmtree(two.host.told)
        two.start()
    two.host.deny(C)
    until(lambda: server.client.hkeys(DENIED) == ["pop2"], two)
    server.client.xadd(STREAM, {"e": "! - 0.000 - - pop3"})
    server.client.hset(DENIED, "pop3", f"{V6} - root\n")
    server.client.xadd(STREAM, {"e": "! - 0.000 - - pop3"})
    until(lambda: f"{V6} - root@pop3" in two.host.denied(), two)
    found = {line.split(" ")[0]: line.split(" ")[1:] for line in two.host.denied()}
    assert (sorted(found), found[A]) == (sorted([A, B, V6]), ["-", "root@pop1"])
    assert abs(int(found[B][0]) - two.now() - 3600) < LIMIT
    one.host.lift(A)
    one.host.lift(B)
    one.start()
    until(lambda: two.host.denied() == [f"{V6} - root@pop3"], one, two)


def test_what_changes_at_the_server_without_a_word_is_heard_in_time(
    server: Server, clocked: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the admin lifts the denials of a host that is gone for good."""
    one = clocked("pop1", server.url)
    server.client.hset(DENIED, "pop3", f"{A} - root\n")
    until(one.host.denied, one)
    monkeypatch.setattr(denying, "AGAIN", 0.1)
    server.client.hset(DENIED, "pop3", "")
    until(lambda: not one.host.denied(), one)


def test_a_host_that_was_not_heard_is_known_by_what_it_has_told_the_server(server: Server, clocked: Hosts) -> None:
    one = clocked("pop1", server.url)
    until(lambda: server.client.hexists(DENIED, "pop1"), one)
    assert one.agent
    one.agent.close()
    one.agent = None
    server.client.delete(STREAM)  # as after a window in which nobody has logged in
    two = clocked("pop2", server.url)
    until(lambda: two.log.lines and two.host.fleet["known"] == ["pop1"], two)
    assert two.host.fleet["hosts"] == {}


def test_denials_that_take_too_much_memory_are_not_read_and_all_else_goes_on(
    server: Server, clocked: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = clocked("pop1", server.url), clocked("pop2", server.url)
    one.host.deny(A)
    until(lambda: two.host.denied() == [f"{A} - root@pop1"], one, two)
    monkeypatch.setattr(denying, "AGAIN", 0.1)
    server.client.hset(DENIED, "pop3", "x" * LARGEST)
    until(lambda: "bytes at the server, hosts read " in two.host.error, one, two)
    two.login(B)
    until(lambda: one.host.hears(B) == "live", one, two)
    assert two.host.denied() == [f"{A} - root@pop1"]
    server.client.hset(DENIED, "pop3", f"{C} - root\n")
    until(lambda: len(two.host.denied()) == 2 and not two.host.error, one, two)


def test_where_denials_cannot_be_asked_for_logins_and_ends_are_told_all_the_same(
    server: Server, clocked: Hosts
) -> None:
    one, two = clocked("pop1", server.url), clocked("pop2", server.url)
    one.login(A)
    until(lambda: two.host.hears(A) == "live", one, two)
    server.client.delete(DENIED)
    server.client.set(DENIED, "another program's")
    one.host.deny(C)
    until(lambda: "another program uses a key of that name" in one.host.error, one, two)
    one.host.end_grant(A)
    one.login(B)
    until(lambda: (two.host.hears(A), two.host.hears(B)) == ("ended", "live"), one, two)
    server.client.delete(DENIED)
    until(lambda: two.host.denied() == [f"{C} - root@pop1"], one, two)


def test_who_has_more_denials_than_hosts_can_heed_may_lift_some(server: Server, clocked: Hosts) -> None:
    server.client.hset(f"{STREAM}:denied", "pop3", f"{B} - root\n" * (denials.MOST + 1))
    server.client.hset(f"{STREAM}:denied", "pop1", f"{A} - root\n{B} - root\n")
    one = clocked("pop1", server.url)
    one.host.deny(A)
    until(lambda: server.client.hget(f"{STREAM}:denied", "pop1") == f"{A} - root\n", one)


@pytest.mark.parametrize("whose", ["the server's", "this host's"])
def test_a_clock_that_is_put_loses_no_entry(server: Server, clocked: Hosts, whose: str) -> None:
    one, two = clocked("pop1", server.url), clocked("pop2", server.url)
    until(lambda: one.log.lines and two.log.lines, one, two)
    two.login(A)
    until(server.lines, two)
    assert one.agent and one.agent._reader
    wait(lambda: not one.agent._reader._read.empty())  # type: ignore[union-attr]
    if whose == "this host's":
        one.ahead += 3600
    else:
        one.agent._clock.ahead += 3600  # what was measured before the server's went an hour ahead
    until(lambda: one.host.hears(A) == "live", one)
    assert abs(one.host.time(A) - one.now()) < LIMIT
    assert server.lines() == [f"+ {A} alice pop3 pop2"]


def test_a_renewal_is_told_a_minute_before_the_grant_is_due(server: Server, clocked: Hosts) -> None:
    one = clocked("pop1", server.url)
    one.login(A)
    until(lambda: one.agent and one.agent._seen, one)  # told, and heard before the clock moves, as it is in truth
    for minute, other in ((5, B), (10, "192.0.2.12")):  # who is told of at once, and so after A was looked at
        one.ahead = 60 * minute
        one.login(A)
        one.login(other)
        until(lambda o=other: f"+ {o} alice pop3 pop1" in server.lines(), one)  # type: ignore[misc]
        assert server.lines().count(f"+ {A} alice pop3 pop1") == 1
    one.ahead = 60 * 14 + 1
    until(lambda: server.lines().count(f"+ {A} alice pop3 pop1") == 2, one)
    fields = server.client.xrange(STREAM)[-1][1]["e"].split(" ")
    assert 240 < float(fields[2]) < 240 + LIMIT  # the login was at the tenth minute


def test_a_grant_that_is_due_goes_without_a_word(server: Server, clocked: Hosts) -> None:
    one = clocked("pop1", server.url)
    one.login(A)
    until(lambda: len(server.lines()) == 1, one)
    assert one.agent
    one.ahead = 901
    one.agent._clock._since += 901  # time has passed: the clock was not put
    one.host.end_grant(A)
    one.login(B)
    until(lambda: f"+ {B} alice pop3 pop1" in server.lines(), one)
    assert server.lines() == [f"+ {A} alice pop3 pop1", f"+ {B} alice pop3 pop1"]


def test_who_logs_in_while_much_is_heard_is_told_of_at_once(server: Server, clocked: Hosts) -> None:
    with server.client.pipeline() as pipe:
        for n in range(3 * COUNT):
            pipe.xadd(STREAM, {"e": f"+ 10.0.{n >> 8}.{n & 255} 0.000 eve pop3 pop9"})
        pipe.execute()
    one = clocked("pop1", server.url)
    assert one.agent
    one.login(A)
    until(lambda: server.lines_of("pop1"), one)
    assert not one.agent._knows.is_complete
    until(lambda: len(list(one.host.told.glob("10.*"))) == 3 * COUNT, one)
    assert server.lines_of("pop1") == [f"+ {A} alice pop3 pop1"]


def test_what_changes_while_too_much_changes_is_found(
    server: Server, clocked: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """inotify says but that it lost count: inotify(7), IN_Q_OVERFLOW."""
    one = clocked("pop1", server.url)
    one.login(A)
    until(lambda: len(server.lines()) == 1, one)
    real = Watch.names

    def lost(its: Watch) -> set[str]:
        if real(its):
            raise Lost
        return set()

    monkeypatch.setattr(Watch, "names", lost)
    one.host.end_grant(A)
    one.login(B)
    until(lambda: len(server.lines()) == 3, one)
    assert sorted(server.lines()[1:]) == [f"+ {B} alice pop3 pop1", f"- {A} alice pop3 pop1"]


def test_one_line_for_each_trouble_and_one_when_it_is_over(server: Server, clocked: Hosts) -> None:
    server.end()
    one = clocked("pop1", server.url)
    end = time.monotonic() + 3
    until(lambda: time.monotonic() > end, one)
    assert len(one.log.lines) == 1
    server.start()
    until(lambda: len(one.log.lines) == 2, one)
    assert one.log.lines[1] == f"connected: {server.url} as pop1"
    server.client.xadd(STREAM, {"x": "y"})
    server.client.xadd(STREAM, {"x": "y"})
    one.login(A)
    until(lambda: server.lines_of("pop1"), one)
    until(lambda: len(one.log.lines) == 3, one)
    assert f"{STREAM}: ignored: " in one.log.lines[2]


def test_hosts_of_one_name_hear_each_other_and_end_nothing_but_their_own(
    server: Server, clocked: Hosts, tmp_path: Path
) -> None:
    (tmp_path / "x").mkdir()
    one, two = clocked("pop1", server.url), Clocked(tmp_path / "x", "pop1", server.url)
    two.start()
    assert two.agent
    try:
        until(lambda: one.log.lines and two.log.lines, one, two)
        for host, name in ((one, A), (one, C), (two, B)):
            host.login(name)
        until(lambda: (two.host.hears(A), two.host.hears(C), one.host.hears(B)) == ("live", "live", "live"), one, two)
        until(lambda: "pop1" in one.host.fleet["hosts"], one)
        assert [line.partition(", too: ")[0] for line in one.log.lines[1:]] == [
            f"warning: {STREAM}: another host calls itself pop1"
        ]
        two.agent.close()
        two.host.end_grant(B)
        two.start()
        until(lambda: one.host.hears(B) == "ended", one, two)
    finally:
        two.agent.close()
    assert server.lines()[3:] == [f"- {B} alice pop3 pop1"]
    assert (one.host.hears(A), two.host.hears(A), two.host.hears(C)) == ("", "live", "live")


def test_what_a_host_wrote_before_it_was_booted_is_no_other_host(server: Server, clocked: Hosts) -> None:
    one = clocked("pop1", server.url)
    one.login(A)
    until(server.lines, one)
    assert one.agent
    one.agent.close()
    shutil.rmtree(one.host.told)
    one.start()
    one.login(B)
    until(lambda: len(server.lines()) == 2, one)
    until(lambda: one.host.fleet["connected"], one)
    assert (one.host.fleet["hosts"], one.host.hears(A)) == ({}, "")  # its stamp says so
    assert not [line for line in one.log.lines if "another host" in line]


def test_what_was_ended_while_a_host_was_down_stays_ended_after_a_boot_and_ends_on_the_others(
    server: Server, clocked: Hosts
) -> None:
    one, two = clocked("pop1", server.url), clocked("pop2", server.url)
    one.login(A)
    one.login(B)
    until(lambda: two.host.hears(A) == two.host.hears(B) == "live", one, two)
    assert one.agent
    one.agent.close()
    shutil.rmtree(one.host.told)
    one.start()
    until(lambda: one.log.lines.count(f"connected: {server.url} as pop1") == 2, one, two)
    one.agent.close()  # once more, and not by a boot: what it has told before that is still in the stream
    one.host.end_grant(A)
    one.start()
    until(lambda: two.host.hears(A) == "ended", one, two)
    assert (one.host.hears(A), two.host.hears(B)) == ("ended", "live")


def test_a_server_that_is_back_is_told_within_a_second(
    server: Server, clocked: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock of the test's own, which stands still but for what the agent has to wait."""
    ticks = 0.0
    monkeypatch.setattr("share.agent.time", SimpleNamespace(time=time.time, monotonic=lambda: ticks))
    one = clocked("pop1", server.url)
    until(lambda: one.log.lines, one)
    server.end()
    one.login(A)
    until(lambda: len(one.log.lines) == 2, one)
    assert one.agent
    for _ in range(60):  # however long it is away
        ticks += 1.0
        one.agent.turn(0)
        assert one.agent._pause() <= 1.0
    server.start()
    ticks += 1.0
    until(server.lines, one)


@pytest.fixture
def certified(servers: Servers, tmp_path: Path) -> Server:
    """A server with TLS alone, and a certificate of its own authority, for the name localhost."""
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    files = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "certificate")]
    subprocess.run([*request, *names, *files], check=True, capture_output=True)
    tls = ["--tls-cert-file", str(tmp_path / "certificate"), "--tls-key-file", str(tmp_path / "key")]
    return servers(*tls, "--tls-auth-clients", "no")


def test_a_certificate_is_looked_at_and_its_name_as_well(
    certified: Server, clocked: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_name = clocked("pop1", f"rediss://localhost:{certified.port}")
    until(lambda: by_name.log.lines, by_name)
    assert "authority that this host trusts" in by_name.log.lines[0]
    plain = clocked("pop2", certified.url)
    until(lambda: plain.log.lines, plain)
    assert "write rediss:// in share" in plain.log.lines[0]
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate"))
    until(lambda: len(by_name.log.lines) == 2, by_name)
    assert by_name.log.lines[1].startswith("connected: rediss://localhost")
    by_address = clocked("pop3", f"rediss://127.0.0.1:{certified.port}")
    until(lambda: by_address.log.lines, by_address)
    assert "its certificate must be for the name in share" in by_address.log.lines[0]


def test_a_folder_that_is_taken_away_is_no_end_of_grants(server: Server, clocked: Hosts) -> None:
    one = clocked("pop1", server.url)
    one.login(A)
    until(lambda: len(server.lines()) == 1, one)
    os.rename(one.host.stamps, one.host.folder / "away")
    with pytest.raises(Exception, match="another folder is in its place"):
        until(lambda: False, one)
    assert len(server.lines()) == 1
