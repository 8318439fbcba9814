"""What bash and zsh complete is what the programs' parsers know, and both do complete it."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
from pathlib import Path

import pytest

from man import completion
from tests.box import CRON_ENVIRONMENT

PATIENCE = 60.0
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "for f in {folder}/*; do . $f; done"),
    "zsh": (["zsh", "-f", "-i"], "fpath=({folder} $fpath); autoload -Uz compinit; compinit -u -D"),
}
ROWS = [
    ("popips-db doc", "doctor"),
    ("popips-db doctor --str", "--strict"),
    ("popips-db lst --gr", "--grants"),
    ("popips-expire --dr", "--dry-run"),
    ("popips-follow --jo", "--journal"),
]


@pytest.mark.parametrize("path", completion.files(), ids=lambda path: path.name)
def test_the_files_are_those_of_todays_parsers(path: Path) -> None:
    assert path.read_text() == completion.files()[path], "make pages"


@pytest.mark.parametrize(("typed", "wanted"), ROWS)
@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_it(shell: str, typed: str, wanted: str) -> None:
    command, prepare = SHELLS[shell]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(command[0], command, {**CRON_ENVIRONMENT, "TERM": "dumb", "HOME": "/nonexistent"})
    try:
        _type(terminal, prepare.format(folder=completion.FOLDER / shell) + "; echo rea''dy\n", "ready\r\n")
        _type(terminal, f"{typed}\t", wanted)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def _type(terminal: int, keys: str, wanted: str) -> None:
    """Type keys, and wait for what is to be shown."""
    os.write(terminal, keys.encode())
    shown, end = "", time.monotonic() + PATIENCE
    while wanted not in shown:
        assert select.select([terminal], [], [], max(0, end - time.monotonic()))[0], (wanted, shown)
        shown += os.read(terminal, 4096).decode()
