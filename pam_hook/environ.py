"""The environment that a login's hook was started with, to the byte."""

from __future__ import annotations


class Unclear(Exception):
    """The environment does not say one thing; str() tells why."""


def initial(pid: str) -> list[tuple[bytes, bytes]]:
    """Give names and values in their order, doubled ones too; pid: of lane.sh, or self.

    sh hands on one value a name only, and Python adds LC_CTYPE to what it gets in the C locale (PEP 538).
    """
    return parsed(read(pid))


def read(pid: str) -> bytes:
    """Give the environment of a process as it was started."""
    with open(f"/proc/{pid}/environ", "rb") as file:
        return file.read()


def parsed(data: bytes) -> list[tuple[bytes, bytes]]:
    """Give names and values of the entries."""
    entries = data.split(b"\0")
    return [(name, value) for name, equals, value in (entry.partition(b"=") for entry in entries) if equals]


def single(environ: list[tuple[bytes, bytes]], prefix: bytes) -> dict[str, str]:
    """Give the variables whose names begin with prefix; raise Unclear if one of them is there twice.

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
