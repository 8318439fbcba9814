"""popips-expire: removes the grants that are due, and makes the map agree with the stamps."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from dataclasses import replace

from expirer import drop, fleet, metrics, notice, sessions, starter
from popips import command, denials, fate, grant, lane, last_run, parsers, policy, progress, run, watch
from popips.configuration import load
from popips.elsewhere import NOBODY, Others
from popips.grant import Outcome
from popips.log import ERROR, Log
from popips.login import Login
from popips.maps import MapError, Missing
from popips.probe.machine import Machine
from popips.settings import Settings
from popips.site import Site, site
from popips.stamps import TOLD, StampError

PROGRAM = "popips-expire"


def main(argv: list[str] | None = None) -> int:
    """Run with the arguments after the program's name; return the exit status."""
    options = parser().parse_args(argv)
    log = Log(PROGRAM)
    return command.run(PROGRAM, lambda: _work(options, log), command.to_log(log))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = command.parser(
        PROGRAM,
        "Remove the grants whose last login is older than the window, and put back those that the map has lost. "
        "To be run every minute, by the systemd timer or by cron.",
    )
    made.add_argument("-n", "--dry-run", action="store_true", help="print what would be done, and change nothing")
    made.add_argument("-v", "--verbose", action="store_true", help="print what is done")
    made.add_argument("--window", metavar="TIME", help="instead of the window of the configuration: 90s, 15m, 2h, 1d")
    measured = "write metrics of the run to FILE, for Prometheus' node exporter; its name ends in .prom"
    made.add_argument("--metrics", metavar="FILE", type=os.path.abspath, help=measured)
    return made


def _work(options: argparse.Namespace, log: Log) -> int:
    conf = load(options.conf)
    if options.window is not None:
        try:
            conf = conf.replace(window=parsers.duration(options.window))
        except ValueError as error:
            raise command.UsageError(f"--window {options.window}: {error}") from None
    told = _Told(conf, log)
    with site(conf, time.time(), progress=progress.of(PROGRAM)) as host:
        if options.dry_run:
            return _dry(host, told)
        with run.alone(host.folder) as is_alone:
            if is_alone:
                try:
                    _run(host, told, options.metrics)
                except Missing:
                    from popips.probe import unused  # which most runs need not wait for

                    if not unused.is_unused(Machine(), conf):
                        raise
                    if sys.stderr.isatty():  # and not the timer or cron, each minute until somebody sets it up
                        sys.stderr.write(f"{PROGRAM}: {unused.TOLD}: {unused.SETUP} says what is needed\n")
                    return os.EX_NOINPUT
            elif dead := watch.expirer_is_dead(host.folder, host.now):
                told.say(ERROR, f"error: another run hangs: {dead}")
    # without the lock: where the users' data base, or who reads our output, hangs, expiry must go on
    if is_alone and conf.drop:
        _take_up(conf, told)
    if options.verbose:
        sys.stdout.writelines(f"{line}\n" for line in told.lines)
    return os.EX_OK


class _Told:
    """Logs what happens, and keeps the lines for who wants to read them when all is done."""

    def __init__(self, conf: Settings, log: Log) -> None:
        self.conf, self.log = conf, log
        self.lines: list[str] = []

    def say(self, level: int, text: str) -> None:
        self.log.line(level, text)
        self.lines.append(text)

    def login(self, login: Login, outcome: Outcome) -> None:
        grant.tell(self.conf, login, outcome)
        self.lines.append(outcome.describe(login, str(self.conf.map)))


def _dry(host: Site, told: _Told) -> int:
    """Print what a run would do, and what it would fail on; return the exit status."""
    where = str(host.settings.map)
    others: Others = NOBODY
    wrong = [*notice.wrong(host.settings), *sessions.wrong(host)]
    try:
        others = fleet.Fleet(host) if host.settings.share else NOBODY
    except StampError as error:
        wrong.append(str(error))
    would = run.plan(host, lambda login, outcome: told.lines.append(outcome.describe(login, where)), others)
    sys.stdout.writelines(f"would be {text}\n" for text in [*told.lines, *(text for _, text in would.describe(where))])
    sys.stderr.writelines(f"{PROGRAM}: {text}\n" for text in wrong)
    denials.load(host.folder)  # raises the error that a run ends with
    return os.EX_CONFIG if wrong else os.EX_OK


def _run(host: Site, told: _Told, path: str | None) -> None:
    """Do a run; path: of the file for metrics, if there is to be one, of a run that fails, too."""
    if path is None:
        _expire(host, told, math.inf)
        return
    before, began = metrics.load(path), time.monotonic()
    done: run.Run | None = None
    try:
        done = _expire(host, told, before.since)
    finally:
        _measure(host, told, before, metrics.Ran(time.time(), time.monotonic() - began, done))


def _measure(host: Site, told: _Told, before: metrics.Metrics, ran: metrics.Ran) -> None:
    try:
        before.add(ran, Machine()).write()
    except metrics.MetricsError as error:
        if watch.is_news(host.folder, TOLD["metrics"], host.now):
            told.say(ERROR, f"error: {error}")


def _expire(host: Site, told: _Told, since: float) -> run.Run:
    if host.settings.renew == "sessions":
        try:
            sessions.renew(host, time.time)
        except (sessions.SessionError, policy.NoAnswer) as error:  # whoever does not answer, expiry must go on
            told.say(ERROR, f"error: {error}")
    others = _others(host, told)
    began = time.monotonic()
    done = run.run(replace(host, now=time.time()), told.login, since, others or NOBODY)
    if done.behind:
        told.say(ERROR, f"error: logins on other hosts wait for the next run: {done.behind}")
    elif others:
        others.note_heard()
    last_run.keep(host.folder, last_run.LastRun(starter.starter(), time.monotonic() - began))
    for level, text in done.describe(str(host.settings.map)):
        told.say(level, text)
    ended = sum(done.count.get(what, 0) for what in (*fate.ENDING, fate.ELSEWHERE))
    told.lines.append(f"{done.live} live, {ended} ended")
    wrong = list(notice.wrong(host.settings))
    if wrong and not watch.is_news(host.folder, TOLD["settings"], host.now):
        wrong = []
    for text in [*wrong, *notice.news(host)]:
        told.say(ERROR, f"error: {text}")
    lane.lead(host)
    denials.load(host.folder)  # of a line in it that cannot be read the admin must hear
    return done


def _others(host: Site, told: _Told) -> fleet.Fleet | None:
    """Return what other hosts have told. Whatever is wrong with that, expiry must go on."""
    try:
        if not host.settings.share:
            fleet.forget(host)
            return None
        found = fleet.Fleet(host)
        found.note_denied()
        return found
    except StampError as error:
        if watch.is_news(host.folder, TOLD["fleet"], host.now):
            told.say(ERROR, f"error: no login on another host counts: {watch.reason(error, PROGRAM)}")
        return None


def _take_up(conf: Settings, told: _Told) -> None:
    """Grant what is in the drop folder. Whatever goes wrong there, expiry must go on."""
    try:
        with site(conf, time.time()) as host:
            for error in drop.take_up(host, PROGRAM, told.login):
                told.say(ERROR, f"error: {error}")
    except (MapError, StampError, OSError) as error:
        told.say(ERROR, f"error: {watch.reason(error, PROGRAM)}")
