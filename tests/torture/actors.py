"""Those who work on one host at once, each in a process of its own.

`python -m tests.torture.actors ROLE ...` is one of them; it prints a line of JSON for each thing it did.
"""

from __future__ import annotations

import json
import os
import random
import signal
import smtplib
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import count

from popips import grant
from popips.login import Login as Who
from tests.box import server_for
from tests.torture.hosts import ADDRESSES, TOGETHER, popips_of, put

HOOK_EVERY = 20  # logins, one of them through popips-hook
BY_HOOK = "by popips-hook"  # which tells nobody but the log what became of it
BY_ANOTHER = "by another process"
SELF = (sys.executable, "-m", "tests.torture.actors")
EXPECTED = {"192.0.2.10": 250, "2001:db8::10": 550, "192.0.2.11": 550}  # client: code of its RCPT


@dataclass(frozen=True)
class Login:
    address: str
    verdict: str  # or one of the above, or the error that was raised
    start: float  # seconds since the epoch
    seconds: float


@dataclass(frozen=True)
class Session:
    client: str
    reply: str  # to RCPT, or to MAIL if that was refused already
    start: float  # seconds since the epoch
    end: float
    seconds: float  # that the reply took

    @property
    def is_right(self) -> bool:
        return self.reply.startswith(f"{EXPECTED[self.client]} ")


def tell(done: Login | Session) -> None:
    print(json.dumps(asdict(done)))


def log_in(conf: str, hook: str, logins: str, seed: str) -> None:
    dice = random.Random(seed)
    for number in range(int(logins)):
        address, start, begun = dice.choice(ADDRESSES), time.time(), time.monotonic()
        try:
            verdict = by_hook(conf, hook, address) if number % HOOK_EVERY == 0 else log_in_once(conf, address)
        except Exception as error:
            verdict = repr(error)
        tell(Login(address, verdict, start, time.monotonic() - begun))


def log_in_once(conf: str, address: str) -> str:
    with popips_of(conf) as host:
        outcome = grant.grant(host, address, Who("alice", "pop3", "crowd"), lambda login, outcome: None)
    return outcome.verdict if outcome else BY_ANOTHER


def by_hook(conf: str, hook: str, address: str) -> str:
    pam = {"PAM_RHOST": address, "PAM_USER": "alice", "PAM_SERVICE": "pop3", "PAM_TYPE": "account"}
    subprocess.run([hook, "-c", conf], env=pam, check=True)
    return BY_HOOK


def hold_sessions(stop: str) -> None:
    while not os.path.exists(stop):
        for client in EXPECTED:
            start, begun = time.time(), time.monotonic()
            try:
                with smtplib.SMTP(server_for(client), 25, "client.example.test", 60, (client, 0)) as smtp:
                    smtp.ehlo()
                    code, text = smtp.mail("alice@example.test")
                    if code == 250:
                        begun = time.monotonic()
                        code, text = smtp.rcpt("bob@outside.example")
                reply = f"{code} {text.decode()}"
            except OSError as error:
                reply = repr(error)
            tell(Session(client, reply, start, time.time(), time.monotonic() - begun))


def change_for_ever(conf: str, seed: str) -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):  # a shell's background jobs ignore some of them
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    dice = random.Random(seed)
    for version in count():
        put(conf, dict.fromkeys(TOGETHER, f"550 since {version}"))
        address = dice.choice(ADDRESSES)
        if log_in_once(conf, address) in (grant.GRANTED, grant.RENEWED):
            print(address, flush=True)


if __name__ == "__main__":
    roles: dict[str, Callable[..., None]] = {role.__name__: role for role in (log_in, hold_sessions, change_for_ever)}
    roles[sys.argv[1]](*sys.argv[2:])
