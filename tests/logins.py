"""Logins by the installed hooks, on a host that a test may spoil as it likes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.box import CRON_ENVIRONMENT
from tests.conftest import Installed

A = "192.0.2.10"
LIMIT = 2.0  # seconds that a login may be held up
# a server that tells which descriptors it was started with, and forks for none of that
SERVER = ["/bin/sh", "-c", "for n in 0 1 2 3 4 5 6 7 8 9; do command : <&$n && printf $n; done; exit 0"]
# what script-login of Dovecot 2.3.19 and 2.4.1 gives a server: nothing else, and the names that it has made are listed
DOVECOT = {
    **{"LOCAL_IP": "192.0.2.1", "IP": A, "USER": "alice", "SYSTEM_GROUPS_USER": "alice", "UID": "1000", "GID": "1000"},
    **{"HOME": "/home/alice", "AUTH_MECH": "PLAIN", "USERDB_KEYS": "SYSTEM_GROUPS_USER UID GID HOME AUTH_MECH "},
}
ENVIRONMENT = {
    "popips-hook": {"PAM_RHOST": A, "PAM_USER": "alice", "PAM_SERVICE": "pop3", "PAM_TYPE": "account"},
    "popips-postlogin": DOVECOT,
}
PROGRAMS = tuple(ENVIRONMENT)


class Login:
    """A login that has ended: its status, how long it took, and what it wrote."""

    def __init__(self, status: int, seconds: float, out: str, err: str) -> None:
        self.status, self.seconds, self.out, self.err = status, seconds, out, err


class Host:
    """A host with an installation of its own; one address has a grant, and the fast lane is open."""

    def __init__(self, installed: Installed, folder: Path) -> None:
        folder.mkdir()
        self.installed, self.site, self.folder, self.lib = installed, installed.site, folder, folder / "lib"
        self.groups: list[int] = []
        shutil.copytree(installed.programs / "lib/popips", self.lib)
        for name in PROGRAMS:
            text = installed.path(name).read_text().replace(f"lib={installed.programs}/lib/popips", f"lib={self.lib}")
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        self.login("popips-hook")
        assert installed.run("popips-expire").returncode == 0

    def spoil(self, old: str, new: str) -> None:
        """Put something else into the two programs."""
        for name in PROGRAMS:
            text = (self.folder / name).read_text()
            assert old in text
            (self.folder / name).write_text(text.replace(old, new))

    def end_the_grant(self) -> None:
        """Let the next login take the long way."""
        (self.site.stamps / A).unlink(missing_ok=True)
        self.site.build("")

    def login(
        self,
        program: str,
        before: Sequence[str | Path] = (),
        prepare: Callable[[], object] | None = None,
        server: Sequence[str] = SERVER,
        more: Mapping[str, str] = {},
    ) -> Login:
        """Log in; before: the command that starts the program; prepare: run in the new process; more: variables.

        What is left in the background goes on until this host ends.
        """
        words = [*before, self.folder / program, "-c", self.site.conf]
        # files could be forbidden to grow; and what is left in the background may keep a pipe open
        (read_out, out), (read_err, err) = os.pipe2(os.O_NONBLOCK), os.pipe2(os.O_NONBLOCK)
        start = time.monotonic()
        process = subprocess.Popen(
            [*words, *(server if program == "popips-postlogin" else ())],
            env=CRON_ENVIRONMENT | ENVIRONMENT[program] | dict(more),
            stdout=out,
            stderr=err,
            preexec_fn=prepare,  # noqa: PLW1509 - it is for what subprocess cannot do
            start_new_session=True,
        )
        self.groups.append(process.pid)
        status = process.wait(30)
        seconds = time.monotonic() - start
        os.close(out)
        os.close(err)
        with open(read_out, "rb", 0) as told, open(read_err, "rb", 0) as complained:
            return Login(status, seconds, *((pipe.read(99999) or b"").decode() for pipe in (told, complained)))

    def fault(
        self,
        program: str,
        before: Sequence[str | Path] = (),
        prepare: Callable[[], object] | None = None,
        more: Mapping[str, str] = {},
    ) -> str:
        """Log in, and return what was wrong with it: "" if the login went on as it must, with no word to the client."""
        login = self.login(program, before, prepare, more=more)
        if login.status:
            return f"{program}: status {login.status}: {login.err[-500:]}"
        # where fork is refused to a command substitution, dash leaves the end of a pipe behind
        if login.out.removesuffix("3" if "inject=clone" in " ".join(map(str, before)) else "") != (
            "012" if program == "popips-postlogin" else ""
        ):
            return f"{program}: wrote {login.out!r}: {login.err[-500:]}"
        return f"{program}: held up for {login.seconds:.2f} s" if login.seconds > LIMIT else ""

    def end(self) -> None:
        """End what logins have left behind."""
        for group in self.groups:
            try:
                os.killpg(group, signal.SIGKILL)
            except ProcessLookupError:
                pass
