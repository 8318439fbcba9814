"""Many at once: logins, expiry, an admin at work and real SMTP sessions on one map; and signals in the middle of it.

`python -m tests.torture.crowd ROLE ...` is one of the processes; it prints a line of JSON for each thing it did.
"""

from __future__ import annotations

import ipaddress
import json
import os
import random
import signal
import smtplib
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from threading import Event

from popips import grants, upkeep
from popips.maps import Busy, MapError
from popips.settings import Settings, load
from popips.stamps import RUN_FILE, StampError
from tests.box import ROOT, Box, server_for
from tests.torture import Row

LIMIT = 2.0  # seconds, to the tenth, that a login may be held up
LONG_WINDOW = 3600.0  # seconds, in which nothing of a run is over
EXPIRE_EVERY, ADMIN_EVERY, LONGEST_RUN = 0.1, 0.05, 0.05  # seconds; the last: from the first grant to a signal
CLOCK_SLACK = 0.001  # seconds between time.time() and time.monotonic()
HOOK_EVERY = 20  # logins, one of them through popips-hook
BY_HOOK = "by popips-hook"  # which tells nobody but the log what became of it
SELF = (sys.executable, "-m", "tests.torture.crowd")
EXPECTED = {"192.0.2.10": 250, "2001:db8::10": 550, "192.0.2.11": 550}  # client: code of its RCPT
STATIC = (
    {"192.0.2.10": "RELAY", "ipv6:2001:db8:0:0:0:0:0:10": "REJECT"}
    | {f"203.0.113.{n}": "RELAY" for n in range(100)}
    | {f"spam{n}.example": "REJECT" for n in range(100)}
    | {f"from:user{n}@sender.example": f'ERROR:5.7.1:"550 no  mail from {n}"' for n in range(100)}
)
TOGETHER = [f"together{n}.example" for n in range(50)]  # put by one change of the map: all or none
ADDRESSES = (
    [f"198.51.100.{n}" for n in range(1, 71)]
    + [f"10.{n}.{7 * n % 256}.{n + 1}" for n in range(60)]
    + [f"2001:db8:1::{n:x}" for n in range(1, 71)]
)


@dataclass(frozen=True)
class Login:
    address: str
    verdict: str  # or BY_HOOK, or the error that was raised
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


@dataclass(frozen=True)
class State:
    """What is wrong with a map: keys of records that are lost, and of those that are left open."""

    lost: list[str]
    open: list[str]

    def __str__(self) -> str:
        return f"lost: {self.lost}, open: {self.open}" if self.lost or self.open else ""


def key_of(address: str) -> str:
    """Give the key of a grant, found without popips."""
    if ":" not in address:
        return address
    return "ipv6:" + ":".join(f"{int(group, 16):x}" for group in ipaddress.ip_address(address).exploded.split(":"))


def text_of(records: dict[str, str]) -> str:
    return "".join(f"{key}\t{value}\n" for key, value in records.items())


def stamps_of(box: Box) -> set[str]:
    return {path.name for path in box.stamps.iterdir() if not path.name.startswith(".")}


def state_of(box: Box, static: dict[str, str], stamps: Iterable[str]) -> State:
    """Compare the map with what must be there: the admin's records, and one for each of the stamps."""
    must, records = static | {key_of(name): "RELAY" for name in stamps}, box.records()
    lost = [key for key, value in must.items() if records.get(key) != value]
    return State(lost, [key for key in records if key not in must])


def settled(box: Box, static: dict[str, str]) -> tuple[set[str], State]:
    """Reconcile, then let all windows pass: give the stamps in between, and what was wrong at either time."""
    settings = load(str(box.conf)).replace(window=LONG_WINDOW)
    upkeep.expire(settings, time.time())
    stamps = stamps_of(box)
    reconciled = state_of(box, static, stamps)
    upkeep.expire(settings, time.time() + 2 * LONG_WINDOW)
    emptied = state_of(box, static, ())
    return stamps, State(reconciled.lost + emptied.lost, reconciled.open + emptied.open + list(stamps_of(box)))


# ---- the processes


def tell(done: Login | Session) -> None:
    print(json.dumps(asdict(done)))


def log_in(conf: str, hook: str, logins: str, seed: str) -> None:
    dice = random.Random(seed)
    for number in range(int(logins)):
        address, start, begun = dice.choice(ADDRESSES), time.time(), time.monotonic()
        try:
            verdict = by_hook(conf, hook, address) if number % HOOK_EVERY == 0 else grant(conf, address)
        except Exception as error:
            verdict = repr(error)
        tell(Login(address, verdict, start, time.monotonic() - begun))


def grant(conf: str, address: str) -> str:
    return grants.grant(load(conf), address, grants.Login("alice", "pop3", "crowd"), time.time()).verdict


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
    dice, settings = random.Random(seed), load(conf)
    for version in count():
        pairs = {key.encode(): f"550 since {version}".encode() for key in TOGETHER}
        upkeep.make_static(settings, settings.map, pairs, time.time())
        address = dice.choice(ADDRESSES)
        if grant(conf, address) in (grants.GRANTED, grants.RENEWED):
            print(address, flush=True)


# ---- many at once


@dataclass
class Admin:
    """The only one who changes static records; knows which must be there."""

    box: Box
    settings: Settings
    text: dict[str, str]
    inserted: dict[str, str] = field(default_factory=dict)  # since the last rebuild
    rebuilds: list[tuple[float, float]] = field(default_factory=list)  # from when to when
    faults: list[str] = field(default_factory=list)
    acts: int = 0

    def act(self) -> None:
        """Insert or delete; each fifth time build the map anew, in place and by a rename in turn."""
        self.acts += 1
        start = time.time()
        if self.acts % 5 == 0:
            self.text[f"edit{self.acts % 250}.example"] = f'ERROR:5.7.1:"550 edit  {self.acts}"'
            (self.box.write_access if self.acts % 10 else self.box.rename_access)(text_of(self.text))
            self.inserted.clear()
            self.rebuilds.append((start, time.time()))
        elif self.acts % 5 == 4 and self.inserted:
            key = min(self.inserted)
            self.faults += [
                f"{gone}: was lost" for gone in upkeep.revoke(self.settings, self.settings.map, [key], start)
            ]
            del self.inserted[key]
        else:
            new = {f"192.168.{self.acts % 250}.1": "RELAY", f"in{self.acts % 250}.example": f"550 in  {self.acts}"}
            pairs = {key.encode(): value.encode() for key, value in new.items()}
            upkeep.make_static(self.settings, self.settings.map, pairs, start)
            self.inserted |= new

    def disturbed(self, session: Session) -> bool:
        """Tell whether a rebuild went on: sendmail gives a map up that changes while it opens it (db_map_open, map.c).

        That, and old pages beside new ones in a session that has the map open, happens without popips, too.
        """
        return any(start <= session.end and session.start <= end for start, end in self.rebuilds)


def keep_at_it(act: Callable[[], None], pause: float, stop: Event) -> list[str]:
    """Act until stop is set; give the errors."""
    errors = []
    while not stop.wait(pause):
        try:
            act()
        except Busy:
            pass  # after ten seconds, with nothing changed: the next time does it
        except (MapError, StampError) as error:
            errors.append(f"{act.__name__}: {error}")
    return errors


def lines_of(box: Box, command: Sequence[str | Path]) -> list[str]:
    with box.spawn(command, {"PYTHONPATH": str(ROOT)}) as process:
        out, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(errors)
    return out.splitlines()


def run(programs: Path, processes: int = 16, logins: int = 1000, window: float = 1.0) -> list[Row]:
    """Have so many processes make so many logins each, and all else at the same time.

    programs: an installation. window: in seconds; the run must last longer for anything to expire.
    """
    with tempfile.TemporaryDirectory(prefix="popips-", dir="/tmp") as scratch, Box(programs, Path(scratch)) as box:
        box.configure(window=f"{window}s")
        box.write_access(text_of(STATIC))
        box.start_sendmail("-OQueueLA=1000", "-ORefuseLA=1000")
        return crowd(box, processes, logins)


def crowd(box: Box, processes: int, logins: int) -> list[Row]:
    settings, stop, stop_file = load(str(box.conf)), Event(), box.scratch / "stop"
    admin, expired = Admin(box, settings, dict(STATIC)), 0.0

    def expire() -> None:
        nonlocal expired
        expired = time.time()
        upkeep.expire(settings, expired)
        (box.stamps / RUN_FILE).touch()  # or else each hook would do the expirer's work

    log_in: list[str | Path] = [*SELF, "log_in", box.conf, box.path("popips-hook"), str(logins)]
    with ThreadPoolExecutor(processes + 3) as threads:
        at_work = [threads.submit(keep_at_it, expire, EXPIRE_EVERY, stop)]
        at_work.append(threads.submit(keep_at_it, admin.act, ADMIN_EVERY, stop))
        clients = threads.submit(lines_of, box, ["ip", "netns", "exec", "cli", *SELF, "hold_sessions", stop_file])
        all_logins = [threads.submit(lines_of, box, [*log_in, str(seed)]) for seed in range(processes)]
        try:
            done = [Login(**json.loads(line)) for each in all_logins for line in each.result()]
        finally:
            stop.set()
            stop_file.touch()
    row = logins_row(done, box.logged("popips-hook"))
    row.faults += [error for each in at_work for error in each.result()] + admin.faults
    stamps, end = settled(box, admin.text | admin.inserted)
    lost = forgotten(done, stamps, expired - settings.window)
    row.lost, row.open = len(admin.faults) + len(end.lost) + len(lost), len(end.open)
    row.faults += [str(end)] * bool(str(end)) + [f"{address}: its login was lost" for address in lost]
    return [row, sessions_row([Session(**json.loads(line)) for line in clients.result()], admin)]


def logins_row(done: list[Login], log: list[str]) -> Row:
    row = Row("many at once: logins", worst=max(login.seconds for login in done))
    for login in done:
        fine = login.verdict in (grants.GRANTED, grants.RENEWED, grants.DEFERRED, BY_HOOK)
        fine = fine and round(login.seconds, 1) <= LIMIT
        row.add("" if fine else f"{login.address}: {login.verdict} after {login.seconds:.3f} s")
    row.faults += [line for line in log if not line.startswith((grants.GRANTED, grants.DEFERRED))]
    verdicts = Counter(login.verdict for login in done)
    verdicts[f"{grants.DEFERRED} {BY_HOOK}"] = sum(line.startswith(grants.DEFERRED) for line in log)
    row.figures.append(figure("login", [login.seconds for login in done]))
    row.figures.append(", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items())))
    return row


def sessions_row(done: list[Session], admin: Admin) -> Row:
    row, disturbed = Row("many at once: SMTP"), 0
    for session in done:
        excused = not session.is_right and not session.reply.startswith("250") and admin.disturbed(session)
        disturbed += excused
        row.add("" if session.is_right or excused else f"{session.client}: {session.reply}")
    row.figures.append(figure("RCPT", [session.seconds for session in done]))
    row.figures.append(f"{disturbed} sessions refused by sendmail during one of {len(admin.rebuilds)} rebuilds")
    return row


def figure(what: str, seconds: list[float]) -> str:
    centiles = statistics.quantiles(seconds, n=100, method="inclusive")
    p50, p99, worst = (f"{1000 * value:.1f} ms" for value in (centiles[49], centiles[98], max(seconds)))
    return f"{what} p50 {p50}, p99 {p99}, worst {worst}"


def forgotten(done: list[Login], stamps: set[str], due: float) -> list[str]:
    """Give the addresses without a stamp whose last login is younger than `due`, so that no expiry may remove it.

    Of logins at the same time, any may be the last to set the stamp's time.
    """
    missing = []
    for address in ADDRESSES:
        its = [login for login in done if login.address == address]
        last = max((login.start for login in its), default=0.0) - CLOCK_SLACK
        sure = min((login.start for login in its if login.start + login.seconds >= last), default=0.0) - CLOCK_SLACK
        if sure > due and address not in stamps:
            missing.append(address)
    return missing


# ---- signals


def signals(cases: int) -> Row:
    """End a process that grants, and puts the admin's records, by a signal at any moment, so many times."""
    row, dice = Row("signals while the map is being changed"), random.Random(cases)
    for seed in range(cases):
        number = dice.choice((signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
        with tempfile.TemporaryDirectory(prefix="popips-", dir="/tmp") as scratch:
            box = Box(Path(), Path(scratch))
            box.write_access(text_of(STATIC))
            granted, fault = interrupted(box, number, dice.uniform(0, LONGEST_RUN), seed)
            static = STATIC | dict.fromkeys(TOGETHER, box.records().get(TOGETHER[0], ""))
            at_once = state_of(box, static, stamps_of(box))
            stamps, end = settled(box, static)
        lost = [key for key in at_once.lost if key in static] + end.lost + sorted(granted - stamps)
        state = State(lost, at_once.open + end.open)
        row.add(" ".join(filter(None, (fault, str(state)))), len(state.lost), len(state.open))
    return row


def interrupted(box: Box, number: signal.Signals, after: float, seed: int) -> tuple[set[str], str]:
    """Give the addresses that the process said it had granted, and what was wrong with its end."""
    command, pipe = [*SELF, "change_for_ever", str(box.conf), str(seed)], subprocess.PIPE
    with subprocess.Popen(command, bufsize=0, cwd=ROOT, stdout=pipe, stderr=pipe) as process:
        assert process.stdout
        try:
            first = process.stdout.readline()
            try:
                process.wait(after)
            except subprocess.TimeoutExpired:
                process.send_signal(number)
            out, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    right = process.returncode == -number
    fault = "" if right else f"{number.name}: ended with {process.returncode}: {errors.decode()}"
    return set((first + out).decode().split()), fault


if __name__ == "__main__":
    roles: dict[str, Callable[..., None]] = {role.__name__: role for role in (log_in, hold_sessions, change_for_ever)}
    roles[sys.argv[1]](*sys.argv[2:])
