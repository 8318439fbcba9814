"""popips-expire: removes the grants that are due, and makes the map agree with the stamps."""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
import time

from popips import command, config, log, stamps, upkeep

PROGRAM = "popips-expire"


def main(argv: list[str] | None = None) -> int:
    """Run with the arguments after the program's name; give the exit status."""
    options = _parser().parse_args(argv)
    return command.run(
        PROGRAM, lambda: _work(options), report=lambda text: log.line(PROGRAM, log.ERROR, f"error: {text}")
    )


def _parser() -> argparse.ArgumentParser:
    made = command.parser(
        PROGRAM,
        "Remove the grants whose last login is older than the window, and put back those that the map has lost. "
        "To be run every minute by cron.",
    )
    made.add_argument("-n", "--dry-run", action="store_true", help="print what would be done, change nothing")
    made.add_argument("-v", "--verbose", action="store_true", help="print what is done")
    made.add_argument("--window", metavar="TIME", help="instead of the window of the configuration: 90s, 15m, 2h")
    return made


def _work(options: argparse.Namespace) -> int:
    settings = config.load(options.conf)
    if options.window is not None:
        try:
            settings = settings.replace(window=config.duration(options.window))
        except ValueError as error:
            raise command.UsageError(f"--window {options.window}: {error}") from None
    with stamps.Folder(settings.stamps) as folder:
        if not options.dry_run and not _alone(folder):
            return os.EX_OK
        _tell(upkeep.expire(settings, time.time(), options.dry_run), settings, options)
    return os.EX_OK


def _alone(folder: stamps.Folder) -> bool:
    """Lock the run file until this process ends; tell whether that was possible."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(stamps.RUN_FILE, flags, 0o600, dir_fd=folder.fd)
    except OSError as error:
        raise stamps.StampError(f"{folder.path}/{stamps.RUN_FILE}: cannot be opened: {error.strerror}") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _tell(run: upkeep.Run, settings: config.Config, options: argparse.Namespace) -> None:
    told = (
        ("removed", run.removed, log.INFO, ""),
        ("removed", run.kept, log.INFO, ' reason="its record stays: the text file names it"'),
        ("restored", run.restored, log.INFO, ""),
        ("static", run.static, log.INFO, ' reason="it has a record of the admin"'),
        ("foreign", run.foreign, log.WARNING, ' reason="no stamp; left alone"'),
    )
    for word, names, level, reason in told:
        for name in names:
            field = "file" if word == "foreign" else "address"
            text = f"{word}: {field}={stamps.word(name)} map={settings.map}{reason}"
            if options.dry_run or options.verbose:
                sys.stdout.write(f"would be {text}\n" if options.dry_run else f"{text}\n")
            if not options.dry_run:
                log.line(PROGRAM, level, text)
    if options.verbose:
        sys.stdout.write(f"{run.live} live, {len(run.removed) + len(run.kept)} due\n")
