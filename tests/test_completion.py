"""TAB completes command lines in bash and in zsh, as they are installed."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from man import completion
from tests.box import CRON_ENVIRONMENT
from tests.conftest import Installed

SHELLS = ("bash", "zsh")
A, B = "192.0.2.10", "198.51.100.7"


FILES = list(completion.files())


@pytest.mark.parametrize(("path", "text"), FILES, ids=[path.name for path, _ in FILES])
def test_what_is_checked_in_is_what_the_parsers_say(path: Path, text: str) -> None:
    assert path.read_text() == text, "make pages"


class Shell:
    """An interactive shell on a terminal of its own."""

    def __init__(self, shell: str, installed: Installed, home: Path) -> None:
        share = installed.programs / "share"
        ours, its = pty.openpty()
        env = CRON_ENVIRONMENT | {"TERM": "dumb", "HOME": str(home), "PS1": "$ ", "COLUMNS": "500"}
        env["PATH"] = f"{installed.programs / 'sbin'}:{env['PATH']}"
        command = ["bash", "--norc", "--noprofile", "-i"] if shell == "bash" else ["zsh", "-f", "-i"]
        self.process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=env, start_new_session=True)
        os.close(its)
        self.fd = ours
        if shell == "bash":
            for program in completion.PARSERS:  # as bash-completion does it, when it is first asked for
                self.type(f"source {share}/bash-completion/completions/{program}\n")
            self.type("bind 'set enable-bracketed-paste off' 'set show-all-if-ambiguous on'\n")
        else:
            self.type(f"fpath=({share}/zsh/site-functions $fpath); autoload -U compinit; compinit -u -d {home}/dump\n")
        self.type("echo be''gin\n")
        self.until("begin")

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def until(self, text: str) -> str:
        """Read until that is shown, and return all that was."""
        seen, end = "", time.monotonic() + 60
        while text not in seen:
            assert select.select([self.fd], [], [], max(0.0, end - time.monotonic()))[0], seen
            seen += os.read(self.fd, 65536).decode(errors="replace").replace("\a", "")
        return seen

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.fd)


@pytest.fixture(params=SHELLS)
def shell(installed: Installed, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Shell]:
    made = Shell(request.param, installed, tmp_path)
    yield made
    made.close()


LINES = [  # what is typed before the TAB, and what then stands there
    ("popips-db sta", "popips-db status "),
    ("popips-db und", "popips-db undeny "),
    ("popips-db status --wa", "popips-db status --watch "),
    ("popips-db end --orp", "popips-db end --orphans "),
    ("popips-db doctor --st", "popips-db doctor --strict "),
    ("popips-expire --ver", "popips-expire --ver"),
    ("popips-expire --met", "popips-expire --metrics "),
    ("popips-follow --jo", "popips-follow --journal "),
    ("popips-follow --format dovecot-", "popips-follow --format dovecot-file "),
    ("popips-db -c {folder}/popips.co", "popips-db -c {folder}/popips.conf "),
]


@pytest.mark.parametrize(("typed", "wanted"), LINES, ids=[typed for typed, _ in LINES])
def test_a_word_is_completed(shell: Shell, installed: Installed, typed: str, wanted: str) -> None:
    folder = installed.site.folder
    shell.type(typed.format(folder=folder) + "\t")
    shell.until(wanted.format(folder=folder))


def test_the_addresses_of_grants_and_denials_are_offered(shell: Shell, installed: Installed, tmp_path: Path) -> None:
    """The program is asked for them: here a stand-in that works on the test's own settings."""
    installed.site.now = time.time()
    installed.site.login(A)
    installed.run("popips-db", "deny", B)
    shell.type(f'popips-db() {{ {installed.path("popips-db")} -c {installed.site.conf} "$@"; }}\n')
    shell.type("popips-db end 192\t")
    shell.until(f"popips-db end {A}")
    shell.type("\x15popips-db undeny 19\t")
    shell.until(f"popips-db undeny {B}")
