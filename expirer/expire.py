"""popips-expire: removes the grants that are due, and makes the map agree with the stamps."""

from __future__ import annotations

import argparse
import os
import sys
import time

from expirer import drop, sessions
from popips import command, config, denials, grants, lane, upkeep, watch
from popips.log import ERROR, Log
from popips.maps import MapError
from popips.stamps import Folder, StampError

PROGRAM = "popips-expire"


def main(argv: list[str] | None = None) -> int:
    """Run with the arguments after the program's name; give the exit status."""
    options = _parser().parse_args(argv)
    log = Log(PROGRAM)
    return command.run(PROGRAM, lambda: _work(options, log), log)


def _parser() -> argparse.ArgumentParser:
    made = command.parser(
        PROGRAM,
        "Remove the grants whose last login is older than the window, and put back those that the map has lost. "
        "To be run every minute, by the systemd timer or by cron.",
    )
    made.add_argument("-n", "--dry-run", action="store_true", help="print what would be done, change nothing")
    made.add_argument("-v", "--verbose", action="store_true", help="print what is done")
    made.add_argument("--window", metavar="TIME", help="instead of the window of the configuration: 90s, 15m, 2h, 1d")
    return made


def _work(options: argparse.Namespace, log: Log) -> int:
    settings = command.settings(options.conf)
    if options.window is not None:
        try:
            settings = settings.replace(window=config.duration(options.window))
        except ValueError as error:
            raise command.UsageError(f"--window {options.window}: {error}") from None
    if options.dry_run:
        for _, text in upkeep.expire(settings, time.time(), dry_run=True).describe(str(settings.map)):
            sys.stdout.write(f"would be {text}\n")
        return os.EX_OK
    with Folder(settings.stamps) as folder, upkeep.alone(folder) as is_alone:
        if is_alone:
            _tell_of_an_edit(settings, folder, log)
            _renew(settings, options.verbose, log)
            run = upkeep.expire(settings, time.time())
            _tell(run, settings, options.verbose, log)
            lane.lead(settings)
            denials.load(folder)  # of a line in it that cannot be read the admin must hear
    # last and without the lock: where the users' data base hangs, expiry must go on
    if is_alone:
        _take_up(settings, options.verbose, log)
    return os.EX_OK


def _take_up(settings: config.Config, verbose: bool, log: Log) -> None:
    """Grant what is in the drop folder. Whatever goes wrong there, expiry must go on."""
    if not settings.drop:
        return
    try:
        for found in drop.take_up(settings, PROGRAM, time.time()):
            if isinstance(found, drop.DropError):
                text = f"error: {found}"
                log.line(ERROR, text)
            else:
                text = found[1].describe(found[0], str(settings.map))
                grants.tell(log, settings, *found)
            if verbose:
                sys.stdout.write(f"{text}\n")
    except (MapError, StampError, OSError) as error:
        log.line(ERROR, f"error: {watch.reason(error, PROGRAM)}")


def _renew(settings: config.Config, verbose: bool, log: Log) -> None:
    """Let sessions that last keep their grants. Where Dovecot does not answer, expiry must go on."""
    if settings.renew == "sessions":
        try:
            sessions.renew(settings, time.time)
        except sessions.SessionError as error:
            _say(ERROR, f"error: {error}", verbose, log)


def _tell_of_an_edit(settings: config.Config, folder: Folder, log: Log) -> None:
    pending = watch.edit_is_pending(settings)
    if pending and watch.is_news(folder, "edit", time.time()):
        log.line(ERROR, f"error: {pending}")


def _tell(run: upkeep.Run, settings: config.Config, verbose: bool, log: Log) -> None:
    for level, text in run.describe(str(settings.map)):
        _say(level, text, verbose, log)
    if verbose:
        sys.stdout.write(f"{run.live} live, {len(run.removed) + len(run.kept)} due\n")


def _say(level: int, text: str, verbose: bool, log: Log) -> None:
    log.line(level, text)
    if verbose:
        sys.stdout.write(f"{text}\n")
