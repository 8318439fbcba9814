"""The programs that are tortured, each with its words and environment, and the addresses that they work on."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field

from popips.login import Login
from tests.box import CRON_ENVIRONMENT
from tests.torture.ground import Ground

NEW, KNOWN, STATIC, OTHER = "192.0.2.10", "192.0.2.20", "10.0.0.7", "192.0.2.99"
LOGIN = Login("alice", "pop3", "popips-hook")
HOOKS = ("popips-hook", "popips-postlogin")


@dataclass(frozen=True)
class Program:
    """A run of one of the programs; whole: of a hook, all of it, and not only what Python does."""

    name: str
    words: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    whole: bool = False

    @property
    def is_hook(self) -> bool:
        return self.name in HOOKS

    @property
    def address(self) -> str:
        """Where the login comes from."""
        return self.env.get("PAM_RHOST") or self.env["IP"]

    def command(self, ground: Ground) -> list[str]:
        """Return its words: the interpreter by its real path, for a version manager's shim makes calls of its own."""
        words = ["-c", str(ground.conf), *self.words]
        if self.whole:
            return [str(ground.programs / "libexec/popips" / self.name), *words]
        script = ground.programs / ("lib/popips" if self.is_hook else "sbin") / self.name
        if self.is_hook:
            words = ["grant", "nobody", "-", "-c", str(ground.conf)]  # no sh waits for it
        with script.open() as file:
            interpreter, option = file.readline().removeprefix("#!").split()
        return [os.path.realpath(interpreter), option, str(script), *words]

    def run(self, ground: Ground, under: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run it to its end; under: the command that starts it."""
        return subprocess.run(
            [*under, *self.command(ground)],
            env=CRON_ENVIRONMENT | self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )


def hook(address: str, whole: bool = False) -> Program:
    variables = {"PAM_TYPE": "account", "PAM_RHOST": address, "PAM_USER": "alice", "PAM_SERVICE": "pop3"}
    return Program("popips-hook", env=variables, whole=whole)


def postlogin(address: str, whole: bool = False) -> Program:
    return Program("popips-postlogin", ("/bin/true",), {"IP": address, "USER": "alice"}, whole)


EXPIRE = Program("popips-expire")
INS = Program("popips-db", ("ins", "static.example", "OK", "another.example", "REJECT"))
DEL = Program("popips-db", ("del", NEW, "static.0"))
DENY = Program("popips-db", ("deny", NEW))
END = Program("popips-db", ("end", NEW))
NEXT = (hook(OTHER), hook(NEW), postlogin(OTHER), EXPIRE, Program("popips-db", ("ins", "x.example", "OK")))
NEXT_ON_OWN_MAP = (*NEXT[:-1], Program("popips-db", ("ins", "192.0.2.98")))
MADE_BY_NEXT = {"x.example"}
