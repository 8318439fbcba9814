"""Requests by sh: a login leaves one before Python starts, and starts none while a granter is at work."""

from __future__ import annotations

import fcntl
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Installed
from tests.logins import ENVIRONMENT, PROGRAMS, A, Host

B = "192.0.2.11"


@pytest.fixture
def host(installed: Installed, tmp_path: Path) -> Iterator[Host]:
    made = Host(installed, tmp_path / "host")
    made.end_the_grant()
    (made.site.stamps / ".requests").mkdir(exist_ok=True)
    yield made
    made.end()


def requests(host: Host) -> list[str]:
    return [path.name for path in (host.site.stamps / ".requests").iterdir()]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    "python", ["#!/bin/sh\nexit 3\n", "#!/bin/sh\nkill -SEGV $$\n", "#!/bin/sh\nexec sleep 9\n", ""]
)
def test_without_a_python_that_works_the_next_run_grants(host: Host, program: str, python: str) -> None:
    if python:
        (host.folder / "python3").write_text(python)
        (host.folder / "python3").chmod(0o755)
    host.spoil("python=/usr/bin/python3", f"python={host.folder}/python3")
    assert host.fault(program) == ""
    [name] = requests(host)
    assert name.startswith(f"{A}-")
    assert (host.site.stamps / ".requests" / name).read_text() == f"alice pop3 {program}\n"
    host.installed.run("popips-expire")
    assert (host.site.records(), requests(host)) == ({A: "RELAY"}, [])


def test_a_login_leaves_no_request_behind_that_was_granted(host: Host) -> None:
    for program in PROGRAMS:
        host.end_the_grant()
        assert host.fault(program) == ""
        assert (host.site.records(), requests(host)) == ({A: "RELAY"}, [])
        assert not (host.site.stamps / ".granter").exists()


def marked(host: Host, pid: int) -> Path:
    marker = host.site.stamps / ".granter"
    marker.write_text(f"{pid}\n")
    return marker


@pytest.mark.parametrize("program", PROGRAMS)
def test_while_a_granter_is_at_work_no_python_is_started(host: Host, program: str) -> None:
    """The granter here does nothing: the request is deferred after less than 2 s."""
    host.spoil("python=/usr/bin/python3", f"python={host.folder}/python3")
    (host.folder / "python3").write_text(f"#!/bin/sh\ntouch {host.folder}/started\n")
    (host.folder / "python3").chmod(0o755)
    granter = subprocess.Popen(["sleep", "30"])
    try:
        marked(host, granter.pid)
        start = time.monotonic()
        assert host.fault(program) == ""
        assert time.monotonic() - start > 1
        assert len(requests(host)) == 1
        assert not (host.folder / "started").exists()
    finally:
        granter.kill()
        granter.wait()


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("how", ["dead", "older than the last run"])
def test_a_granter_that_is_none_is_not_waited_for(host: Host, program: str, how: str) -> None:
    other = subprocess.Popen(["sleep", "30"])
    marker = marked(host, other.pid)
    if how == "dead":
        other.kill()
        other.wait()
    else:
        os.utime(marker, (1, 1))
    try:
        assert host.fault(program) == ""
        assert host.site.records() == {A: "RELAY"}
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_granter_that_dies_while_it_is_waited_for_is_stood_in_for(host: Host, program: str) -> None:
    granter = subprocess.Popen(["sleep", "30"])
    waiting = threading.Thread(target=granter.wait)  # or it would stay, dead, and could be signalled
    waiting.start()
    marked(host, granter.pid)
    host.spoil("was_seen() {", 'was_seen() {\n    kill -KILL "$granter"')
    assert host.fault(program) == ""
    waiting.join()
    assert host.site.records() == {A: "RELAY"}


def test_a_login_goes_on_as_soon_as_the_granter_has_seen_to_its_request(host: Host) -> None:
    other = subprocess.Popen(["sleep", "30"])
    marked(host, other.pid)
    process = subprocess.Popen([host.folder / "popips-hook", "-c", host.site.conf], env=ENVIRONMENT["popips-hook"])
    try:
        while not requests(host):
            time.sleep(0.001)
        [name] = requests(host)
        (host.site.stamps / ".requests" / name).unlink()
        gone = time.monotonic()
        assert process.wait(9) == 0
        assert time.monotonic() - gone < 1
    finally:
        other.kill()
        other.wait()


def counted(host: Host, python: str) -> Path:
    """Have the hook start this line of sh for Python; return the file that has a line for each start."""
    count = host.folder / "count"
    count.write_text("")
    (host.folder / "python3").write_text(f"#!/bin/sh\necho >> {count}\n{python}\n")
    (host.folder / "python3").chmod(0o755)
    host.spoil("python=/usr/bin/python3", f"python={host.folder}/python3")
    return count


def begun(host: Host, size: int) -> list[subprocess.Popen[bytes]]:
    """Begin so many logins from new addresses at once."""
    return [
        subprocess.Popen(
            [host.folder / "popips-hook", "-c", host.site.conf],
            env=ENVIRONMENT["popips-hook"] | {"PAM_RHOST": f"10.0.0.{number}"},
        )
        for number in range(size)
    ]


def crowd(host: Host, size: int) -> int:
    """Have so many logins from new addresses at once; return how many of them started Python."""
    count = counted(host, 'exec /usr/bin/python3 "$@"')
    logins = begun(host, size)
    assert [login.wait(30) for login in logins] == [0] * size
    return len(count.read_text())


def test_a_crowd_starts_few_pythons_and_all_are_granted(host: Host) -> None:
    assert crowd(host, 100) < 25
    host.installed.run("popips-expire")
    assert host.site.names() == {f"10.0.0.{number}" for number in range(100)}
    assert len(host.site.records()) == 100
    assert requests(host) == []


def test_a_crowd_in_front_of_a_locked_map_is_granted_by_the_next_run(host: Host) -> None:
    with host.site.db.open("r+b") as db:
        fcntl.flock(db, fcntl.LOCK_EX)
        assert crowd(host, 50) < 25
    host.installed.run("popips-expire")
    assert len(host.site.records()) == 50
    assert requests(host) == []


def test_one_of_those_who_wait_follows_a_granter_that_is_done(host: Host) -> None:
    count = counted(host, "exec sleep 3")
    granter = subprocess.Popen(["sleep", "30"])
    marker = marked(host, granter.pid)
    logins = begun(host, 20)
    while len(requests(host)) < len(logins):
        time.sleep(0.001)
    marker.unlink()
    granter.kill()
    granter.wait()
    assert [login.wait(30) for login in logins] == [0] * len(logins)
    assert len(count.read_text()) < 5


def test_webmail_on_this_host_starts_python_once_an_hour(host: Host) -> None:
    """127.0.0.1 is in a network of `never`."""
    first, second = (host.login("popips-hook", more={"PAM_RHOST": "127.0.0.1"}) for _ in range(2))
    assert "in a network of `never`" in first.err
    assert (second.err, requests(host)) == ("", [])


ODD = [
    {"PAM_USER": "alice smith"},
    {"PAM_RHOST": "::ffff:192.0.2.10 "},
    {"PAM_RHOST": "../x"},
]


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_sh_leaves_no_request_of_an_unusual_login(host: Host, odd: dict[str, str]) -> None:
    host.spoil("python=/usr/bin/python3", "python=/bin/true")
    host.login("popips-hook", more=odd)
    assert requests(host) == []
