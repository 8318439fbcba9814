"""python -m bench.fleet: hosts that share their logins by one real server: what a login costs, how soon it is known.

Two hosts are popips-share as it is installed, with stamps; the others of the hundred read the stream as that does, but
write nothing down. What is aimed at stands behind a value. Run it under tests/lab/cover.sh.
"""

from __future__ import annotations

import math
import os
import random
import re
import selectors
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from bench.lab import PAM
from bench.race import run
from bench.site import address
from bench.table import Times, share
from popips.stamps import RUN_FILE
from share import entry
from share.engine import COUNT, PAUSE
from share.entry import LOGIN, Entry
from share.ledger import Event, when
from share.watch import Watch
from tests.box import install
from tests.share import STREAM, Host, Server, wait

HOSTS, RATE, SECONDS, AWAY, LOGINS = 100, 100, 20, 5, 300
MANY, WINDOW, POLL = 100_000, 900.0, 300.0
ID = re.compile(rb"\r\n(\d+-\d+)\r\n")


def say(what: str, value: str, aim: str = "") -> None:
    print(f"{what}: {value}{f' (at most {aim})' if aim else ''}", flush=True)


def read(port: int, hosts: int) -> None:
    """Read the stream as so many hosts, for ever; who loses the server asks for it every half second."""
    at, selector, cursors = [0.0] * hosts, selectors.DefaultSelector(), [b"$"] * hosts
    sockets: list[socket.socket | None] = [None] * hosts
    while True:
        for n in [n for n in range(hosts) if at[n] <= time.monotonic()]:
            at[n] = time.monotonic() + 0.5
            try:
                its = sockets[n]
                if its is None:
                    its = sockets[n] = socket.create_connection(("127.0.0.1", port))
                    selector.register(its, selectors.EVENT_READ, n)
                its.sendall(b"XREAD COUNT %d BLOCK 1000 STREAMS %s %s\r\n" % (COUNT, STREAM.encode(), cursors[n]))
                at[n] = math.inf
            except OSError:
                pass  # whoever is connected hears of it below
        for key, _ in selector.select(PAUSE / 2):
            data = b""
            with suppress(OSError):
                data = key.fileobj.recv(1 << 16)  # type: ignore[union-attr]
            if not data:
                selector.unregister(key.fileobj)
                sockets[key.data] = None
            cursors[key.data] = (ID.findall(data) or [cursors[key.data]])[-1]
            at[key.data] = time.monotonic() + (PAUSE if data else 0.5)


@contextmanager
def readers(server: Server, hosts: int) -> Iterator[None]:
    """Have so many hosts read."""
    child = os.fork()
    if not child:
        try:
            read(server.port, hosts)
        finally:
            os._exit(1)
    try:
        wait(lambda: server.client.info("clients")["connected_clients"] >= hosts)
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def propagate(server: Server, one: Host, two: Host, hosts: int) -> None:
    """Log in at one host, and see when the other knows."""
    watch, came, sent = Watch(str(two.told)), dict[str, float](), dict[str, float]()
    before = server.client.info()

    def look() -> None:
        while len(came) < RATE * SECONDS:
            came.update({name: time.time() for name in watch.names() if name[0] != "." and name not in came})
            time.sleep(0.0002)

    thread = threading.Thread(target=look)
    thread.start()
    start = time.monotonic()
    for n in range(RATE * SECONDS):
        time.sleep(max(0.0, start + n / RATE - time.monotonic()))
        name = f"10.{hosts}.{n >> 8}.{n & 255}"
        sent[name] = time.time()
        one.login(name)
    thread.join()
    took: Times = [1000 * (came[name] - then) for name, then in sent.items()]
    say(f"{RATE} logins/s to the other host, {hosts} hosts, p50", f"{share(0.5)(took):.1f} ms")
    say("the same, p99", f"{share(0.99)(took):.1f} ms", "20 ms")
    now, seconds = server.client.info(), time.monotonic() - start
    cpu = sum(now[f"used_cpu_{of}"] - before[f"used_cpu_{of}"] for of in ("user", "sys"))
    whats = "commands_processed", "net_input_bytes", "net_output_bytes"
    each = [(now[f"total_{what}"] - before[f"total_{what}"]) / len(sent) for what in whats]
    say("cost of a login for the server", "{:.0f} commands, {:.0f} B in and {:.0f} B out".format(*each))
    say("the server's processor", f"{100 * cpu / seconds:.0f} % of a core")


def recover(server: Server, one: Host, two: Host) -> None:
    """Kill the server, log in, and see how long after its return the other host knows."""
    for number, name in enumerate(("198.51.100.1", "198.51.100.2", "198.51.100.3")):
        server.end(signal.SIGKILL)
        wait(lambda: one.error and two.error)
        one.login(name)
        time.sleep(AWAY + number / 3)
        server.start()
        back = time.monotonic()
        wait(lambda name=name: two.hears(name) == "live")  # type: ignore[misc]
        say(
            f"until logins are known after a server is back that was away for {AWAY} s",
            f"{time.monotonic() - back:.2f} s",
            "2 s",
        )
        wait(lambda: not one.error and not two.error)


def catch_up(server: Server, host: Host, folder: Path) -> None:
    """Fill the stream, weigh it, and start a host that knows nothing."""
    server.client.flushall()
    names = [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(MANY)]
    lines = [entry.pack(Entry(LOGIN, name, 0.0, "jsmith42", "imap", "pop3", "Aa0-"), 0.0) for name in names]
    for start in range(0, MANY, 500):
        with server.client.pipeline(transaction=False) as pipe:
            for line in lines[start : start + 500]:
                pipe.xadd(STREAM, {entry.FIELD: line})
            pipe.execute()
    weight = server.client.memory_usage(STREAM, samples=0)
    say("memory of a grant on the server", f"{weight / MANY:.1f} B", "70 B")
    begin = time.monotonic()
    host.start()
    wait((host.told / names[-1]).exists)
    ours = time.monotonic() - begin
    begin = time.monotonic()
    (folder / "plain").mkdir()
    for name in names:
        fd = os.open(folder / "plain" / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o744)
        os.write(fd, b"jsmith42 imap pop3\n")
        os.utime(fd, (0, 0))
        os.close(fd)
    theirs = time.monotonic() - begin
    say(
        f"a new host reads {MANY:,} grants", f"{ours:.1f} s, {ours / theirs:.1f} x a plain loop that writes them", "3 x"
    )


def poll() -> None:
    """Count what clients that look for mail every five minutes cost, and for how long others deny them."""
    told, logins, denied, lasted, chance = 0, 0, 0.0, 0.0, random.Random(16)
    for _ in range(1000):
        known, at = None, None
        now = last = first = chance.uniform(0, POLL)
        while now < 24 * 3600:
            if at is not None and at <= now:  # the last login but this was told when it could wait no longer
                known, at, told = Event(last, True), None, told + 1
            last, logins = now, logins + 1
            at = when(now, known, now, WINDOW)
            if at is not None and at <= now:
                denied += max(0.0, now - known.time - WINDOW) if known else 0.0
                known, at, told = Event(now, True), None, told + 1
            now += chance.gauss(POLL, 5.0)
        lasted += last - first
    say("messages per login, with clients that fetch mail every 5 minutes", f"{told / logins:.2f}", "0.55")
    say(
        "share of the time in which they have a grant on one host and are denied on another",
        f"{100 * denied / lasted:.2f} %",
        "0 %",
    )


def watched(one: Host, two: Host) -> None:
    """Log in from new addresses by turns at two hosts, of which popips-share watches the first one."""
    took: tuple[Times, Times] = [], []
    for host in (one, two):
        host.configure(map="mapd")
        (host.stamps / RUN_FILE).touch()  # a run was there a moment ago
    for n in range(LOGINS):
        for host, times in zip((one, two), took):
            hook = [str(host.program.parents[1] / "libexec/popips/popips-hook"), "-c", str(host.conf)]
            times.append(1000 * run(hook, {**PAM, "PAM_RHOST": address(n)})[0])
    ours, theirs = map(share(0.5), took)
    say("a login, new address, with popips-share", f"{ours:.2f} ms, {ours / theirs:.2f} x without", "1.05 x")


def main() -> None:
    """Measure and print."""
    poll()
    with tempfile.TemporaryDirectory(prefix="popips-", dir="/dev/shm") as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "server").mkdir()
        programs, server = install(folder / "prefix"), Server(folder / "server")
        stack.callback(server.end, signal.SIGKILL)
        hosts = [Host(folder, Path(str(programs)), f"pop{n}", server.url) for n in (1, 2, 3)]
        for host in hosts:
            stack.callback(host.kill)
        one, two, three = hosts
        for host in (one, two):
            host.start()
        wait(lambda: one.fleet["connected"] and two.fleet["connected"])
        propagate(server, one, two, 2)
        with readers(server, HOSTS - 2):
            propagate(server, one, two, HOSTS)
            recover(server, one, two)
        two.kill()
        watched(one, two)
        one.kill()
        catch_up(server, three, folder)


if __name__ == "__main__":
    main()
