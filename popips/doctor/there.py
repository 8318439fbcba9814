"""Where popips itself is installed: its programs, its hooks, and the samples that a fix names."""

from __future__ import annotations

import os

import popips

ROOM = os.path.dirname(os.path.dirname(os.path.abspath(popips.__file__)))  # PREFIX/lib/popips, or a clone
HOOKS = ("popips-postlogin", "popips-hook")


def is_installed() -> bool:
    """Whether these modules are those of an installation, and not of a clone."""
    return os.path.basename(ROOM) == "popips" and os.path.isdir(f"{_prefix()}/libexec/popips")


def hook(name: str) -> str:
    """Return the path that an installed hook has."""
    return f"{_prefix()}/libexec/popips/{name}"


def sbin(name: str) -> str:
    """Return the command that starts a program: its path, where it is installed."""
    path = f"{_prefix()}/sbin/{name}"
    return path if is_installed() and os.path.exists(path) else name


def contrib(path: str) -> str:
    """Return the path of a sample."""
    installed = f"{_prefix()}/share/doc/popips/contrib/{path}"
    return installed if is_installed() else f"{ROOM}/contrib/{path}"


def _prefix() -> str:
    return os.path.dirname(os.path.dirname(ROOM))
