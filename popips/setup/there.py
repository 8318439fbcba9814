"""What of this host all parts of a set-up ask for: texts of files, where popips is installed, how services restart."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import popips
from popips.probe.machine import Machine
from popips.probe.units import has_systemd
from popips.settings import Settings
from popips.setup.step import ByHand, Command

ROOM = os.path.dirname(os.path.dirname(os.path.abspath(popips.__file__)))  # PREFIX/lib/popips, or a clone


@dataclass(frozen=True)
class Host:
    """What setup aims at. settings: what popips.conf will say; new_conf: its text then, None if it stays as it is."""

    machine: Machine
    settings: Settings
    new_conf: str | None
    hook: str

    @property
    def systemd(self) -> bool:
        """Whether systemd runs the host."""
        return has_systemd(self.machine)

    @property
    def prefix(self) -> str:
        """Where popips is installed; raise ByHand if these modules are not those of an installation."""
        prefix = os.path.dirname(os.path.dirname(ROOM))
        if not os.access(os.path.join(prefix, "sbin/popips-expire"), os.X_OK) or os.path.basename(ROOM) != "popips":
            raise ByHand("popips is not installed: make install, and then the popips-db that this has installed")
        return prefix

    def program(self, name: str) -> str:
        """Return the path of an installed program, as sbin/popips-db; raise ByHand if it is not there."""
        path = f"{self.prefix}/{name}"
        if not os.access(path, os.X_OK):
            raise ByHand(f"{path} is missing: reinstall popips")
        return path

    def restart(self, unit: str) -> Command:
        """Return the command that starts a service anew: one that runs now, also after a start that has failed."""
        if not self.systemd:
            return ("service", unit, "restart")
        runs = self.machine.ask("systemctl", "is-active", "--quiet", unit).status == 0
        return ("systemctl", "restart" if runs else "try-restart", unit)


def text(machine: Machine, path: str) -> str:
    """Return what a file says to the byte, see os.fsdecode(); "" if it is not there. Raise ByHand if it is a link."""
    if os.path.islink(machine.path(path)):
        raise ByHand(
            f"{path} is a symbolic link, to {os.readlink(machine.path(path))}: setup changes no file behind one"
        )
    try:
        with open(machine.path(path), "rb") as file:
            return os.fsdecode(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return ""


def contrib(path: str) -> str:
    """Return the text of a file of contrib, as it names the installed programs; raise ByHand if it is missing."""
    try:
        with open(f"{ROOM}/contrib/{path}", encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise ByHand(f"{error.filename}: {error.strerror}: reinstall popips") from None


def lines(text: str) -> list[str]:
    """Return the lines that are no comment, without the blanks around them."""
    return [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]


def value(said: str, name: str) -> str:
    """Return the value of `name = value` in what a program said, "" if it is not there."""
    found = re.search(rf"^\s*{re.escape(name)} *=[ \t]*(.*)$", said, re.M)
    return found[1].strip() if found else ""
