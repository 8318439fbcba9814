"""Hostile clients of popips-mapd: a million requests, whole, cut anywhere, wrong; slow ones, deaf ones, thousands.

Whatever they do, who asks politely is answered, nobody relays who may not, and the server stays as small as it was.
"""

from __future__ import annotations

import contextlib
import random
import resource
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from mapd import wire
from tests.box import CRON_ENVIRONMENT
from tests.torture import Row
from tests.torture.ground import Ground, Where

GRANTED, OTHER = "192.0.2.1", "192.0.2.2"
OPEN, CLOSED = b"8:OK RELAY,", wire.NOT_FOUND
SERVER_MOST = 64 << 20  # bytes
STARTS = 30.0  # seconds, at most
AT_ONCE = 50  # connections
WAITING = 20  # turns whose connections stay, with half a request or answers that nobody takes
BURST = 100  # requests
DEAF = 5000  # turns of one that takes no answers
LIMIT = 12_000  # descriptors


def asked(text: str) -> bytes:
    """Return a question to a socket map."""
    return b"%d:popips %b," % (len(text) + 7, text.encode())


def policy(address: str) -> bytes:
    """Return a question in Postfix's policy protocol."""
    return b"request=smtpd_access_policy\nprotocol_state=RCPT\nclient_address=%b\n\n" % address.encode()


PIECES = {
    "m": [asked(OTHER), asked("x" * 4000), b"0:,", b"17:popips 192.0.2.", b"4096:", b"99999:", b"-1:,", b",", b"\xff"],
    "p": [policy(OTHER), policy("x" * 9000), b"\n\n", b"=\n\n", b"request=", b"x" * 5000, b"\0", b"client_address="],
}


def run(where: Where, requests: int, crowd: int = 10_000) -> Row:
    """Send so many requests, then open so many connections at once; a case is a polite question meanwhile."""
    row, dice = Row("hostile clients of popips-mapd"), random.Random(requests)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, LIMIT), hard))
    try:
        with where.ground() as ground, _serving(ground) as pid, _client(ground, "m") as polite:
            with contextlib.ExitStack() as waiting:
                for turn in range(max(1, requests // (AT_ONCE * BURST))):
                    for its in (_client(ground, "mp"[turn % 2]) for _ in range(AT_ONCE)):
                        _harass(its, "mp"[turn % 2], dice)
                        if turn < WAITING:
                            waiting.push(its)
                        else:
                            its.close()
                    row.add(_fault(polite, pid))
                deaf = waiting.enter_context(_client(ground, "m"))
                deaf.setblocking(False)
                for _ in range(DEAF):  # it goes on for as long as it is read from
                    _send(deaf, b"0:," * (1 << 12))
                    polite.sendall(asked(OTHER))
                    polite.recv(64)
                row.add(_fault(polite, pid))
            with contextlib.ExitStack() as there:
                for number in range(crowd):
                    its = there.enter_context(_client(ground, "m"))
                    _send(its, asked(OTHER)[: number % 20])
                    if not number % 500:
                        row.add(_fault(polite, pid))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return row


@contextlib.contextmanager
def _serving(ground: Ground) -> Iterator[int]:
    """Have the installed program at work for one address that may relay; return its process id."""
    ground.configure(map="mapd", mapd_socket=str(ground.folder / "m"), mapd_policy=str(ground.folder / "p"))
    (ground.stamps / GRANTED).touch(0o700)
    command = [str(ground.programs / "sbin/popips-mapd"), "-c", str(ground.conf)]
    with subprocess.Popen(command, env=CRON_ENVIRONMENT) as process:
        try:
            end = time.monotonic() + STARTS
            while not (ground.folder / "p").exists() and time.monotonic() < end:
                time.sleep(0.01)
            yield process.pid
        finally:
            process.terminate()


def _client(ground: Ground, path: str) -> socket.socket:
    its = socket.socket(socket.AF_UNIX)
    # a blocking connect() waits while the queue is full, as an MTA's does; with settimeout() it fails with EAGAIN
    its.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(STARTS), 0))
    its.connect(str(ground.folder / path))
    its.settimeout(STARTS)
    return its


def _harass(its: socket.socket, path: str, dice: random.Random) -> None:
    """Send a burst of good and bad requests, or of good ones, whole or cut anywhere; take some of the answers."""
    its.setblocking(False)
    good, cut = PIECES[path][:1], dice.random() < 0.5
    data = b"".join(dice.choices(PIECES[path] if dice.random() < 0.5 else good, k=BURST))
    while data:
        at = dice.randrange(1, 200) if cut else len(data)
        if not _send(its, data[:at]):
            return
        data = data[at:]
        if dice.random() < 0.5:
            with contextlib.suppress(OSError):
                its.recv(4096)


def _send(its: socket.socket, data: bytes) -> bool:
    """Send what it takes; return whether it took something."""
    try:
        its.send(data)
    except OSError:  # it is full, or was cut off
        return False
    return True


def _fault(polite: socket.socket, pid: int) -> str:
    """Return what is wrong with the answers to an ordinary client, or with the server's size; "" if nothing is."""
    for text, answer in ((GRANTED, OPEN), (OTHER, CLOSED)):
        polite.sendall(asked(text))
        if (said := polite.recv(64)) != answer:
            return f"{text}: {said!r}"
    status = Path(f"/proc/{pid}/status").read_text()
    size = int(status.partition("VmRSS:")[2].split()[0]) << 10
    return f"{size >> 20} MiB in memory" if size > SERVER_MOST else ""
