"""The installed program: sockets of its own or systemd's, signals, clients that are slow, many, or speak nonsense."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box import CRON_ENVIRONMENT
from tests.conftest import Installed
from tests.mapd.test_wire import POLICY, netstring

V4 = "192.0.2.10"
FOUND, NOT_FOUND = b"8:OK RELAY,", b"9:NOTFOUND ,"
ASK = netstring(b"popips 192.0.2.10")


class Mapd:
    """The program at work on a site; clients connect to its sockets."""

    def __init__(self, installed: Installed, folder: Path) -> None:
        self.installed, self.map, self.policy = installed, str(folder / "m"), str(folder / "p")
        self.site = installed.site
        self.site.configure(mapd_socket=self.map, mapd_policy=self.policy)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *command: str, **more: str) -> None:
        words = [*command, str(self.installed.path("popips-mapd")), "-c", str(self.site.conf)]
        self.process = subprocess.Popen(words, env=CRON_ENVIRONMENT | more, stderr=subprocess.PIPE)
        while self.process.poll() is None and not self.answers():
            time.sleep(0.01)

    def answers(self) -> bool:
        with contextlib.suppress(OSError), self.client() as its:
            return talk(its, ASK) in (FOUND, NOT_FOUND)
        return False

    def client(self, path: str = "") -> socket.socket:
        its = socket.socket(socket.AF_UNIX)
        its.settimeout(30)
        its.connect(path or self.map)
        return its

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process
        self.process.send_signal(number)
        return self.process.wait(30)

    def memory(self) -> int:
        """What it has in memory, in bytes."""
        assert self.process
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) << 10


def talk(its: socket.socket, data: bytes) -> bytes:
    """Send this; return the first answer."""
    its.sendall(data)
    return its.recv(4096)


def is_closed(its: socket.socket) -> bool:
    try:
        return its.recv(1) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False


@pytest.fixture
def mapd(installed: Installed, tmp_path: Path) -> Iterator[Mapd]:
    made = Mapd(installed, tmp_path)
    (made.site.stamps / V4).touch(0o700)
    yield made
    if made.process and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


def test_it_answers_by_both_protocols_in_one_connection_and_ends_with_0(mapd: Mapd) -> None:
    mapd.start()
    with mapd.client() as one, mapd.client(mapd.policy) as other:
        for _ in range(3):
            assert talk(one, ASK) == FOUND
            assert talk(other, POLICY + b"\n\n") == b"action=OK\n\n"
        assert talk(one, netstring(b"postfix 192.0.2.10")) == b"5:OK OK,"
        assert talk(one, ASK * 3 + netstring(b"popips 192.0.2.11")) == FOUND * 3 + NOT_FOUND
        (mapd.site.stamps / V4).unlink()
        assert talk(one, ASK) == NOT_FOUND
        assert talk(other, POLICY + b"\n\n") == b"action=DUNNO\n\n"
        assert mapd.end() == 0
    assert not any(map(os.path.lexists, (mapd.map, mapd.policy)))
    assert mapd.process and mapd.process.stderr and mapd.process.stderr.read() == b""


def test_its_sockets_are_for_root_alone_and_a_dead_ones_are_taken_over_but_not_a_live_ones(mapd: Mapd) -> None:
    mapd.start()
    assert [os.stat(path).st_mode & 0o777 for path in (mapd.map, mapd.policy)] == [0o660, 0o660]
    second = mapd.installed.run("popips-mapd")
    told = f"popips-mapd: {mapd.map}: another process listens there: end it, or name another path in popips.conf"
    assert (second.returncode, second.stderr.splitlines()[0]) == (73, told)
    assert mapd.answers()
    mapd.end(signal.SIGKILL)
    assert os.path.lexists(mapd.map)
    mapd.start()
    assert mapd.answers()


@pytest.mark.parametrize("kind", ["a file", "one socket for both"])
def test_what_is_no_socket_is_not_removed_for_one(mapd: Mapd, kind: str) -> None:
    text = Path(mapd.map)
    if kind == "a file":
        text.write_text("192.0.2.10 REJECT\n")
    else:
        mapd.site.configure(mapd_socket=mapd.map, mapd_policy=mapd.map)
    done = mapd.installed.run("popips-mapd")
    assert (done.returncode, mapd.map in done.stderr) == (73, True)
    assert kind != "a file" or text.read_text() == "192.0.2.10 REJECT\n"


def test_it_ends_with_0_and_leaves_the_sockets_of_another_alone(mapd: Mapd) -> None:
    mapd.start()
    first = mapd.process
    assert first
    Path(mapd.map).unlink()
    Path(mapd.policy).unlink()
    mapd.start()
    first.terminate()
    assert first.wait(30) == 0
    assert mapd.answers()
    Path(mapd.policy).unlink()
    assert mapd.end() == 0
    assert not Path(mapd.map).exists()


def test_where_no_descriptor_is_left_it_waits_for_one(mapd: Mapd) -> None:
    mapd.start()
    assert mapd.process
    there = len(os.listdir(f"/proc/{mapd.process.pid}/fd"))
    resource.prlimit(mapd.process.pid, resource.RLIMIT_NOFILE, (there, 4096))
    with mapd.client() as waiting:
        before = _seconds(mapd.process.pid)
        time.sleep(0.5)
        assert _seconds(mapd.process.pid) - before < 0.25  # of the half second that has gone by
        resource.prlimit(mapd.process.pid, resource.RLIMIT_NOFILE, (4096, 4096))
        assert talk(waiting, ASK) == FOUND


def _seconds(pid: int) -> float:
    """The processor's time that a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def test_sighup_has_it_go_on(mapd: Mapd) -> None:
    mapd.start()
    assert mapd.process
    for _ in range(3):
        mapd.process.send_signal(signal.SIGHUP)
        assert mapd.answers()
    mapd.site.configure(window="1s", mapd_socket=mapd.map)
    os.utime(mapd.site.stamps / V4, (1, 1))
    with mapd.client() as its:
        assert talk(its, ASK) == NOT_FOUND
    assert mapd.end(signal.SIGINT) == 0


HAND_OVER = """
import os, sys
for number in (3, 4):
    os.dup2(int(sys.argv[number - 2]), number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES="policy:map")
os.execv(sys.argv[3], sys.argv[3:])
"""


def test_systemd_hands_it_the_sockets_and_hears_that_it_is_ready_and_lives(mapd: Mapd, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        heard = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(30)
        sockets = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2)]
        for its, path in zip(sockets, (mapd.policy, mapd.map)):
            its.bind(path)
            its.listen()
        client = stack.enter_context(mapd.client())
        client.sendall(ASK)  # before it is there
        conf, program = str(mapd.site.conf), str(mapd.installed.path("popips-mapd"))
        mapd.process = subprocess.Popen(
            ["python3", "-c", HAND_OVER, *(str(its.fileno()) for its in sockets), program, "-c", conf],
            env=CRON_ENVIRONMENT | {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"},
            pass_fds=[its.fileno() for its in sockets],
        )
        assert heard.recv(100) == b"READY=1"
        assert client.recv(100) == FOUND
        with mapd.client(mapd.policy) as other:
            assert talk(other, POLICY + b"\n\n") == b"action=OK\n\n"
        assert {heard.recv(100) for _ in range(4)} == {b"WATCHDOG=1"}
        mapd.process.terminate()
        while (text := heard.recv(100)) != b"STOPPING=1":
            assert text == b"WATCHDOG=1"
        assert mapd.process.wait(30) == 0
        assert os.path.lexists(mapd.map)  # which is systemd's


def test_with_the_right_to_look_into_roots_folder_it_needs_no_other(mapd: Mapd) -> None:
    caps = "+dac_read_search"
    setpriv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", f"--inh-caps=-all,{caps}"]
    sockets = mapd.site.folder / "open"
    sockets.mkdir()
    os.chown(sockets, 65534, 65534)
    mapd.map, mapd.policy = str(sockets / "m"), str(sockets / "p")
    mapd.site.configure(mapd_socket=mapd.map, mapd_policy=mapd.policy)
    mapd.site.conf.chmod(0o600)
    mapd.start(*setpriv, f"--ambient-caps=-all,{caps}", "--bounding-set=-all,+dac_read_search", "--no-new-privs")
    with mapd.client() as its:
        assert talk(its, ASK) == FOUND


# ---- hostile clients


def test_whoever_speaks_nonsense_is_put_out_and_the_others_are_served(mapd: Mapd) -> None:
    mapd.start()
    with mapd.client() as good:
        for nonsense in (b"GET / HTTP/1.0\r\n\r\n", b"99999:", b"\0" * 100, b"3:abcd", b"-1:,"):
            with mapd.client() as bad:
                bad.sendall(nonsense)
                assert is_closed(bad)
            assert talk(good, ASK) == FOUND
        with mapd.client(mapd.policy) as bad:
            with contextlib.suppress(OSError):
                bad.sendall(b"x" * 100_000)
            assert is_closed(bad)
        assert talk(good, ASK) == FOUND


def test_who_sends_byte_by_byte_or_takes_no_answer_costs_no_more_than_one_request(mapd: Mapd) -> None:
    mapd.start()
    before = mapd.memory()
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(mapd.client()) for _ in range(50)]
        for byte in ASK[:-1]:
            for its in slow:
                its.send(bytes([byte]))
        deaf = [stack.enter_context(mapd.client()) for _ in range(5)]
        for its in deaf:
            its.settimeout(0.1)
            with contextlib.suppress(TimeoutError):
                for _ in range(60):
                    its.sendall(b"0:," * 7000)
        with mapd.client() as good:
            assert talk(good, ASK) == FOUND
        assert {talk(its, ASK[-1:]) for its in slow} == {FOUND}
        assert mapd.memory() - before < 8 << 20


def test_with_thousands_of_connections_the_longest_idle_makes_way_and_all_who_ask_are_served(mapd: Mapd) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 12_000), hard))
    try:
        mapd.start()
        before = mapd.memory()
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(mapd.client())
            busy = stack.enter_context(mapd.client())
            for number in range(10_000):
                its = stack.enter_context(mapd.client())
                if number % 500 == 0:
                    assert (talk(busy, ASK), talk(its, ASK)) == (FOUND, FOUND)
            assert talk(busy, ASK) == FOUND
            assert is_closed(first)
            assert mapd.memory() - before < 2500 * 2048
        assert mapd.answers()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
