"""The programs that make maps, run without subprocess, for a login waits for them."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Any

from popips.maps.errors import Failed, Full, MapError

NO_SPACE = os.strerror(errno.ENOSPC)
MOST = 1 << 16  # bytes of what a program says, which may be a line for each record
TOLD = 300  # characters of that in a message


def run(paths: Sequence[str], words: Sequence[str], typed: str = "/dev/null") -> tuple[int, str]:
    """Run the first of the programs that there is; return its exit status and what it says.

    typed: the file that it reads. Raise MapError if there is none of them, or it cannot be run.
    """
    try:
        return _run(paths, words, typed)
    except OSError as error:
        raise MapError(f"{error.filename or paths[0]}: cannot be run: {error.strerror}") from None


def _run(paths: Sequence[str], words: Sequence[str], typed: str) -> tuple[int, str]:
    read, write = os.pipe()
    files: list[tuple[Any, ...]] = [(os.POSIX_SPAWN_OPEN, 0, typed, os.O_RDONLY, 0)]
    files += [(os.POSIX_SPAWN_DUP2, write, number) for number in (1, 2)]
    with open(read, "rb") as output:
        try:
            child = _spawned(paths, words, files)
        finally:
            os.close(write)
        said = output.read(MOST)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said.decode(errors="replace").strip()


def _spawned(paths: Sequence[str], words: Sequence[str], files: list[tuple[Any, ...]]) -> int:
    for path in paths:
        try:
            return os.posix_spawn(path, (path, *words), {}, file_actions=files)
        except FileNotFoundError:
            pass
    raise MapError(f"{' and '.join(paths)}: there is no such program; is it installed?")


def trouble(what: str, status: int, said: str, full: str = NO_SPACE) -> Failed:
    """Return the exception for a program that has not made the map; full: how it says that there is no room."""
    told = said if len(said) <= TOLD else f"{said[:TOLD]}..."
    return (Full if full in said else Failed)(f"{what}: {told or f'ended with status {status}'}")
