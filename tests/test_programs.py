"""The installed programs, as cron and the admin run them: what all have in common, and popips-expire."""

from __future__ import annotations

import fcntl
import subprocess
import sys

import pytest

import popips
from tests.conftest import Installed

A, SIX, SIX_KEY = "192.0.2.10", "2001:db8::10", "ipv6:2001:db8:0:0:0:0:0:10"
PROGRAMS = ("popips-db", "popips-expire", "popips-hook", "popips-postlogin")


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_tells_its_usage_and_version(installed: Installed, program: str) -> None:
    told = installed.run(program, "--help", conf=False)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith(f"usage: {program} [")
    assert "-c FILE" in told.stdout
    version = installed.run(program, "--version", conf=False)
    assert (version.returncode, version.stdout) == (0, f"{program} {popips.__version__}\n")


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_are_roots_and_run_isolated(installed: Installed, program: str) -> None:
    path = installed.path(program)
    assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (0, 0o755)
    in_sh = program in ("popips-hook", "popips-postlogin")
    assert path.read_text().startswith("#!/bin/sh\n" if in_sh else "#!/usr/bin/python3 -IS\n")


def test_all_that_was_installed_is_roots_and_for_no_other_to_write(installed: Installed) -> None:
    for path in installed.programs.rglob("*"):
        assert path.stat().st_uid == 0
        assert not path.stat().st_mode & 0o022, path
    assert (installed.programs / "popips").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("program", "words"), [("popips-expire", ()), ("popips-db", ("lst",)), ("popips-db", ("ins", "a", "b"))]
)
def test_a_bad_configuration_is_an_error_with_file_line_and_cure(
    installed: Installed, program: str, words: tuple[str, ...]
) -> None:
    installed.site.conf.write_text("window = 15m\nwindw = 15m\n")
    done = installed.run(program, *words)
    assert done.returncode == 78
    assert f"{program}: {installed.site.conf}:2: unknown key 'windw': the keys are mta, map, stamps, " in done.stderr


@pytest.mark.parametrize("words", [["popips-db", "lst"], ["popips-expire"], ["popips-follow", "--format", "own"]])
def test_a_configuration_that_is_named_must_be_there(installed: Installed, words: list[str]) -> None:
    installed.site.conf.unlink()
    done = installed.run(*words)
    assert (done.returncode, f"{installed.site.conf}: there is no such file" in done.stderr) == (78, True)


def test_a_program_may_be_started_by_one_that_ignores_its_children(installed: Installed) -> None:
    ignoring = "import os, sys; from signal import *; signal(SIGCHLD, SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", ignoring, installed.path("popips-expire"), "-c", installed.site.conf]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# ---- popips-expire


def test_expire_is_quiet_and_takes_out_what_is_due(installed: Installed) -> None:
    installed.pam(A)
    installed.pam(SIX)
    installed.age(A)
    done = installed.run("popips-expire")
    assert (done.returncode, done.stdout) == (0, "")
    assert installed.site.records() == {SIX_KEY: "RELAY"}


def test_expire_tells_what_it_does_or_would_do(installed: Installed) -> None:
    installed.pam(A)
    installed.age(A)
    where = f"map=hash:{installed.site.db}"
    assert installed.run("popips-expire", "-n").stdout == f"would be removed: address={A} {where}\n"
    assert installed.site.records() == {A: "RELAY"}
    told = installed.run("popips-expire", "-v").stdout
    assert told == f"removed: address={A} {where}\n0 live, 1 ended\n"


def test_expire_takes_a_window_of_its_own(installed: Installed) -> None:
    installed.pam(A)
    installed.age(A, minutes=10)
    installed.run("popips-expire")
    assert installed.site.names() == {A}
    installed.run("popips-expire", "--window", "9m")
    assert installed.site.names() == set()
    wrong = installed.run("popips-expire", "--window", "9")
    assert (wrong.returncode, "s m h d or w" in wrong.stderr) == (64, True)


def test_a_second_expirer_leaves_quietly(installed: Installed) -> None:
    installed.pam(A)
    installed.age(A)
    with (installed.site.stamps / ".expire").open("w") as run:
        fcntl.flock(run, fcntl.LOCK_EX)
        done = installed.run("popips-expire", "-v")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert installed.site.names() == {A}
