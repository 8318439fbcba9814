"""Many at once: logins, expiry, an admin at work and real SMTP sessions on one map."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from popips import grant
from popips.configuration import load
from popips.maps import Busy, MapError
from popips.stamps import StampError
from tests.box import ROOT, Box
from tests.torture import Row
from tests.torture.actors import BY_ANOTHER, BY_HOOK, SELF, Login, Session
from tests.torture.hosts import ADDRESSES, STATIC, expire, put, settled, take_out
from tests.torture.scenarios import text_of

LIMIT = 2.0  # seconds, to the tenth, that a login may be held up
EXPIRE_EVERY, ADMIN_EVERY = 0.1, 0.05  # seconds
CLOCK_SLACK = 0.05  # seconds from where a granter looks at the clock to where it has read the requests
FINE = (grant.GRANTED, grant.RENEWED, grant.DEFERRED, BY_HOOK, BY_ANOTHER)


@dataclass
class Admin:
    """The only one who changes static records; knows which must be there."""

    box: Box
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
            self.faults += [f"{gone}: was lost" for gone in take_out(str(self.box.conf), key)]
            del self.inserted[key]
        else:
            new = {f"192.168.{self.acts % 250}.1": "RELAY", f"in{self.acts % 250}.example": f"550 in  {self.acts}"}
            put(str(self.box.conf), new)
            self.inserted |= new

    def disturbed(self, session: Session) -> bool:
        """Whether a rebuild went on: sendmail gives a map up that changes while it opens it (db_map_open, map.c).

        That, and old pages beside new ones in a session that has the map open, happens without popips, too.
        """
        return any(start <= session.end and session.start <= end for start, end in self.rebuilds)


def keep_at_it(act: Callable[[], None], pause: float, stop: Event) -> list[str]:
    """Act until stop is set; return the errors."""
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
    stop, stop_file, admin, expired = Event(), box.scratch / "stop", Admin(box, dict(STATIC)), 0.0

    def run_expirer() -> None:
        nonlocal expired
        expired = time.time()
        expire(str(box.conf), expired)

    log_in: list[str | Path] = [*SELF, "log_in", box.conf, box.path("popips-hook"), str(logins)]
    with ThreadPoolExecutor(processes + 3) as threads:
        at_work = [threads.submit(keep_at_it, run_expirer, EXPIRE_EVERY, stop)]
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
    lost = forgotten(done, stamps, expired - load(str(box.conf)).window)
    row.lost, row.open = len(admin.faults) + len(end.lost) + len(lost), len(end.open)
    row.faults += [str(end)] * bool(str(end)) + [f"{address}: its login was lost" for address in lost]
    return [row, sessions_row([Session(**json.loads(line)) for line in clients.result()], admin)]


def logins_row(done: list[Login], log: list[str]) -> Row:
    row = Row("many at once: logins", worst=max(login.seconds for login in done))
    for login in done:
        fine = login.verdict in FINE
        fine = fine and round(login.seconds, 1) <= LIMIT
        row.add("" if fine else f"{login.address}: {login.verdict} after {login.seconds:.3f} s")
    row.faults += [line for line in log if not line.startswith((grant.GRANTED, grant.DEFERRED))]
    verdicts = Counter(login.verdict for login in done)
    verdicts[f"{grant.DEFERRED} {BY_HOOK}"] = sum(line.startswith(grant.DEFERRED) for line in log)
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
    """Return the addresses without a stamp whose last login is younger than `due`, so that no expiry may remove it.

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
