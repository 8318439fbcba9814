"""Each call that a login makes fails in turn, whatever file it is for: the login passes.

strace counts the calls of each process by itself, so the n-th one fails in sh and in its children at once; the calls of
Python are gone through by a strace of its own. What the loader of /bin/sh asks for before it has read our first line is
left out: if that fails, only Dovecot or PAM can tell what comes of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Installed
from tests.logins import PROGRAMS, Host

ERRORS = ("ENFILE", "ENOMEM", "EACCES", "EIO")
OF_SH = ("openat", "mmap", "brk", "execve", "clone", "vfork", "fcntl")  # fork by dash
OF_PYTHON = ("openat", "mmap")
STRACE = "strace -D -qq --seccomp-bpf"


@pytest.fixture
def host(installed: Installed, tmp_path: Path) -> Iterator[Host]:
    made = Host(installed, tmp_path / "host")
    yield made
    made.end()


def faults(host: Host, program: str, runs: list[tuple[list[str], dict[str, str]]], is_known: bool = False) -> list[str]:
    """Log in behind each of these commands and with these variables, two at once; return what was wrong."""

    def one(run: tuple[list[str], dict[str, str]]) -> str:
        if not is_known:
            host.end_the_grant()
        fault = host.fault(program, run[0], more=run[1])
        return fault and f"{run[0][-1:]} {run[1]} {fault}"

    with ThreadPoolExecutor(2) as pool:
        return [fault for fault in pool.map(one, runs) if fault]


# the ways of a login; for that with odd variables the programs that put them right are the last that is ours
WAYS: dict[str, tuple[bool, dict[str, str]]] = {
    "fast": (True, {}),
    "long": (False, {}),
    "long, odd variables": (False, {"PWD": "/nowhere"}),
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("call", OF_SH)
def test_each_call_of_sh_and_its_children_fails_in_turn(
    host: Host, tmp_path: Path, program: str, way: str, call: str
) -> None:
    is_known, more = WAYS[way]
    if not is_known:
        host.end_the_grant()
    log = tmp_path / "strace"
    host.login(program, [*STRACE.split(), "-o", str(log), "-e", f"trace=read,execve,{call}"], more=more)
    loader, _, ours = log.read_text().partition("#!/bin/sh")
    ours, server, _ = ours.partition("\nexecve(")
    first = len(re.findall(rf"^{call}\(", loader, re.M)) + (call != "execve")  # strace begins to count behind the first
    last = first + len(re.findall(rf"^{call}\(", ours, re.M)) + (16 if not server else call == "execve")
    runs = [
        (
            [
                *STRACE.split(),
                "-f",
                "-o",
                "/dev/null",
                "-e",
                f"trace={call}",
                "-e",
                f"inject={call}:error={error}:when={n}",
            ],
            more,
        )
        for n in range(first, last)
        for error in ERRORS
    ]
    assert runs or call not in ("openat", "execve")
    assert faults(host, program, runs, is_known) == []


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("call", OF_PYTHON)
def test_each_call_of_python_fails_in_turn(host: Host, tmp_path: Path, call: str, error: str) -> None:
    python, log = host.folder / "python3", tmp_path / "strace"
    python.write_text(f'#!/bin/sh\nexec {STRACE} -e trace={call} $OPTIONS /usr/bin/python3 "$@"\n')
    python.chmod(0o755)
    host.spoil("python=/usr/bin/python3", f"python={python}")
    host.end_the_grant()
    assert host.fault("popips-hook", more={"OPTIONS": f"-o {log}"}) == ""
    count = Counter(re.findall(r"^\w+", log.read_text(), re.M))[call]
    assert count > 20
    options = (f"-o /dev/null -e inject={call}:error={error}:when={n}" for n in range(1, count + 1))
    assert faults(host, "popips-hook", [([], {"OPTIONS": option}) for option in options]) == []
