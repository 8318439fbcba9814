"""The measurements of popips-mapd: beside a C program that does the same, and logins with it and with an own map."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.lab import Lab, Untimed
from bench.rows import FRESH
from bench.site import HERE, LIVE, Site
from bench.table import Row, Times, share

CLIENTS = 50
COUNT = 50_000  # look-ups of a turn
TURNS = 5
CONNECTIONS = 1000
FOUND = b"8:OK RELAY,"
WAIT = 10.0  # seconds until a server answers


def mapd(lab: Lab) -> Iterator[Row]:
    """Time look-ups and logins, and weigh connections."""
    site = lab.site("mapd", map="mapd", mapd_socket=str(lab.box.scratch / "m"), mapd_policy=str(lab.box.scratch / "p"))
    site.stamp(range(1 << 16), LIVE / 8)
    program, theirs = compiled(lab), str(lab.box.scratch / "theirs")
    with ExitStack() as stack:
        ours = lab.box.path("popips-mapd"), "-c", site.conf
        pid = stack.enter_context(_serving(ours, str(lab.box.scratch / "m")))
        stack.enter_context(_serving((program, "serve", theirs, site.stamps, 900), theirs))
        spent: dict[str, Times] = {"m": [], "theirs": []}
        waits: dict[str, Times] = {"m": [], "theirs": []}
        for _ in range(TURNS):
            for name, times in spent.items():
                *each, whole = _asked(program, lab.box.scratch / name)
                times.append(whole)
                waits[name] += each
        yield Row(f"popips-mapd, {COUNT:,} look-ups", "C, epoll and lstat", 2.5, spent["m"], spent["theirs"])
        yield Row("a look-up, 50 connections, p99", "the same", 3, waits["m"], waits["theirs"], share(0.99))
        kept = _memory_of_connections(pid, str(lab.box.scratch / "m"))
        yield Row(f"memory a connection, {CONNECTIONS:,} of them", "", 2.0, [kept], unit="kB", absolute=True)
    yield from _logins(lab, site)


def _logins(lab: Lab, site: Site) -> Iterator[Row]:
    own = lab.site("own-login", own_map="yes")
    for its in (site, own):
        lab.settle(its)
    (ours, _), (maps, _) = lab.race(lab.hook(site, "ADDRESS"), lab.hook(own, "ADDRESS"), rounds=lab.rounds, first=FRESH)
    yield Row("new address, map = mapd", "an own map", 0.9, ours, maps)


def compiled(lab: Lab) -> Path:
    """Return the C program, made from its source."""
    program = lab.box.scratch / "socketmap"
    subprocess.run(["gcc", "-O2", "-o", program, HERE / "socketmap.c"], check=True)
    return program


@contextmanager
def _serving(command: tuple[object, ...], path: str) -> Iterator[int]:
    """Have a server at work, and return its process id."""
    process = subprocess.Popen([str(word) for word in command])
    try:
        end = time.monotonic() + WAIT
        while not _answers(path):
            if process.poll() is not None or time.monotonic() > end:
                raise Untimed(f"{command}: does not answer")
            time.sleep(0.02)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _answers(path: str) -> bool:
    try:
        with _client(path) as its:
            its.sendall(b"15:popips 10.0.0.9,")
            return its.recv(64) == FOUND
    except OSError:
        return False


def _client(path: str) -> socket.socket:
    its = socket.socket(socket.AF_UNIX)
    its.connect(path)
    return its


def _asked(program: Path, path: Path) -> Times:
    """Return the milliseconds of each look-up, and last that of all."""
    command = [str(program), "ask", str(path), str(CLIENTS), str(COUNT)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(line) / 1000 for line in done.stdout.split()]


def _memory_of_connections(pid: int, path: str) -> float:
    """Return by how many kB each of many connections makes the process bigger."""
    with ExitStack() as stack:
        before = _kilobytes(pid)
        for _ in range(CONNECTIONS):
            its = stack.enter_context(_client(path))
            its.sendall(b"15:popips 10.0.0.9,")
            if its.recv(64) != FOUND:
                raise Untimed(f"{path}: a connection is not served")
        return (_kilobytes(pid) - before) / CONNECTIONS


def _kilobytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0])
