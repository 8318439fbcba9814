"""No login is refused, and none is held up for more than 2 s, whatever befalls the host: tables of what may."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Installed
from tests.logins import PROGRAMS, A, Host

MIB = 1 << 20


@pytest.fixture
def host(installed: Installed, tmp_path: Path) -> Iterator[Host]:
    made = Host(installed, tmp_path / "host")
    yield made
    made.end()


def limit(what: int, much: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(what, (much, much))


def ignore(number: int) -> Callable[[], object]:
    return lambda: signal.signal(number, signal.SIG_IGN)


def block(*numbers: int) -> Callable[[], object]:
    return lambda: signal.pthread_sigmask(signal.SIG_BLOCK, numbers)


STATES: dict[str, Callable[[], object]] = {
    "twelve descriptors": limit(resource.RLIMIT_NOFILE, 12),
    "no file may grow": limit(resource.RLIMIT_FSIZE, 0),
    **{f"{size} MiB": limit(resource.RLIMIT_AS, size * MIB) for size in (64, 96, 128, 256, 512)},
    "SIGCHLD blocked": block(signal.SIGCHLD),
    "SIGCHLD ignored": ignore(signal.SIGCHLD),
    "SIGUSR1 ignored": ignore(signal.SIGUSR1),
    "SIGPIPE ignored": ignore(signal.SIGPIPE),
    "all signals blocked": block(*range(1, signal.NSIG)),
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("state", STATES)
def test_a_login_passes_in_whatever_state_its_process_is_started(host: Host, program: str, state: str) -> None:
    assert host.fault(program, prepare=STATES[state]) == ""  # on the fast lane
    host.end_the_grant()
    assert host.fault(program, prepare=STATES[state]) == ""


BIG = {"BIG": "x" * 100_000}
VARIABLES: list[dict[str, str]] = [
    BIG,
    {"PWD": "/nowhere"},
    BIG | {"PWD": "/nowhere"},
    BIG | {"PWD": "/nowhere", "PARTS/BIG": "y\n" * 40_000, "NL": "\n|~^%`\n"},
    {"PATH": "/nowhere", "IFS": "/", "ENV": "/nowhere", "LANG": "xx_XX", "conf": "/nowhere", "lib": "/nowhere"},
]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("more", VARIABLES, ids=" ".join)
def test_a_login_passes_with_whatever_variables(host: Host, program: str, more: dict[str, str]) -> None:
    for _ in range(2):
        assert host.fault(program, more=more) == ""
        host.end_the_grant()
    if "PATH" not in more:
        assert host.site.records() == {}
        host.login(program, more=more)
        assert host.site.records() == {A: "RELAY"}


# what is hidden, by what is mounted there
HIDDEN = {
    "no /proc": "mount -t tmpfs none /proc",
    "no /dev/fd": "mount -t tmpfs none /dev",
    "nothing in /dev but null": "cp -a /dev/null /run/ && mount -t tmpfs none /dev && mv /run/null /dev/",
    "no sleep": "mount --bind /dev/null /bin/sleep",
    "no Python": 'mount --bind /dev/null "$(readlink -f /usr/bin/python3)"',
    "no tr": "mount --bind /dev/null /usr/bin/tr",
    "no env": "mount --bind /dev/null /usr/bin/env",
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_a_login_passes_on_a_host_that_lacks_something(host: Host, program: str, hidden: str) -> None:
    script = f'mount -t tmpfs none /run; {HIDDEN[hidden]} || exit 9; shift 0; exec "$@"'
    before = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
    assert host.fault(program, before) == ""
    host.end_the_grant()
    assert host.fault(program, before) == ""
    assert host.fault(program, before, more={"PWD": "/nowhere"}) == ""


def crash() -> str:
    return "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"


# what is there in Python's place: a script, and what is logged
PYTHONS = {
    "is not there": ("", "cannot run"),
    "is garbage": ("\x7fELF garbage", "cannot run"),
    "ends at once": ("#!/bin/sh\nexit 3\n", "cannot run"),
    "crashes": ("#!/bin/sh\nkill -SEGV $$\n", "crashed; is the map damaged"),
    "is killed": ("#!/bin/sh\nkill -KILL $$\n", "crashed; is the map damaged"),
    "hangs": ("#!/bin/sh\nexec sleep 30\n", ""),  # the server has no child then, either
    "cannot be stopped": ("#!/bin/sh\ntrap '' TERM USR1\nsleep 30\n", ""),
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_a_login_passes_whatever_python_does_and_that_is_logged(host: Host, program: str, python: str) -> None:
    text, logged = PYTHONS[python]
    if text:
        (host.folder / "python3").write_text(text)
        (host.folder / "python3").chmod(0o755)
    host.spoil("python=/usr/bin/python3", f"python={host.folder}/python3")
    assert host.fault(program) == ""  # the fast lane needs no Python
    host.end_the_grant()
    login = host.login(program)
    assert (login.status, login.seconds < 2, logged in login.err) == (0, True, True), login.err
    assert not logged or login.seconds < 1


SPOILT: dict[str, Callable[[Path], object]] = {
    "garbage": lambda path: path.write_bytes(bytes(range(256)) * 40),
    "an unterminated quote": lambda path: path.write_bytes(b"lane_conf='\n"),
    "a folder": lambda path: path.mkdir(),
    "a fifo": os.mkfifo,
    "empty": lambda path: path.touch(),
    "a link to itself": lambda path: path.symlink_to(path),
    "gone": lambda path: None,
}
# a name in the site's folder, or, after lib/, in the installation
FILES = (
    "popips.conf",
    "popips.conf.lane",
    "popips/.lane",
    "popips/.expire",
    "popips/.alive",
    "popips/.denied",
    f"popips/{A}",
    "popips",
    "access.db",
    "access.db.popips",
    "lib/popips-*.pyc",
    "lib/popips-*",
    "lib/popips/__init__.py",
)


# an empty popips.conf is a good one, of a host whose map and stamps are where they are by default
SPOILT_FILES = [(name, how) for name in FILES for how in SPOILT if (name, how) != ("popips.conf", "empty")]


@pytest.mark.parametrize(("name", "spoilt"), SPOILT_FILES)
def test_a_login_passes_with_whatever_in_the_place_of_a_file(host: Host, name: str, spoilt: str) -> None:
    where = host.lib if name.startswith("lib/") else host.site.folder
    for path in sorted(where.glob(name.removeprefix("lib/"))) or [where / name]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        SPOILT[spoilt](path)
    for program in PROGRAMS:
        assert host.fault(program) == ""
    if name.startswith("lib/"):
        host.end_the_grant()
        for program in PROGRAMS:
            assert host.fault(program) == ""


def test_logins_pass_while_the_programs_are_upgraded(host: Host) -> None:
    """As `make install` does it: each file beside its place, and renamed; in between all modules are gone."""
    done = threading.Event()

    def upgrade() -> None:
        while not done.is_set():
            for path in [*(host.folder / program for program in PROGRAMS), *host.lib.rglob("*.py*")]:
                shutil.copy2(path, f"{path}.new")
                os.rename(f"{path}.new", path)
            host.lib.rename(f"{host.lib}.old")
            time.sleep(0)
            Path(f"{host.lib}.old").rename(host.lib)

    thread = threading.Thread(target=upgrade)
    thread.start()
    try:
        for _ in range(10):
            host.end_the_grant()
            for program in PROGRAMS:
                assert host.fault(program) == ""
    finally:
        done.set()
        thread.join()


@contextmanager
def at_most(processes: int) -> Iterator[Callable[[], object]]:
    """Return what puts a process, and all that it starts, where there may be no more processes than that."""
    unified = Path("/sys/fs/cgroup/cgroup.controllers")
    root = unified.parent if unified.exists() else Path("/sys/fs/cgroup/pids")
    if unified.exists():
        (root / "cgroup.subtree_control").write_text("+pids")
    group = root / f"popips-{os.getpid()}-{processes}"
    group.mkdir()
    (group / "pids.max").write_text(str(processes))
    try:
        yield lambda: (group / "cgroup.procs").write_text("0")
    finally:
        while (group / "cgroup.procs").read_text():
            time.sleep(0.01)
        group.rmdir()


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("processes", [1, 2, 3, 4])
def test_a_login_passes_where_fork_is_refused(host: Host, program: str, processes: int) -> None:
    with at_most(processes) as prepare:
        assert host.fault(program, prepare=prepare) == ""
        host.end_the_grant()
        assert host.fault(program, prepare=prepare) == ""
        assert host.fault(program, prepare=prepare, more={"PWD": "/nowhere"}) == ""


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("slow", ["fsync,fdatasync:delay_enter=8s", "open,openat:delay_enter=60ms"])
def test_a_login_is_held_up_by_no_slow_disk(host: Host, tmp_path: Path, program: str, slow: str) -> None:
    """From the program's start to the server's, by strace's clock: how long strace takes to start is no news."""
    log = tmp_path / "strace"
    options = ["-e", f"trace={slow.partition(':')[0]},execve,exit_group", "-e", f"inject={slow}"]
    for _ in range(2):
        assert host.login(program, ["strace", "-D", "-f", "-ttt", "--seccomp-bpf", "-o", log, *options]).status == 0
        lines = [line.split(None, 2) for line in log.read_text().splitlines()]
        times = [float(when) for pid, when, call in lines if pid == lines[0][0] and call.startswith(("exec", "exit"))]
        assert times[1] - times[0] < 2
        host.end_the_grant()


# what a server finds: children, and descriptors beside that which lists them
SERVER = """import os
try: print(os.waitpid(-1, os.WNOHANG))
except ChildProcessError: print("no child")
print(*sorted(os.listdir("/proc/self/fd"))[:-1])
"""
WITH_ANOTHER = ["/bin/sh", "-c", 'exec "$@" 3>&1', "sh"]  # Dovecot's script-login waits for an answer there


@pytest.mark.parametrize("python", ["/usr/bin/python3", "/bin/cat", "/nowhere"])
def test_the_server_has_its_descriptors_and_no_child_of_ours(host: Host, python: str) -> None:
    """Whether Python has done its work, fails, or is not there."""
    host.spoil("python=/usr/bin/python3", f"python={python}")
    for _ in range(2):
        login = host.login("popips-postlogin", WITH_ANOTHER, server=["/usr/bin/python3", "-c", SERVER])
        assert login.out == "no child\n0 1 2 3\n"
        host.end_the_grant()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_login_passes_where_sh_is_bash(host: Host, program: str) -> None:
    (host.folder / "sh").symlink_to("/bin/bash")
    host.spoil("python=/usr/bin/python3", f"python={host.folder}/python3")
    for _ in range(2):
        assert host.fault(program, [host.folder / "sh"], more={"PWD": "/nowhere"}) == ""
        host.end_the_grant()
