"""popips-follow: grants the addresses of the logins in a log that comes on standard input."""

from __future__ import annotations

import argparse
import os
import sys
import time
from functools import partial

from follower import formats, journal, rules
from follower.formats import Format
from follower.lines import LONGEST, Lines
from follower.rules import Login
from follower.use import LOOK_EVERY, Use
from popips import address, command, configuration, login, policy
from popips.grant import grant_all, tell
from popips.log import ERROR, WARNING, Log
from popips.login import word
from popips.settings import Settings
from popips.site import site
from popips.stamps import StampError

PROGRAM = "popips-follow"
NO_MATCH = (
    "behind the program's name the pattern must take the message as a whole, without the head of the line; "
    "lines that journalctl writes as JSON need --journal and --unit"
)
NO_MATCH_IN_JOURNAL = (
    "compare MESSAGE, as a whole, with the pattern, SYSLOG_IDENTIFIER with its program, and _SYSTEMD_UNIT with --unit"
)


def main(argv: list[str] | None = None) -> int:
    """Run with the arguments after the program's name; give the exit status."""
    options = parser().parse_args(argv)
    log = Log(PROGRAM)
    return command.run(PROGRAM, lambda: _work(options, log), command.to_log(log))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = command.parser(
        PROGRAM,
        "Grant the addresses of the logins in a log that comes on standard input: "
        "tail -n 0 -F FILE | popips-follow --format dovecot. "
        "What happens to them is logged, not printed. "
        "See SETTING IT UP in popips-follow(8), also for the journal. "
        "If the server can run a hook, use that instead: see popips-hook and popips-postlogin.",
    )
    which = made.add_mutually_exclusive_group(required=True)
    names = f"the server: {', '.join(formats.names())}; or own, for follow_pattern"
    which.add_argument("--format", metavar="NAME", help=names)
    tried = "print the lines that this would match as follow_pattern, `PROGRAM: REGEX$`, and grant nothing"
    which.add_argument("--try", dest="attempt", metavar="PATTERN", help=tried)
    made.add_argument("--journal", action="store_true", help="the lines are what journalctl writes as JSON")
    unit = "with --journal: the server's unit; may be given more than once, and is needed for a pattern of your own"
    made.add_argument("--unit", action="append", default=[], metavar="UNIT", help=unit)
    made.add_argument("-n", "--dry-run", action="store_true", help="print the logins, and grant nothing")
    return made


def _work(options: argparse.Namespace, log: Log) -> int:
    try:
        form = _format(options)
    except formats.FormatError as error:
        raise command.UsageError(str(error)) from None
    if not sys.stdin:
        raise command.UsageError("standard input is closed: give it a log, tail -n 0 -F FILE | popips-follow ...")
    lines = Lines(sys.stdin.fileno(), journal.LONGEST if options.journal else LONGEST)
    if options.attempt is not None:
        return _try(lines, form, configuration.load(options.conf))
    use = Use(form, _option(options), time.monotonic())
    while not lines.ended:
        _batch(options, use, lines.batch(LOOK_EVERY), log)
        _say(options, log, use.useless(time.monotonic(), lines.ended))
    if not options.dry_run:
        _say(options, log, use.end())
    elif not use.lines:
        _say(options, log, "no line has come on standard input: is that the server's unit, or its log?")
    return os.EX_OK


def _format(options: argparse.Namespace) -> Format:
    units = tuple(map(journal.unit, options.unit))
    if units and not options.journal:
        raise command.UsageError("--unit is for --journal: give that, too, and pipe in what journalctl -o json writes")
    if options.attempt is not None:
        return formats.own(options.attempt, "--try", options.journal, units)
    if options.format != "own":
        return formats.load(options.format, options.journal, units)
    where = f"{options.conf}: follow_pattern"
    return formats.own(configuration.load(options.conf).follow_pattern, where, options.journal, units)


def _option(options: argparse.Namespace) -> str:
    """Return how this program was told whose lines these are."""
    units = "".join(f" --unit {unit}" for unit in options.unit)
    return f"{options.format}{' --journal' if options.journal else ''}{units}"


def _batch(options: argparse.Namespace, use: Use, lines: list[str], log: Log) -> None:
    """Look at lines, and grant by popips.conf as it is now: this program runs for months."""
    now = time.time()
    found = [*use.waiting, *use.logins(lines, now)]
    if not found:
        return
    try:
        of = configuration.load(options.conf)
        good = [one for one in found if not use.form.refusal(one, of.only_services)]
        if options.dry_run:
            sys.stdout.write("".join(f"{_row(one)}\n" for one in good))
            sys.stdout.flush()
        else:
            _grant(of, good, now)
        _say(options, log, use.late(good, now, of.window))
        use.done()
    except (configuration.SettingsError, StampError) as error:
        if use.is_kept_by(found, str(error)):
            log.line(ERROR, f"error: {error}")


def _grant(of: Settings, found: list[Login], now: float) -> None:
    """Grant all of these in one change of the map: one for each address and user, from the last login on."""
    latest: dict[tuple[str, login.Login], float] = {}
    for one in found:
        since = rules.when(one, now, of.window)
        if since is not None:
            who = one.address, login.Login(one.user, one.service, PROGRAM)
            latest[who] = max(since, latest.get(who, since))
    if latest:
        with site(of, now, of.lock_timeout) as host:
            grant_all(host, [(*who, since) for who, since in latest.items()], partial(tell, of))


def _try(lines: Lines, form: Format, of: Settings) -> int:
    """Print each line that matches behind its login, and what keeps it from a grant; then how many there were."""
    seen = matched = 0
    while not lines.ended:
        for line in lines.batch(LOOK_EVERY):
            seen += 1
            found = form.match(line, time.time())
            if found:
                matched += 1
                reason = form.refusal(found, of.only_services) or _barred(found.address, of)
                text = "".join(c if c.isprintable() else "?" for c in line)
                note = f"\tNOT GRANTED: {reason}" if reason else ""
                sys.stdout.write(f"{_row(found)}\t{text}{note}\n")
    cure = "" if matched or not seen else f": {NO_MATCH_IN_JOURNAL if form.by_journal else NO_MATCH}"
    sys.stderr.write(f"{PROGRAM}: {seen} lines, {matched} match{cure}\n")
    return os.EX_OK


def _barred(text: str, of: Settings) -> str:
    """Return the reason why nobody at an address gets a grant, "" if it may have one."""
    try:
        return policy.NEVER if address.is_in(address.parse(text), of.never) else ""
    except address.Refused as error:
        return str(error)


def _row(one: Login) -> str:
    return f"{one.address}\t{word(one.user)}\t{word(one.service)}"


def _say(options: argparse.Namespace, log: Log, text: str) -> None:
    if text and options.dry_run:
        sys.stderr.write(f"{PROGRAM}: {text}\n")
    elif text:
        log.line(WARNING, f"warning: {text}")
