"""Run in the box: the clients of its servers, and a reader of the map.

client.py pop3 ROUNDS FILE STACK...   logins, by turns with each of these texts in FILE, which is a PAM service
client.py rcpts COUNT CODE            so many RCPTs in one session, each of which is so answered
client.py rcpt FILE                   the answers to RCPTs, until FILE is there
client.py lock FILE MAP               waits for the shared lock of the map, until FILE is there
client.py logins FILE HOOK CONF STAMPS FIRST   logins from new addresses, until FILE is there
client.py flood FILE HOOK CONF        logins of one user from ever new addresses of a /64, until FILE is there

They print JSON: seconds; from the third on by kind, pairs of seconds, when (of time.perf_counter) and how long.
"""

from __future__ import annotations

import fcntl
import json
import os
import smtplib
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.site import READER, SENDER, address
from tests.box import PASSWORD
from tests.lab.client import Pop3

SERVER = "192.0.2.1"
RCPTS = 20  # in a session
LOGIN_EVERY = 0.2  # seconds
FLOOD_EVERY = 0.03  # seconds: 2,000 a minute
GIVEN_UP = 60.0  # seconds
Pairs = dict[str, list[tuple[float, float]]]
PAUSE = 0.002  # seconds between two RCPTs: a mail host that is neither idle nor flooded


def pop3(rounds: str, file: str, *stacks: str) -> list[list[float]]:
    """Log in; return the seconds from the connection to the +OK, a list for each stack."""
    times: list[list[float]] = [[] for _ in stacks]
    for _ in range(int(rounds)):
        for stack, took in zip(stacks, times):
            Path(file).write_text(stack)
            start = time.perf_counter()
            session = Pop3("pop3", READER, SERVER)
            session.user("alice")
            session.pass_(PASSWORD)
            took.append(time.perf_counter() - start)
            session.quit()
            time.sleep(0.01)  # the session's processes end
    return times


def rcpt(stop: str) -> Pairs:
    """Ask whether the client may relay, over a new connection for each twenty times."""
    times = []
    while not os.path.exists(stop):
        with smtplib.SMTP(SERVER, 25, "client.example.test", 60, (SENDER, 0)) as session:
            session.ehlo()
            session.mail("alice@example.test")
            for number in range(RCPTS):
                start = time.perf_counter()
                code, text = session.rcpt(f"bob{number}@outside.example")
                times.append((start, time.perf_counter() - start))
                if code != 250:
                    raise SystemExit(f"RCPT: {code} {text!r}")
                time.sleep(PAUSE)
    return {"rcpt": times}


def rcpts(count: str, wanted: str) -> list[float]:
    """Ask so many times in one session whether the client may relay, which is so answered; return the seconds."""
    times = []
    with smtplib.SMTP(SERVER, 25, "client.example.test", 60, (SENDER, 0)) as session:
        session.ehlo()
        for number in range(int(count)):
            if number % RCPTS == 0:
                session.rset()
                session.mail("alice@example.test")
            start = time.perf_counter()
            code, text = session.rcpt(f"bob{number % RCPTS}@outside.example")
            times.append(time.perf_counter() - start)
            if str(code) != wanted:
                raise SystemExit(f"RCPT: {code} {text!r}")
    return times


def lock(stop: str, path: str) -> Pairs:
    """Take the lock as sendmail does, over and over, ahead of all other processes, so that a wait is the holder's.

    Where nobody holds it there is no wait: the time that it takes then is this process's own, or the machine's.
    """
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    waits = []
    while not os.path.exists(stop):
        fd = os.open(path, os.O_RDONLY)
        start = time.perf_counter()
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            waits.append((start, 0.0))
        except BlockingIOError:
            fcntl.flock(fd, fcntl.LOCK_SH)
            waits.append((start, time.perf_counter() - start))
        os.close(fd)
        time.sleep(0.0001)
    return {"lock": waits}


def logins(stop: str, *words: str) -> Pairs:
    """Log in from a new address every LOGIN_EVERY; return how long the hook took, and until the grant was settled."""
    hook, conf, stamps, first = words
    took, until = [], []

    def log_in(number: int) -> None:
        start, seconds = by_hook(hook, conf, address(number), "alice")
        took.append((start, seconds))
        stamp = Path(stamps, address(number))
        while not (stamp.exists() and stamp.stat().st_mode & 0o100) and time.perf_counter() < start + GIVEN_UP:
            time.sleep(0.001)
        until.append((start, time.perf_counter() - start))

    keep_on(stop, LOGIN_EVERY, log_in, int(first))
    return {"hook": took, "granted": until}


def flood(stop: str, hook: str, conf: str) -> Pairs:
    """Log in from another address of a /64 every FLOOD_EVERY; return how long the hook took."""
    took = []

    def log_in(number: int) -> None:
        took.append(by_hook(hook, conf, f"2001:db8:1:2::{number:x}", "mallory"))

    keep_on(stop, FLOOD_EVERY, log_in, 1)
    return {"hook": took}


def by_hook(hook: str, conf: str, client: str, user: str) -> tuple[float, float]:
    """Log a user in from an address by the hook; return when that began, and how long it took."""
    start = time.perf_counter()
    pam = {"PAM_RHOST": client, "PAM_USER": user, "PAM_SERVICE": "pop3", "PAM_TYPE": "account"}
    subprocess.run([hook, "-c", conf], env=pam, check=True, stderr=subprocess.DEVNULL)
    return start, time.perf_counter() - start


def keep_on(stop: str, every: float, log_in: Callable[[int], None], first: int) -> None:
    """Call log_in with the next number, the first one given, every so many seconds, until a file is there."""
    with ThreadPoolExecutor(100) as threads:
        number = first
        while not os.path.exists(stop):
            threads.submit(log_in, number)
            number += 1
            time.sleep(every)


if __name__ == "__main__":
    sessions: tuple[Callable[..., object], ...] = (pop3, rcpts, rcpt, lock, logins, flood)
    json.dump({session.__name__: session for session in sessions}[sys.argv[1]](*sys.argv[2:]), sys.stdout)
