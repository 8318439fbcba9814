"""Where popips itself is installed: its programs, its hooks, and the samples that a fix names."""

from __future__ import annotations

import os
import sys
from importlib.util import MAGIC_NUMBER

import popips
from popips.paste import quoted

ROOM = os.path.dirname(os.path.dirname(os.path.abspath(popips.__file__)))  # PREFIX/lib/popips, or a clone
HOOKS = ("popips-postlogin", "popips-hook")


def is_installed() -> bool:
    """Whether these modules are those of an installation, and not of a clone."""
    return os.path.basename(ROOM) == "popips" and os.path.isdir(f"{_prefix()}/libexec/popips")


def hook(name: str) -> str:
    """Return the path that an installed hook has."""
    return f"{_prefix()}/libexec/popips/{name}"


def sbin(name: str) -> str:
    """Return the command that starts a program: its path, where it is installed, as a word to paste."""
    path = f"{_prefix()}/sbin/{name}"
    return quoted(path) if is_installed() and os.path.exists(path) else name


def set_up() -> str:
    """Return the command that sets popips up, or puts back what is missing of that."""
    return f"{sbin('popips-db')} setup --apply"


def contrib(path: str) -> str:
    """Return the path of a sample, as a word to paste."""
    installed = f"{_prefix()}/share/doc/popips/contrib/{path}"
    return quoted(installed if is_installed() else f"{ROOM}/contrib/{path}")


def install_again() -> str:
    """Return the command that installs popips anew."""
    if os.path.exists("/var/lib/dpkg/info/popips.list"):
        again = "apt-get install -y --reinstall"
        return f"{again} popips || {again} ./popips_*.deb  # the second in the folder of your .deb"
    return f"make -C {quoted(ROOM)} install" if os.path.exists(f"{ROOM}/Makefile") else "make install"


def unfit_pack() -> str:
    """Return the file of byte code, see pam_hook.pack, that this Python cannot run, "" if there is none."""
    for name in HOOKS:
        path = f"{ROOM}/{name}.pyc"
        try:
            with open(path, "rb") as file:
                if file.read(4) != MAGIC_NUMBER:
                    return path
        except OSError:
            return path
    return ""


def pack_again() -> str:
    """Return the command that makes the byte code anew."""
    binding = sys.path[-1]  # where the installed programs have it
    return (
        f"{sys.executable} -I -X no_debug_ranges {quoted(f'{ROOM}/pam_hook/pack.py')} {quoted(ROOM)} {quoted(binding)}"
    )


def _prefix() -> str:
    return os.path.dirname(os.path.dirname(ROOM))
