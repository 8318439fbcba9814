"""A mail host's share of popips: a map, its text, popips.conf and stamps in one folder, and the installed programs.

Nothing here imports popips. What the programs log is read from a /dev/log of their own.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.box import CRON_ENVIRONMENT
from tests.strace import STRACE

WINDOW = 15 * 60  # seconds; the default
LONG_AGO = 2 * WINDOW
STATIC = {"10.0.0.7": "REJECT", "192.0.2": "REJECT", "static.example": "OK", "connect:10.0.0.8": "RELAY"}
NODES = [f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty")]
# have a program see a folder of the test's as /dev, and some files of the test's in the place of the host's
NAMESPACE = """
mount --bind "$1" /dev; mount -o remount,bind,dev /dev; shift
while [ "$1" != -- ]; do mount --bind "$1" "$2"; shift 2; done
shift; exec "$@"
"""


@dataclass(frozen=True)
class Done:
    """What a program answered: its status, output, errors, and what it logged as (priority, message)."""

    status: int
    out: str
    err: str
    raw: tuple[tuple[int, str], ...]

    @property
    def log(self) -> list[str]:
        return [message for _, message in self.raw]

    @property
    def said(self) -> str:
        """All that it said, wherever."""
        return "\n".join([self.out, self.err, *self.log])


class Syslog:
    """A socket to log to, emptied as fast as it fills."""

    def __init__(self, path: Path) -> None:
        self.path, self._lines = path, list[tuple[int, str]]()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._seen = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while data := self._socket.recv(9999):
            if data == b"mark":
                self._seen.set()
            else:
                priority, _, line = data.decode(errors="replace").removeprefix("<").partition(">")
                self._lines.append((int(priority), line.partition("]: ")[2]))

    def taken(self) -> tuple[tuple[int, str], ...]:
        """Return what has come since the last time."""
        self._seen.clear()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"mark", str(self.path))
        assert self._seen.wait(60)
        lines, self._lines = tuple(self._lines), []
        return lines


class Room:
    """The place that popips works on, and its programs."""

    def __init__(self, programs: Path, folder: Path, **settings: str) -> None:
        self.programs, self.folder = programs, folder
        self.access, self.stamps, self.conf = folder / "access", folder / "stamps", folder / "popips.conf"
        self.binds: dict[str, Path] = {}  # what the programs see at some path of the host's
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        self.stamps.mkdir(mode=0o700)
        self._kept = tempfile.TemporaryDirectory(prefix="popips-holds-", dir="/tmp")  # a socket's name is a short one
        self._outside = Path(self._kept.name)
        self._dev = self._outside / "dev"
        (self._dev / "shm").mkdir(parents=True)
        (self._dev / "fd").symlink_to("/proc/self/fd")
        subprocess.run(["cp", "-a", *NODES, str(self._dev)], check=True)
        self.syslog = Syslog(self._dev / "log")
        self.settings: dict[str, str] = {"map": f"hash:{self.access}", "stamps": str(self.stamps)}
        self.configure(**settings)
        if self.settings.get("own_map") != "yes":
            self.build(STATIC)

    @property
    def db(self) -> Path:
        return self.folder / "access.db"

    # ---- what the admin does

    def configure(self, **settings: str) -> None:
        """Change settings in popips.conf; "" takes one out."""
        self.settings |= settings
        self.conf.write_text("".join(f"{key} = {value}\n" for key, value in self.settings.items() if value))

    def write(self, text: dict[str, str]) -> None:
        """Edit the map's text, and build nothing."""
        self.access.write_text("".join(f"{key}\t{value}\n" for key, value in text.items()))

    def build(self, text: dict[str, str], rename: bool = False) -> None:
        """Edit the map's text and build the map, in place as makemap does or by rename as Debian's make does."""
        self.write(text)
        target = self.folder / "access.new.db" if rename else self.db
        with self.access.open() as source:
            subprocess.run(["makemap", "hash", str(target)], stdin=source, check=True, stderr=subprocess.DEVNULL)
        if rename:
            target.rename(self.db)

    # ---- what popips does

    def command(self, program: str, *words: str) -> list[str]:
        folder = "libexec/popips" if program in ("popips-hook", "popips-postlogin") else "sbin"
        return [str(self.programs / folder / program), "-c", str(self.conf), *words]

    def inside(self, command: Sequence[str]) -> list[str]:
        """Return the command that runs this one where /dev/log is this room's."""
        binds = [str(word) for target, source in self.binds.items() for word in (source, target)]
        enter = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", NAMESPACE, "sh"]
        return [*enter, str(self._dev), *binds, "--", *command]

    def do(self, command: Sequence[str], stdin: str = "", env: dict[str, str] | None = None) -> Done:
        done = subprocess.run(
            self.inside(command),
            input=stdin,
            env=CRON_ENVIRONMENT | (env or {}),
            capture_output=True,
            text=True,
            timeout=120,
        )
        # more lines at once than a socket takes are not an error that is looked for here
        errors = "".join(line for line in done.stderr.splitlines(True) if "cannot log to /dev/log" not in line)
        return Done(done.returncode, done.stdout, errors, self.syslog.taken())

    def run(self, *words: str) -> Done:
        """Run popips-expire."""
        return self.do(self.command("popips-expire", *words))

    def expire(self) -> Done:
        """Run popips-expire, for which nothing may go wrong."""
        done = self.run()
        assert (done.status, done.out, done.err) == (0, "", ""), done.err
        return done

    def admin(self, words: str, stdin: str = "") -> Done:
        """Run popips-db."""
        return self.do(self.command("popips-db", *words.split()), stdin)

    def login(self, address: str, user: str = "alice", service: str = "pop3") -> Done:
        """Log in, as pam_exec tells the hook."""
        done = self.do(self.command("popips-hook"), env=self.pam(address, user, service))
        assert (done.status, done.out) == (0, ""), done
        return done

    @staticmethod
    def pam(address: str, user: str = "alice", service: str = "pop3") -> dict[str, str]:
        return {"PAM_RHOST": address, "PAM_USER": user, "PAM_SERVICE": service, "PAM_TYPE": "account"}

    def starts_python(self, address: str, user: str = "alice") -> bool:
        """Log in, and return whether that started Python."""
        with tempfile.NamedTemporaryFile("r") as log:
            traced = [*STRACE, "-e", "trace=execve", "-o", log.name, *self.command("popips-hook")]
            assert self.do(traced, env=self.pam(address, user)).status == 0
            return "python3" in log.read()

    # ---- what is there

    def records(self, db: Path | None = None) -> dict[str, str]:
        """Return what sendmail's makemap reads in the map."""
        copy = self._outside / "copy.db"  # makemap takes no file that has a second name
        shutil.copyfile(db or self.db, copy)
        done = subprocess.run(["makemap", "-u", "hash", str(copy)], check=True, capture_output=True, text=True)
        return dict(line.split("\t", 1) for line in done.stdout.splitlines())

    def granted(self, db: Path | None = None) -> dict[str, str]:
        """Return the records that are not of STATIC, each of which must still be there."""
        records = self.records(db)
        lost = {key: value for key, value in STATIC.items() if records.get(key) != value}
        assert not lost or "own_map" in self.settings, f"lost: {lost}"
        return {key: value for key, value in records.items() if key not in STATIC}

    def names(self) -> set[str]:
        """Return whose stamps there are."""
        return {path.name for path in self.stamps.iterdir() if not path.name.startswith(".")}

    def requests(self) -> list[Path]:
        folder = self.stamps / ".requests"
        return sorted(folder.iterdir()) if folder.is_dir() else []

    # ---- time

    def age(self, *names: str, seconds: float = LONG_AGO) -> None:
        """Let the stamps of these addresses, or all, be as old as that."""
        then = time.time() - seconds
        for name in names or self.names():
            os.utime(self.stamps / name, (then, then))

    def let_pass(self, seconds: float = LONG_AGO) -> None:
        """Let all that popips keeps in the stamp folder be so much older than it is."""
        for path in [*self.stamps.iterdir(), *self.requests()]:
            if path.is_file() and not path.is_symlink():
                status = path.stat()
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - int(seconds * 1e9)))

    def stamp(self, names: Iterable[str], user: str = "alice", mode: int = 0o600) -> None:
        """Make stamps by hand, as a backup puts them back; the next run gives them their records."""
        for name in names:
            path = self.stamps / name
            path.write_text(f"{user} pop3 popips-hook\n")
            path.chmod(mode)


def addresses(count: int, network: str = "172.16") -> list[str]:
    return [f"{network}.{n // 250}.{n % 250 + 1}" for n in range(count)]
