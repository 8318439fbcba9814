"""The environment that a login's hook was started with."""

from __future__ import annotations

import posix


class Unclear(Exception):
    """The environment says more than one thing; str() tells of what."""


def initial(pid: str) -> list[tuple[bytes, bytes]]:
    """Return names and values; of a process in their order, doubled ones too, of `self` as sh has handed them on.

    sh hands on one value a name only. Raise OSError if the process or /proc is gone.
    """
    if pid == "self":
        return list(posix.environ.items())
    with open(f"/proc/{pid}/environ", "rb") as file:
        return entries(file.read())


def entries(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return names and values of what /proc gives for an environment."""
    parts = (entry.partition(b"=") for entry in data.split(b"\0"))
    return [(name, value) for name, equals, value in parts if equals]


def single(environ: list[tuple[bytes, bytes]], prefix: bytes) -> dict[str, str]:
    """Return the variables whose names begin with prefix; raise Unclear if one of them is there twice.

    pam_env can be made to put a second PAM_RHOST, from the user's own file, in front of the real one.
    """
    found: dict[str, str] = {}
    for name, value in environ:
        if name.startswith(prefix):
            key = name.decode("ascii", "replace")
            if key in found:
                raise Unclear(f"{key} is there twice")
            found[key] = value.decode("utf-8", "surrogateescape")
    return found
