"""Killed at every system call: SIGKILL in turn at each call of a program that touches the site, and what comes after.

strace finds the calls in a run that is let live, and injects the signal at the n-th of each name in the others. The
interpreter is the one of the installed programs. Calls that touch no file of the site leave the state of the call
before: they are not killed one by one.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from stat import S_IXUSR
from typing import TypeVar

from popips.maps.berkeley import Records, Writer

from popips import grants, lane, upkeep
from popips.maps.journal import Change, is_idle
from popips.stamps import ASIDE, OWN_FILES, SETTLED
from tests.box import CRON_ENVIRONMENT
from tests.conftest import Site
from tests.torture import Row
from tests.torture.running import Sendmail

NEW, KNOWN, STATIC, OTHER = "192.0.2.10", "192.0.2.20", "10.0.0.7", "192.0.2.99"
LOGIN = grants.Login("alice", "pop3", "popips-hook")
Files = dict[str, tuple[bytes, int, int]]  # name in the site: content, mode, mtime in ns


def fast_folder() -> str | None:
    """Where files are quick: what is tested is the order of calls, not the disk."""
    return "/dev/shm" if os.path.isdir("/dev/shm") else None


def saved(site: Site) -> Files:
    """All that programs may change."""
    found = {}
    for path in [*site.folder.iterdir(), *site.stamps.iterdir()]:
        if path.is_file() and not path.is_symlink():
            state = path.stat()
            found[str(path.relative_to(site.folder))] = (path.read_bytes(), state.st_mode & 0o7777, state.st_mtime_ns)
    return found


def restore(site: Site, files: Files) -> None:
    now = saved(site)
    for name in now.keys() - files.keys():
        (site.folder / name).unlink()
    for name, (content, mode, mtime) in files.items():
        path = site.folder / name
        if now.get(name) != (content, mode, mtime):
            path.unlink(missing_ok=True)
            path.write_bytes(content)
            path.chmod(mode)
            os.utime(path, ns=(mtime, mtime))


def digest(files: Files) -> bytes:
    """What tells one state from another: all but the times of day, of which only old or new counts."""
    total = sha256()
    for name, (content, mode, mtime) in sorted(files.items()):
        total.update(f"{name} {mode} {mtime < (time.time() - 600) * 1e9} {len(content)} ".encode() + content)
    return total.digest()


@dataclass(frozen=True)
class Program:
    """A run of one of the programs: its words and environment; of a hook, what sh does or what Python does."""

    name: str
    words: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    stdin: str = ""
    in_sh: bool = False

    def command(self, programs: Path, site: Site) -> list[str]:
        words = ["-c", str(site.conf), *self.words]
        if self.in_sh:
            return [str(programs / "libexec/popips" / self.name), *words]
        if self.name in ("popips-db", "popips-expire"):
            script = programs / "sbin" / self.name
        else:
            script = programs / "lib/popips" / self.name
            words = ["grant", "self", *words]
        with script.open() as file:
            interpreter, option = file.readline().removeprefix("#!").split()
        return [os.path.realpath(interpreter), option, str(script), *words]

    def run(
        self, programs: Path, site: Site, under: tuple[str, ...] = (), timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*under, *self.command(programs, site)],
            env=CRON_ENVIRONMENT | self.env,
            input=self.stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
        )


def hook(address: str, in_sh: bool = False) -> Program:
    variables = {"PAM_TYPE": "account", "PAM_RHOST": address, "PAM_USER": "alice", "PAM_SERVICE": "pop3"}
    return Program("popips-hook", env=variables, in_sh=in_sh)


def postlogin(address: str, in_sh: bool = False) -> Program:
    return Program("popips-postlogin", ("/bin/true",) if in_sh else (), {"IP": address, "USER": "alice"}, in_sh=in_sh)


EXPIRE = Program("popips-expire")
INS = Program("popips-db", ("ins", "static.example", "OK", "another.example", "REJECT"))
DEL = Program("popips-db", ("del", NEW, "static.0"))
NEXT = (hook(OTHER), hook(NEW), postlogin(OTHER), EXPIRE, Program("popips-db", ("ins", "x.example", "OK")))
NEXT_ON_OWN_MAP = (*NEXT[:-1], Program("popips-db", ("ins", "192.0.2.98")))
MADE_BY_NEXT = {"x.example"}


@dataclass(frozen=True)
class Scenario:
    """A program on a site in some state; `touched` are keys of the admin's that the program itself may change."""

    name: str
    program: Program
    prepare: Callable[[Site], None]
    touched: frozenset[str] = frozenset()
    own: bool = False  # the map holds nothing but grants


def grant(site: Site, *addresses: str) -> None:
    for address in addresses:
        grants.grant(site.settings, address, LOGIN, time.time())


def due(count: int) -> Callable[[Site], None]:
    def prepare(site: Site) -> None:
        names = [f"172.16.{n // 256}.{n % 256}" for n in range(count)]
        upkeep.make_static(site.settings, site.place, {name.encode(): b"RELAY" for name in names}, time.time())
        for name in names:
            (site.stamps / name).touch(mode=0o600)
            os.utime(site.stamps / name, (time.time() - 7200, time.time() - 7200))
        grant(site, KNOWN)

    return prepare


def due_and_known(count: int) -> Callable[[Site], None]:
    def prepare(site: Site) -> None:
        names = [f"172.16.{n // 256}.{n % 256}" for n in range(count)]
        grant(site, KNOWN, *names)
        upkeep.expire(site.settings, time.time())
        for name in names:
            os.utime(site.stamps / name, (time.time() - 7200, time.time() - 7200))
        now = time.time_ns()  # so many changes at once have moved the map's mtime a minute ahead
        for path in (site.db, Path(f"{site.db}.popips"), site.stamps / ".lane"):
            os.utime(path, ns=(now, now))

    return prepare


def gone(site: Site) -> None:
    grant(site, KNOWN)
    site.db.unlink()


def rebuilt(site: Site) -> None:
    text = site.access.read_text()
    grant(site, *(f"192.0.2.{n}" for n in range(20, 60)))
    site.build(text)


def with_a_split_to_come(site: Site) -> None:
    """Fill the map with grants until one more of NEW would split a bucket."""
    for number in range(4000):
        if pages_changed(site, lambda records: records.put(NEW.encode(), b"RELAY")) > 3:
            return
        grant(site, f"172.20.{number // 256}.{number % 256}")
    raise RuntimeError("no bucket to split")


def with_a_page_to_empty(site: Site) -> None:
    """Give the grant of NEW a value so long that it has pages of its own."""
    site.configure(value="x" * 3000)
    grant(site, NEW)
    site.configure()


def pages_changed(site: Site, step: Callable[[Records], None]) -> int:
    with Writer(site.place, "", time.time(), time.monotonic() + 60) as writer:
        change = Change.between(*writer._changed_copy(step))
    return len(change.chunks) if change else 0


def known(site: Site) -> None:
    grant(site, KNOWN)


def lane_is_open(site: Site) -> None:
    grant(site, KNOWN, "192.0.2.21")
    upkeep.expire(site.settings, time.time())
    lane.lead(site.settings)


def known_and_new(site: Site) -> None:
    grant(site, KNOWN, NEW)


SCENARIOS = [
    Scenario("hook, new address", hook(NEW), known),
    Scenario("hook, known address", hook(KNOWN), known),
    Scenario("hook, static address", hook(STATIC), known),
    Scenario("hook, a bucket splits", hook(NEW), with_a_split_to_come),
    Scenario("postlogin, new address", postlogin(NEW), known),
    Scenario("postlogin, known address", postlogin(KNOWN), known),
    Scenario("hook, fast lane", hook(KNOWN, in_sh=True), lane_is_open),
    Scenario("postlogin, fast lane", postlogin(KNOWN, in_sh=True), lane_is_open),
    Scenario("expire, 1 due", EXPIRE, due(1)),
    Scenario("expire, 500 due", EXPIRE, due(500)),
    Scenario("expire, reconcile", EXPIRE, rebuilt),
    Scenario("hook, new address, own map", hook(NEW), known, own=True),
    Scenario("expire, 500 due, own map", EXPIRE, due_and_known(500), own=True),
    Scenario("expire, own map gone", EXPIRE, gone, own=True),
    Scenario("db ins", INS, known, frozenset({"static.example", "another.example"})),
    Scenario("db del", DEL, known_and_new, frozenset({"static.0"})),
    Scenario("db del, a page empties", DEL, with_a_page_to_empty, frozenset({"static.0"})),
]


def calls(programs: Path, site: Site, program: Program) -> list[tuple[str, int]]:
    """The calls of a run that touch the site, as (name, how many of that name by then)."""
    seen: dict[str, int] = {}
    found = []
    with tempfile.NamedTemporaryFile("r") as log:
        program.run(programs, site, ("strace", "-f", "-qq", "-o", log.name, *paths(site)))
        for line in log:
            name = re.match(r"(?:\d+ +)?(\w+)\(", line)
            if name:
                seen[name[1]] = seen.get(name[1], 0) + 1
                found.append((name[1], seen[name[1]]))
    return found


def paths(site: Site) -> list[str]:
    """strace's options that pick the calls on the site's files."""
    files = [site.conf, Path(f"{site.conf}.lane"), site.access, site.db, Path(f"{site.db}.popips"), site.stamps]
    stamps = [site.stamps / name for name in (*OWN_FILES, NEW, KNOWN, OTHER)]
    return [word for path in [*files, *stamps] for word in ("-P", str(path))]


def killed(programs: Path, site: Site, program: Program, call: str, number: int) -> None:
    inject = ("-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}")
    program.run(programs, site, ("strace", "-f", "-qq", "-o", "/dev/null", *paths(site), *inject))


@dataclass(frozen=True)
class Verdict:
    """What is wrong with a site, how many of the admin's records are lost, and how many of ours are without a stamp."""

    fault: str
    lost: int = 0
    bare: int = 0
    found: dict[str, str] = field(default_factory=dict)  # some of the records, as makemap reads them


class Judge:
    """Says what is wrong with a site after the next run, and looks at each state once."""

    def __init__(self, site: Site, scenario: Scenario, static: dict[str, str]) -> None:
        self.site, self.static = site, static
        self.free = scenario.touched | MADE_BY_NEXT
        self.known: dict[bytes, Verdict] = {}
        self.asked = {NEW, KNOWN, OTHER, STATIC, *spread(list(static), 20)}

    def verdict(self, sendmail: Sendmail | None = None) -> Verdict:
        """sendmail: one that had the map open when the next run began."""
        seen = sendmail and sendmail.ask(self.asked)
        state = digest(saved(self.site))
        if state not in self.known:
            self.known[state] = self._look()
        verdict = self.known[state]
        if seen is not None and not verdict.fault and seen != verdict.found:
            return Verdict(f"a running sendmail sees {seen}, not {verdict.found}", verdict.lost, verdict.bare)
        return verdict

    def _look(self) -> Verdict:
        verified = subprocess.run(["db5.3_verify", "-q", str(self.site.db)], capture_output=True)
        try:
            records = self.site.records()
        except subprocess.CalledProcessError:
            return Verdict("makemap -u cannot read the map", len(self.static))
        lost = [key for key, value in self.static.items() if key not in self.free and records.get(key) != value]
        bare = records.keys() - self.static.keys() - self.free - self.site.names()
        stray = {path.name for path in self.site.folder.iterdir()} - SITE_FILES
        stray |= {path.name for path in self.site.stamps.iterdir() if path.name.startswith(".")} - OWN_FILES
        stray -= {name for name in stray if name.startswith(ASIDE)}  # the expirer's to settle
        faults = [
            f"lost {lost[:3]}" if lost else "",
            f"without a stamp {sorted(bare)[:3]}" if bare else "",
            f"stray files {stray}" if stray else "",
            f"db_verify: {verified.stderr[-200:]!r}" if verified.returncode else "",
            "" if is_idle(str(self.site.db)) else "the journal is not done with",
        ]
        found = {key: records[key] for key in self.asked & records.keys()}
        return Verdict("; ".join(filter(None, faults)), len(lost), len(bare), found)


SITE_FILES = {"popips.conf.lane", "access", "access.db", "access.db.popips", "popips", "popips.conf"}


def run(programs: Path, scenario: Scenario, size: int, most: int = 300, most_again: int = 20) -> Row:
    """Sweep a scenario on a map of so many static records, killing at each call, or at that many of them.

    Of the states with a half-written map that this leaves, in a few the next run is killed at each of its calls, too.
    """
    row = Row(f"killed: {scenario.name}")
    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        site = Site(Path(folder))
        judge = Judge(site, scenario, prepared(site, scenario, size))
        before = saved(site)
        then = NEXT_ON_OWN_MAP if scenario.own else NEXT
        crashes: dict[bytes, Files] = {}
        for call, number in spread(calls(programs, site, scenario.program), most):
            restore(site, before)
            killed(programs, site, scenario.program, call, number)
            after = saved(site)
            faults: list[Verdict] = []
            if digest(after) not in crashes:
                crashes[digest(after)] = after
                faults = [one for program in then for one in _recovered(programs, site, after, program, judge)]
            row.add(
                "".join(f"{scenario.name}, {size} records, {call} {number}{one.fault}; " for one in faults),
                max((one.lost for one in faults), default=0),
                max((one.bare for one in faults), default=0),
            )
        half_written = [files for files in crashes.values() if is_half_written(files)]
        for files in half_written[:: max(1, len(half_written) // AGAIN)][:AGAIN]:
            for program in (NEXT[0], EXPIRE):
                _killed_again(programs, site, files, program, judge, most_again, row)
    return row


def is_half_written(files: Files) -> bool:
    """Tell whether a change of the map was begun: its journal is left, or the mtime that own.py goes by is another."""
    journal, db = (files.get(name, (b"", 0, 0)) for name in ("access.db.popips", "access.db"))
    return bool(journal[0] and not journal[1] & S_IXUSR) or ("access" not in files and journal[2] != db[2] != 0)


def spread(found: list[T], most: int) -> list[T]:
    """Give so many of them, from all over."""
    return found[:: max(1, -(-len(found) // most))]


T = TypeVar("T")
AGAIN = 2  # half-written states of which the recovery is killed, too


def prepared(site: Site, scenario: Scenario, size: int) -> dict[str, str]:
    """Build the site's map with so many of the admin's records, and give them; with a tenth as many grants if own."""
    if scenario.own:
        site.configure(own_map="yes")
        for path in (site.access, site.db):
            path.unlink()
        for number in range(size // 10):
            (site.stamps / f"10.1.{number // 256}.{number % 256}").touch(mode=SETTLED)
        upkeep.expire(site.settings, time.time())
        scenario.prepare(site)
        return {}
    static = {f"10.0.{n // 256}.{n % 256}": "REJECT" for n in range(7, size)} | {f"static.{n}": "OK" for n in range(3)}
    static[STATIC] = "REJECT"
    site.build("".join(f"{key}\t{value}\n" for key, value in static.items()))
    os.utime(site.access, (0, 0))
    scenario.prepare(site)
    site.access.write_text("# the values alone tell what is static\n")
    os.utime(site.access, (0, 0))
    os.utime(site.db)  # so many changes at once have moved it a minute ahead
    return static


def _recovered(programs: Path, site: Site, after: Files, program: Program, judge: Judge) -> Iterator[Verdict]:
    """Give what is wrong after a run of the program."""
    restore(site, after)
    # one that found no map when it started does not look for it again
    running = Sendmail(site.db) if site.db.exists() and site.db.stat().st_size else nullcontext(None)
    with running as sendmail:
        done = program.run(programs, site)
        verdict = judge.verdict(sendmail)
    if done.returncode or verdict.fault:
        fault = f", then {program.name} (exit {done.returncode}): {verdict.fault} {done.stderr[-200:]}"
        yield Verdict(fault, verdict.lost, verdict.bare)
    # after the expirer, every live stamp has its record, too
    if program is EXPIRE:
        odd = sorted((site.names() - site.records().keys()) | {p.name for p in site.stamps.glob(f"{ASIDE}*")})
        if odd:
            yield Verdict(f", then {program.name}: stamps without a record {odd[:3]}")


def _killed_again(
    programs: Path, site: Site, after: Files, program: Program, judge: Judge, most: int, row: Row
) -> None:
    restore(site, after)
    for call, number in spread(calls(programs, site, program), most):
        restore(site, after)
        killed(programs, site, program, call, number)
        row.add("".join(one.fault for one in _recovered(programs, site, saved(site), EXPIRE, judge)))
