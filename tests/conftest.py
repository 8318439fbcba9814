"""A site for tests of one program or module: a map, stamps and a configuration in a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from popips import configuration, denials, fate, grant, revoke, run
from popips.grant import Outcome
from popips.login import Login
from popips.maps import Place
from popips.settings import Settings
from popips.site import Site as Host
from popips.site import site as host_of
from tests.box import CRON_ENVIRONMENT, Box, install
from tests.strace import STRACE

hypothesis.settings.register_profile("popips", deadline=None)  # how fast the machine is, bench/ tells
hypothesis.settings.load_profile("popips")

NOW = 1_800_000_000.0  # seconds since the epoch; whole, and some time from the clock of the machine


def pytest_configure() -> None:
    """Run nothing where a mistake could write into the host's own files."""
    if "\npopips-cover /etc overlay " not in Path("/proc/self/mounts").read_text():
        raise pytest.UsageError(
            "the host's files are not covered: run `make test`, or tests/lab/cover.sh .venv/bin/pytest"
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the tests on booted hosts, which wait most of the time, among those that keep the processors busy."""
    booted = [item for item in items if "boot" in getattr(item, "fixturenames", ())]
    others = [item for item in items if item not in booted]
    place = {item: 0.8 * nth / len(booted) for nth, item in enumerate(booted)}  # none begins near the end
    place.update((item, nth / len(others)) for nth, item in enumerate(others))
    items.sort(key=place.__getitem__)


class Site:
    """What popips works on. `now` stands still until a test moves it."""

    def __init__(self, folder: Path, kind: str = "hash") -> None:
        self.folder, self.kind, self.now = folder, kind, NOW
        self.told: list[tuple[str, Outcome]] = []
        self.access, self.stamps, self.conf = folder / "access", folder / "popips", folder / "popips.conf"
        self.stamps.mkdir(mode=0o700)
        (self.stamps / ".expire").touch(0o600)  # the expirer is alive
        self.configure()
        self.build("")

    @property
    def db(self) -> Path:
        return self.folder / "access.db"

    @property
    def settings(self) -> Settings:
        return configuration.load(str(self.conf))

    @property
    def host(self) -> Host:
        """What popips makes of it; use it in a `with`."""
        of = self.settings
        return host_of(of, self.now, of.lock_timeout)

    @property
    def place(self) -> Place:
        return Place(self.kind, str(self.db))

    def configure(self, **settings: str) -> None:
        lines = {"map": f"{self.kind}:{self.access}", "stamps": str(self.stamps)} | settings
        self.conf.write_text("".join(f"{key} = {value}\n" for key, value in lines.items()))

    def build(self, text: str, *options: str) -> None:
        """Write the map's text and have makemap build the map in place."""
        self.access.write_text(text)
        subprocess.run(
            ["makemap", *options, self.kind, str(self.db)], input=text.encode(), check=True, stderr=subprocess.DEVNULL
        )

    def records(self) -> dict[str, str]:
        """What sendmail's makemap reads in the map."""
        done = subprocess.run(["makemap", "-u", self.kind, str(self.db)], check=True, capture_output=True, text=True)
        return dict(line.split("\t", 1) for line in done.stdout.splitlines())

    def names(self) -> set[str]:
        """The files in the stamp folder."""
        return {path.name for path in self.stamps.iterdir() if not path.name.startswith(".")}

    def login(self, address: str, user: str = "alice", service: str = "pop3") -> str:
        """Log in; return what became of it."""
        self.told.clear()
        with self.host as host:
            outcome = grant.grant(host, address, Login(user, service, "test"), self._hear)
        return outcome.verdict if outcome else "by another"

    def _hear(self, login: Login, outcome: Outcome) -> None:
        self.told.append((login.user, outcome))

    def expire(self, dry_run: bool = False) -> dict[str, list[str]]:
        """Run the expirer; return what it did: addresses by their fate, and under foreign and live what it found."""
        with self.host as host:
            done = (run.plan if dry_run else run.run)(host, self._hear)
        found = {what: sorted(names) for what, names in done.done.items() if what != fate.LEAVE}
        return found | ({"foreign": sorted(done.foreign)} if done.foreign else {})

    def end(self, *addresses: str) -> list[str]:
        """End these grants as popips-db does, or all; return those that there were."""
        with self.host as host:
            ended = list(revoke.end(host, addresses or revoke.all_grants(host)))
        return [name for batch in ended for name in batch]

    def deny(self, text: str, until: float = denials.FOR_EVER) -> list[str]:
        """Deny an address or network as popips-db does; return the addresses whose grants have ended."""
        denial = denials.Denial(text, until, "admin")
        with self.host as host:
            denials.add(host.folder, denial, self.now)
            return [name for batch in revoke.denied(host, denial) for name in batch]

    def put(self, key: str, value: str) -> None:
        """Put a record that stays into the map, as popips-db ins does."""
        with self.host as host:
            revoke.put(revoke.Edited(host.form.place, host.text.path, self.now, host), {key.encode(): value.encode()})

    def take_out(self, *keys: str) -> list[str]:
        """Take records and grants out, as popips-db del does; return the keys that found neither."""
        with self.host as host:
            edited = revoke.Edited(host.form.place, host.text.path, self.now, host)
            return revoke.take_out(edited, {key: [key] for key in keys}).missing

    def pass_window(self) -> None:
        self.now += self.settings.window + 1


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run of the tests have in common."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture(params=["no", "yes"], ids=["access", "own"])
def either(site: Site, request: pytest.FixtureRequest) -> Site:
    """A site with the admin's map, or with a map of its own."""
    if request.param == "yes":
        site.access.unlink()
        site.configure(own_map="yes")
    return site


@pytest.fixture(scope="session")
def programs() -> Iterator[Path]:
    """An installation by `make install`, under a prefix of its own."""
    with tempfile.TemporaryDirectory(prefix="popips-", dir="/tmp") as prefix:
        os.chmod(prefix, 0o755)
        yield install(Path(prefix))


@pytest.fixture
def box(programs: Path) -> Iterator[Box]:
    """A mail host with nothing started yet; its folder has a short name for Dovecot's sockets, and is open to users."""
    with tempfile.TemporaryDirectory(prefix="popips-", dir="/tmp") as scratch, Box(programs, Path(scratch)) as host:
        yield host


class Installed:
    """The installed programs, run on a site as cron or a server would."""

    def __init__(self, programs: Path, site: Site) -> None:
        self.programs, self.site = programs, site

    def path(self, program: str) -> Path:
        folder = "libexec/popips" if program in ("popips-hook", "popips-postlogin") else "sbin"
        return self.programs / folder / program

    def run(
        self, program: str, *words: str, stdin: str = "", env: dict[str, str] | None = None, conf: bool = True
    ) -> subprocess.CompletedProcess[str]:
        command = [str(self.path(program)), *(["-c", str(self.site.conf)] if conf else []), *words]
        return subprocess.run(
            command, input=stdin, env=CRON_ENVIRONMENT | (env or {}), capture_output=True, text=True, timeout=60
        )

    def age(self, address: str, minutes: float = 60) -> None:
        """Let a stamp be as old as that."""
        then = time.time() - 60 * minutes
        os.utime(self.site.stamps / address, (then, then))

    def starts_python(self, program: str = "popips-hook", *words: str, **env: str) -> bool:
        """Run a hook, and tell whether it started Python."""
        command = [str(self.path(program)), "-c", str(self.site.conf), *words]
        with tempfile.NamedTemporaryFile() as log:
            traced = [*STRACE, "-e", "trace=execve", "-o", log.name, *command]
            assert subprocess.run(traced, env=CRON_ENVIRONMENT | env, capture_output=True).returncode == 0
            return b"python3" in log.read()

    def pam(self, address: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the hook with the environment that pam_exec gives it."""
        env = {"PAM_RHOST": address, "PAM_USER": "alice", "PAM_SERVICE": "pop3", "PAM_TYPE": "account"} | more
        return self.run("popips-hook", env=env)


def exec_with(environment: list[str], *argv: str) -> subprocess.CompletedProcess[str]:
    """Run a program with that environment, doubled names and all, which Python's own functions cannot do."""
    program = (
        "import ctypes, signal, sys; signal.signal(signal.SIGPIPE, signal.SIG_DFL);"
        "signal.signal(signal.SIGXFSZ, signal.SIG_DFL); n = sys.argv.index('--');"
        "strings = lambda l: (ctypes.c_char_p * (len(l) + 1))"
        "(*[s.encode() for s in l], None); argv = sys.argv[n + 1:];"
        "ctypes.CDLL(None).execve(argv[0].encode(), strings(argv), strings(sys.argv[1:n]))"
    )
    return subprocess.run([sys.executable, "-c", program, *environment, "--", *argv], capture_output=True, text=True)


@pytest.fixture
def installed(programs: Path, site: Site) -> Installed:
    return Installed(programs, site)
