"""popips-follow: grants the addresses of the logins in a log that comes on standard input."""

from __future__ import annotations

import argparse
import os
import sys
import time
from functools import partial

from follower import formats
from popips import command, settings
from popips.grant import grant, tell
from popips.log import ERROR, Log
from popips.login import Login, word
from popips.site import site
from popips.stamps import StampError

PROGRAM = "popips-follow"


def main(argv: list[str] | None = None) -> int:
    """Run with the arguments after the program's name; give the exit status."""
    options = _parser().parse_args(argv)
    log = Log(PROGRAM)
    return command.run(PROGRAM, lambda: _work(options, log), log)


def _parser() -> argparse.ArgumentParser:
    made = command.parser(
        PROGRAM,
        "Grant the addresses of the logins in a log that comes on standard input: "
        "tail -n 0 -F FILE | popips-follow --format dovecot. "
        "A hook is better, where the server can run one: see popips-hook and popips-postlogin.",
    )
    made.add_argument("--format", required=True, metavar="NAME", help=f"whose lines: {', '.join(formats.names())}, own")
    made.add_argument("-n", "--dry-run", action="store_true", help="print the logins, grant nothing")
    return made


def _work(options: argparse.Namespace, log: Log) -> int:
    try:
        lines = _format(options)
    except formats.FormatError as error:
        raise command.UsageError(str(error)) from None
    for line in formats.lines(sys.stdin.buffer):
        found = lines.read(line, time.monotonic())
        if found and options.dry_run:
            sys.stdout.write(f"{found.address}\t{word(found.user)}\t{found.service}\n")
        elif found:
            _grant(options.conf, found, log)
    return os.EX_OK


def _format(options: argparse.Namespace) -> formats.Format:
    if options.format != "own":
        return formats.load(options.format)
    return formats.own(settings.load(options.conf).follow_pattern, options.conf)


def _grant(conf: str, found: formats.Login, log: Log) -> None:
    """Grant by popips.conf as it is now: this program runs for months."""
    try:
        now = settings.load(conf)
        with site(now, time.time(), now.lock_timeout) as host:
            grant(host, found.address, Login(found.user, found.service, PROGRAM), partial(tell, now))
    except (settings.SettingsError, StampError) as error:
        log.line(ERROR, f"error: {error}")
