"""popips-share: tells the other hosts of the logins here, and this one of theirs. In the foreground, for ever."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time

from mapd import systemd
from popips import command, configuration
from popips.configuration import SettingsError
from popips.files import identity_of
from popips.log import ERROR, Log
from popips.stamps import StampError
from share.told import FolderError

PROGRAM = "popips-share"
PAUSE = 1.0  # seconds until a folder that cannot be used is tried again
AGAIN = 3600.0  # seconds until the same trouble is logged again


class Unfit(Exception):
    """It cannot start; str() says why, with the cure; status: of the exit."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def main(argv: list[str] | None = None) -> int:
    """Run with the arguments after the program's name, until SIGTERM; return the exit status."""
    options = parser().parse_args(argv)
    log = Log(PROGRAM)
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: asked.append(number))
    try:
        _work(Conf(os.path.abspath(options.conf), log), log, asked)
    except Unfit as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        log.line(ERROR, f"error: {error}")
        return error.status
    systemd.notify(os.environ, "STOPPING=1")
    return os.EX_OK


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    return command.parser(
        PROGRAM,
        "Tell other hosts of the logins on this one, and this one of theirs, through a Valkey or Redis server, until "
        "it gets SIGTERM. See popips-share(8) for the server, and the unit of systemd.",
    )


class Conf:
    """popips.conf, read again when it has changed; one with a mistake leaves what it said before."""

    def __init__(self, path: str, log: Log) -> None:
        self._path, self._log = path, log
        self._saw = identity_of(path)
        try:
            self.settings = configuration.load(path)
        except SettingsError as error:
            raise Unfit(str(error), os.EX_CONFIG) from None
        if not self.settings.share:
            raise Unfit(f"{path}: share is not set, so there is nobody to tell", os.EX_CONFIG)

    def has_changed(self) -> bool:
        """Whether it says something else by now."""
        now = identity_of(self._path)
        if now == self._saw:
            return False
        self._saw = now
        try:
            settings = configuration.load(self._path)
        except SettingsError as error:
            self._log.line(ERROR, f"error: {error}")
            return False
        if not settings.share:
            raise Unfit(f"{self._path}: share is no longer set, so there is nobody to tell", os.EX_CONFIG)
        self.settings = settings
        return True


def _work(conf: Conf, log: Log, asked: list[int]) -> None:
    try:
        from share.agent import Agent
    except ImportError as error:
        cure = "apt-get install python3-redis"
        raise Unfit(f"Python's library for the server is missing ({error}): {cure}", os.EX_UNAVAILABLE) from None
    said, last = "", 0.0
    while not asked:
        agent = None
        try:
            agent = Agent(conf.settings, log)
            signal.set_wakeup_fd(agent.waker.fileno(), warn_on_full_buffer=False)
            systemd.notify(os.environ, "READY=1")
            while not asked and not conf.has_changed():
                agent.turn()
                systemd.notify(os.environ, "WATCHDOG=1")
        except FolderError as error:
            raise Unfit(str(error), os.EX_CANTCREAT) from None
        except Unfit:
            raise
        except Exception as error:  # whatever it is: what was told stays, and it begins anew
            text = str(error) if isinstance(error, (StampError, OSError)) else repr(error)
            if text != said or time.monotonic() - last > AGAIN:
                said, last = text, time.monotonic()
                log.line(ERROR, f"error: {said}")
            time.sleep(0 if asked else PAUSE)
        finally:
            signal.set_wakeup_fd(-1)
            if agent:
                agent.close()
