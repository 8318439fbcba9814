"""A booted Debian: systemd as PID 1 in private namespaces, gone with the object; its clients are out here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

HERE = Path(__file__).parent
CLIENT = HERE.parent / "lab" / "client.py"
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C"}
PATIENCE = 120  # seconds for a boot, or for what a daemon does
V4, V6, OTHER_V4, OTHER_V6 = "203.0.113.10", "2001:db8:1::10", "203.0.113.11", "2001:db8:1::11"
SERVER_V4, SERVER_V6 = "203.0.113.1", "2001:db8:1::1"
USER, PASSWORD = "alice", "correct horse"


class Host:
    """A Debian that boots from overlay layers, the topmost first. Changes stay in `upper`, or go with the host."""

    def __init__(self, name: str, layers: Sequence[Path], upper: Path | None = None) -> None:
        self._id = f"{name}-{os.getpid()}-{time.monotonic_ns()}"
        self._lower = ":".join(map(str, layers))
        self._upper = upper
        self.pid = 0  # of its systemd, as this machine numbers it

    def __enter__(self) -> Host:
        env = dict(os.environ)
        if self._upper:
            env |= {"UPPER": str(self._upper), "WORK": f"{self._upper}.work"}
        root = f"/run/{self._id}"  # on the tmpfs that boot.sh mounts
        self._process = subprocess.Popen(
            [HERE / "boot.sh", self._id, root, self._lower], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        try:
            self._come_up()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Cut the power."""
        self._process.kill()
        self._process.communicate()
        _remove_cgroup(f"popips-{self._id}")

    def power_off(self) -> None:
        """Shut it down in order."""
        self.run("systemctl poweroff")
        self._process.wait(PATIENCE)

    def reboot(self) -> None:
        """Shut it down in order, and boot it again."""
        self.run("systemctl reboot")
        self._come_up()

    def _come_up(self) -> None:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line.startswith(b"pid "):
            said = (line + self._process.stdout.read()).decode(errors="replace")
            raise RuntimeError(f"systemd-nspawn cannot run here: {said}")
        self._until("boot", self._is_up)
        self._wire()
        self.until("systemd", lambda: self.run("systemctl is-system-running").stdout.strip() in ("running", "degraded"))

    def _is_up(self) -> bool:
        """Whether PID 1 is systemd by now."""
        self._lab = _child(self._process.pid)
        for pid in _descendants(self._lab):
            if _command_of(pid) == "systemd" and _command_of(_parent(pid)) == "systemd-nspawn":
                self.pid = pid
                return True
        if self._process.poll() is not None and self._process.stdout:
            raise RuntimeError(self._process.stdout.read().decode(errors="replace"))
        return False

    def _wire(self) -> None:
        """Lay the cable between the host and its clients."""
        lab = ["nsenter", "--target", str(self._lab), "--net", "ip"]
        host = ["nsenter", "--target", str(self.pid), "--net", "ip"]
        subprocess.run([*lab, "link", "delete", "c"], capture_output=True)  # of the boot before
        steps = [[*lab, *f"link add c type veth peer name host0 netns {self.pid}".split()]]
        steps += [[*host, *f"addr add {SERVER_V4}/24 dev host0".split()]]
        steps += [[*host, *f"addr add {SERVER_V6}/64 dev host0 nodad".split()]]
        steps += [[*lab, *f"addr add {address}/24 dev c".split()] for address in (V4, OTHER_V4)]
        steps += [[*lab, *f"addr add {address}/64 dev c nodad".split()] for address in (V6, OTHER_V6)]
        steps += [[*side, *f"link set {name} up".split()] for side, name in ((host, "host0"), (lab, "c"))]
        for step in steps:
            subprocess.run(step, check=True, capture_output=True)

    # ---- what root does on it

    def run(self, command: str | Sequence[str | Path], stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command on the host: words, or a line for sh."""
        words = ["sh", "-c", command] if isinstance(command, str) else list(map(str, command))
        entered = ["nsenter", "--target", str(self.pid), "--all", "--wdns=/root", "--", "env", "-i"]
        environment = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
        return subprocess.run([*entered, *environment, *words], input=stdin, capture_output=True, text=True)

    def do(self, *lines: str) -> str:
        """Run lines of sh, each of which must succeed; return what they print."""
        printed = ""
        for line in lines:
            done = self.run(line)
            if done.returncode:
                raise AssertionError(f"{line}\nstatus {done.returncode}\n{done.stdout}{done.stderr}{self.said()}")
            printed += done.stdout
        return printed

    def copy(self, source: Path, target: str) -> None:
        """Copy a file to a path on the host."""
        made = self.path(target)
        made.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, made)

    def read(self, path: str) -> str:
        """Return the text of a file on the host."""
        return self.path(path).read_text()

    def write(self, path: str, text: str) -> None:
        """Write a file on the host."""
        self.path(path).write_text(text)

    def path(self, path: str) -> Path:
        """Return a path on the host as this machine names it."""
        return Path(f"/proc/{self.pid}/root{path}")

    def said(self, unit: str = "") -> str:
        """Return the end of what the host has logged."""
        only = f"-u {unit}" if unit else ""
        return self.run(f"journalctl -b --no-pager -q -n 60 {only}").stdout

    def logged(self, program: str = "popips") -> list[str]:
        """Return the messages of popips' programs in this boot."""
        self.do("journalctl --sync")
        lines = self.do("journalctl -b --no-pager -q -o short").splitlines()
        found = (re.search(rf" {program}[\w-]*\[\d+\]: (.*)", line) for line in lines)
        return [match[1] for match in found if match]

    def until(self, what: str, true: Callable[[], bool]) -> None:
        """Wait for what a daemon does; show the log if it takes very long."""
        try:
            self._until(what, true)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.said()}") from None

    def _until(self, what: str, true: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not true():
            if time.monotonic() > end:
                raise TimeoutError(f"no {what} after {PATIENCE} s")
            time.sleep(0.05)

    # ---- its clients

    def client(self, *words: str) -> str:
        """Return what a session of client.py, from the clients' network, prints."""
        command = ["nsenter", "--target", str(self._lab), "--net", "--", sys.executable, str(CLIENT), *words]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
        return done.stdout.strip() or done.stderr

    def outside(self, line: str, typed: str = "") -> str:
        """Return what a line of sh that is run where the clients are prints; typed: its standard input."""
        command = ["nsenter", "--target", str(self._lab), "--net", "--", "sh", "-c", line]
        return subprocess.run(command, env=ENVIRONMENT, input=typed, capture_output=True, text=True).stdout

    def login(self, protocol: str, source: str, user: str = USER, password: str = PASSWORD) -> str:
        """Log in by pop3s or imaps from that address; return "ok" or the refusal."""
        return self.client(protocol, source, server_for(source), user, password)

    @contextmanager
    def idling(self, source: str) -> Iterator[None]:
        """Keep an IMAP session from that address open in a `with`."""
        words = [sys.executable, str(CLIENT), "idles", source, server_for(source), USER, PASSWORD]
        client = subprocess.Popen(
            ["nsenter", "--target", str(self._lab), "--net", "--", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert client.stdout and client.stdout.readline() == "there\n"
        yield
        assert client.communicate()[0] == "ok\n"

    def rcpt(self, source: str) -> str:
        """Return the code of the MTA's reply to a RCPT from that address to a domain outside."""
        sender = f"{USER}@mx.example.test"
        return self.client("smtp", source, server_for(source), sender)[:3]


def server_for(source: str) -> str:
    """Return the host's address that a client reaches from its own."""
    return SERVER_V6 if ":" in source else SERVER_V4


def _child(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else 0


def _descendants(pid: int) -> Iterator[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in map(int, children):
        yield child
        yield from _descendants(child)


def _command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _remove_cgroup(name: str) -> None:
    """Remove the cgroup of a host that has ended, in a mount namespace of its own."""
    script = (
        "mountpoint -q /sys || mount -t sysfs sysfs /sys; mount -t cgroup2 cgroup2 /sys/fs/cgroup; "
        f"cd /sys/fs/cgroup/{name} 2>/dev/null || exit 0; cd ..; "
        f"for turn in 1 2 3 4 5 6 7 8 9 10; do find {name} -depth -type d -exec rmdir {{}} + 2>/dev/null && exit; "
        "sleep 0.1; done"
    )
    subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", script])
