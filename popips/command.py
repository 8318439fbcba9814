"""What popips-db and popips-expire share as commands: their common options, and errors as sysexits.h has them."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

import popips
from popips import maps, stamps, watch
from popips.configuration import PATH, SettingsError
from popips.log import ERROR, Log

Told = Callable[[int, str], None]  # what hears of an error: the exit status, and what is wrong


class UsageError(Exception):
    """The command line asks for something that cannot be; str() says what to write instead."""


class WrongArguments(SystemExit):
    """The command line cannot be read: the usage was shown, and the program ends with EX_USAGE; text: what is wrong."""

    def __init__(self, text: str) -> None:
        super().__init__(os.EX_USAGE)
        self.text = text


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        sys.stderr.write(f"{self.prog}: {message}\n")
        raise WrongArguments(message)


def parser(program: str, description: str) -> argparse.ArgumentParser:
    """Return a parser that knows -c, --help and --version."""
    made = _Parser(prog=program, description=description, allow_abbrev=False)
    made.add_argument("-c", dest="conf", metavar="FILE", default=PATH, help="the configuration (default: %(default)s)")
    made.add_argument("--version", action="version", version=f"{program} {popips.__version__}")
    return made


STATUS: tuple[tuple[type[Exception], int], ...] = (
    (UsageError, os.EX_USAGE),
    (SettingsError, os.EX_CONFIG),
    (maps.Busy, os.EX_TEMPFAIL),
    (maps.Missing, os.EX_NOINPUT),
    (maps.Failed, os.EX_IOERR),
    (maps.MapError, os.EX_DATAERR),
    (stamps.StampFailed, os.EX_IOERR),
    (stamps.StampError, os.EX_CANTCREAT),
    (PermissionError, os.EX_NOPERM),
    (OSError, os.EX_IOERR),
)


def to_log(log: Log) -> Told:
    """Return what writes errors into the log."""
    return lambda status, text: log.line(ERROR, f"error: {text}")


def run(program: str, work: Callable[[], int], told: Told | None = None) -> int:
    """Do the work in a process of its own, for a damaged map can crash libdb, and return its exit status.

    An error becomes a line on standard error, and a status of its own; told hears of both.
    """
    sys.stdout.flush()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who starts us may ignore it, and then no child can be waited for
    try:
        child = os.fork()
    except OSError:  # where no process is to be had, grants must end all the same
        return _status_of(program, work, told)
    if child == 0:
        os._exit(_status_of(program, work, told))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: os.kill(child, number))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status >= 0:
        return status
    if -status in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL):
        return 128 - status
    text = f"libdb crashed ({signal.strsignal(-status)}): the map is damaged; rebuild it with makemap"
    return _fail(program, os.EX_DATAERR, text, told)


def _status_of(program: str, work: Callable[[], int], told: Told | None) -> int:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    try:
        if os.geteuid() != 0:
            raise PermissionError("map and stamps are root's: run it as root")
        status = work()
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        return os.EX_IOERR  # the reader of our output has left: nobody to tell
    except tuple(kind for kind, _ in STATUS) as error:
        status = next(status for kind, status in STATUS if isinstance(error, kind))
        return _fail(program, status, watch.reason(error, program), told)


def _fail(program: str, status: int, text: str, told: Told | None) -> int:
    sys.stderr.write(f"{program}: {text}\n")
    if told:
        told(status, text)
        sys.stdout.flush()
    return status
