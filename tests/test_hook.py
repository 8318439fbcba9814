"""popips-hook, as pam_exec runs it."""

from __future__ import annotations

import fcntl
import os
import pty
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import Installed, exec_with

A = "192.0.2.10"


# the option, the phase of PAM, and whether it grants: to the auth phase wrong passwords come, too
PHASES = [
    ("", "auth", False),
    ("", "account", True),
    ("", "open_session", True),
    ("auth", "auth", True),
    ("auth", "account", False),
    ("account", "account", True),
    ("account", "auth", False),
    ("account", "open_session", False),
    ("session", "open_session", True),
    ("session", "close_session", False),
]


@pytest.mark.parametrize(("option", "kind", "acts"), PHASES)
def test_the_hook_acts_in_the_phases_that_only_right_logins_come_to_and_in_the_one_it_is_told(
    installed: Installed, option: str, kind: str, acts: bool
) -> None:
    env = {"PAM_RHOST": A, "PAM_USER": "alice", "PAM_SERVICE": "pop3", "PAM_TYPE": kind}
    done = installed.run("popips-hook", *(["--phase", option] if option else []), env=env)
    assert (done.returncode, done.stdout) == (0, "")
    assert installed.site.records() == ({A: "RELAY"} if acts else {})


def test_a_line_in_the_auth_phase_is_told_once_an_hour(installed: Installed) -> None:
    first = installed.pam(A, PAM_TYPE="auth").stderr
    assert "error: nothing is granted in the auth phase of PAM's service pop3: move its line to the account" in first
    assert "--phase auth" in first
    assert installed.pam(A, PAM_TYPE="auth").stderr == ""
    hour_ago = time.time() - 3601
    os.utime(installed.site.stamps / ".told-phase", (hour_ago, hour_ago))
    assert installed.pam(A, PAM_TYPE="auth").stderr == first
    assert installed.site.names() == set()


@pytest.mark.parametrize("kind", ["close_session", "password", "", "AUTH"])
def test_the_hook_does_nothing_at_other_times(installed: Installed, kind: str) -> None:
    done = installed.pam(A, PAM_TYPE=kind)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert installed.site.names() == set()


DOUBLED = {"PAM_RHOST": ("192.0.2.66", A), "PAM_TYPE": ("auth", "account"), "PAM_USER": ("eve", "alice")}


@pytest.mark.parametrize("is_known", [False, True], ids=["new", "known"])
def test_of_a_doubled_variable_the_last_counts_which_is_that_of_pam_exec(installed: Installed, is_known: bool) -> None:
    """As pam_env with user_readenv=1 lets a user make it; execve with a list is the only way to have one."""
    site, before = installed.site, time.time()
    if is_known:
        for address in DOUBLED["PAM_RHOST"]:
            installed.pam(address)
        installed.run("popips-expire")
        for address in DOUBLED["PAM_RHOST"]:
            installed.age(address, 5)
    environment = [f"{name}={values[which]}" for which in (0, 1) for name, values in DOUBLED.items()]
    exec_with([*environment, "PAM_SERVICE=pop3"], str(installed.path("popips-hook")), "-c", str(site.conf))
    stamps = {name: (site.stamps / name).stat().st_mtime for name in site.names()}
    assert [name for name, last in stamps.items() if last > before - 1] == [A]
    assert (site.stamps / A).read_text() == "alice pop3 popips-hook\n"


@pytest.mark.parametrize(
    ("conf", "told"),
    [
        ("unknown = key\n", "refused: "),
        ("window = 15\n", "refused: "),
        ("\xff\xfe", "refused: "),
        ("map = hash:/no/such/map\n", "deferred: "),
    ],
)
def test_the_hook_lets_a_login_pass_with_a_bad_configuration(installed: Installed, conf: str, told: str) -> None:
    installed.site.conf.write_text(f"stamps = {installed.site.stamps}\n{conf}")
    done = installed.pam(A)
    assert (done.returncode, done.stdout) == (0, "")
    assert told in done.stderr
    assert (str(installed.site.conf) if told == "refused: " else "/no/such/map.db") in done.stderr


def test_the_hook_takes_wrong_arguments_amiss_on_a_terminal_only(installed: Installed) -> None:
    command = [str(installed.path("popips-hook")), "--wrong"]
    for words in (command, [*command[:1], "--phase"], [*command[:1], "--phase", "password"], [*command[:1], "-c"]):
        done = subprocess.run(words, env={"PAM_TYPE": "account", "PAM_RHOST": A}, capture_output=True, text=True)
        assert (done.returncode, "called with wrong arguments" in done.stderr) == (0, True)
    master, slave = pty.openpty()
    try:
        assert subprocess.run(command, env={}, stderr=slave).returncode == 64
        assert os.read(master, 9999).startswith(b"usage: popips-hook")
    finally:
        os.close(master)
        os.close(slave)


def test_the_hook_waits_two_seconds_at_most_for_a_lock(installed: Installed) -> None:
    """A real wait: what is tested is the wait."""
    with installed.site.db.open("r+b") as db:
        fcntl.flock(db, fcntl.LOCK_EX)
        start = time.monotonic()
        done = installed.pam(A)
        assert 1.0 < time.monotonic() - start < 2.0
    assert done.returncode == 0
    [left] = (installed.site.stamps / ".requests").iterdir()
    assert left.name.startswith(f"{A}-")  # for the next run


def test_a_hook_that_hangs_is_left_behind(installed: Installed) -> None:
    """A fifo as the text of the map keeps its reader for ever; the login goes on."""
    text = installed.site.folder / "fifo"
    os.mkfifo(text)
    installed.site.configure(static_source=str(text))
    os.utime(installed.site.db, (0, 0))
    command = [str(installed.path("popips-hook")), "-c", str(installed.site.conf)]
    env = {"PAM_RHOST": A, "PAM_USER": "alice", "PAM_TYPE": "account"}
    assert subprocess.run(command, env=env, timeout=60).returncode == 0
    text.open("w").close()  # let it go: that waits until somebody reads


@pytest.mark.parametrize("right", [True, False])
def test_the_hook_signals_nobody_but_its_own_shell(installed: Installed, right: bool) -> None:
    """Its parent is a server of logins: a SIGUSR1 might end it."""
    parent = ["/bin/sh", "-c", "trap 'echo signalled' USR1; \"$@\"; echo $?", "sh", str(installed.path("popips-hook"))]
    words = ["-c", str(installed.site.conf)] if right else ["--wrong"]
    env = {"PAM_RHOST": A, "PAM_USER": "alice", "PAM_SERVICE": "pop3", "PAM_TYPE": "account"}
    assert subprocess.run([*parent, *words], env=env, capture_output=True, text=True).stdout == "0\n"
    assert installed.site.names() == ({A} if right else set())


def test_the_byte_code_of_another_python_is_no_harm(installed: Installed, tmp_path: Path) -> None:
    """As after an upgrade of Python, until the next `make install`."""
    lib = installed.programs / "lib/popips"
    byte_code = (lib / "popips-hook.pyc").read_bytes()
    (tmp_path / "popips-hook.pyc").write_bytes(b"\0\0" + byte_code[2:])
    (tmp_path / "popips-hook").write_text((lib / "popips-hook").read_text())
    program = tmp_path / "program"
    program.write_text(installed.path("popips-hook").read_text().replace(f"lib={lib}", f"lib={tmp_path}"))
    environment = [f"PAM_RHOST={A}", "PAM_USER=alice", "PAM_TYPE=account"]
    done = exec_with(environment, "/bin/sh", str(program), "-c", str(installed.site.conf))
    assert done.returncode == 0
    assert installed.site.records() == {A: "RELAY"}
