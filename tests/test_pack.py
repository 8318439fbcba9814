"""The packed programs do what the modules say, and import nothing that costs a login more than it does."""

from __future__ import annotations

import subprocess

import pytest

from tests.conftest import Installed

A = "192.0.2.10"
# what CPython itself starts with, and what is cheap
CHEAP = {"_codecs", "codecs", "encodings.aliases", "encodings", "encodings.utf_8", "_signal", "_abc", "abc", "io"}
CHEAP |= {"_socket", "_stat", "errno", "fcntl", "gc", "pwd", "grp", "_functools", "time", "zipimport", "winreg"}
CHEAP |= {"_frozen_importlib_external", "marshal", "posix", "_thread", "_weakref", "_io", "_warnings"}


def imported(installed: Installed, *words: str) -> set[str]:
    """What a login's Python imports beside the packed modules."""
    command = ["/usr/bin/python3", "-IS", "-X", "importtime", str(installed.programs / "lib/popips/popips-hook.pyc")]
    env = {"PAM_TYPE": "account", "PAM_RHOST": A, "PAM_USER": "alice", "PAM_SERVICE": "pop3"}
    told = subprocess.run([*command, *words], env=env, capture_output=True, text=True).stderr.splitlines()
    return {line.rpartition("|")[2].strip() for line in told if line.startswith("import time:")} - {"imported package"}


def test_a_login_imports_nothing_that_is_dear(installed: Installed) -> None:
    installed.run("popips-expire")
    found = imported(installed, "grant", "1", "-", "-c", str(installed.site.conf))
    assert {name for name in found if not name.startswith("popips.")} - CHEAP == set()
    assert installed.site.records() == {A: "RELAY"}


LOGINS = [
    {},
    {"PAM_RHOST": "2001:db8::10"},
    {"PAM_RHOST": "x"},
    {"PAM_RHOST": ""},
    {"PAM_TYPE": "auth"},
    {"PAM_USER": "a b"},
]


@pytest.mark.parametrize("login", LOGINS, ids=str)
def test_packed_and_plain_programs_say_and_do_the_same(installed: Installed, login: dict[str, str]) -> None:
    installed.run("popips-expire")
    done = []
    for program in ("popips-hook.pyc", "popips-hook"):
        env = {"PAM_TYPE": "account", "PAM_RHOST": A, "PAM_USER": "alice", "PAM_SERVICE": "pop3"} | login
        command = ["/usr/bin/python3", "-IS", str(installed.programs / "lib/popips" / program), "grant", "1", "-"]
        ran = subprocess.run([*command, "-c", str(installed.site.conf)], env=env, capture_output=True, text=True)
        done.append((ran.returncode, ran.stdout, ran.stderr, installed.site.records(), installed.site.names()))
        installed.run("popips-db", "end", "--all")
        for told in installed.site.stamps.glob(".told-*"):
            told.unlink()
    assert done[0] == done[1]
