"""popips-db setup: makes Dovecot, the MTA and the timer use popips, and takes that back."""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace

from popips import command, configuration
from popips.db import doctor
from popips.db.report import complain
from popips.probe.machine import Machine

HELP = "make Dovecot, the MTA and the timer use popips, or undo that"

IN_A_FLEET = (
    "popips-share runs here: the end of all grants would be told to the other hosts, and logins there would go on to "
    "open the relay of this one. Nothing is undone. Take this host out of the fleet first: systemctl disable --now "
    "popips-share.service; sed -i '/^[[:space:]]*share/d' /etc/popips.conf (see popips-share(8))"
)


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="print what --apply would do (the default)")
    what.add_argument("--apply", action="store_true", help="do it, then run doctor")
    what.add_argument("--undo", action="store_true", help="undo what --apply has changed, and end all grants")
    parser.add_argument("--mta", choices=("sendmail", "postfix"), help="the MTA (default: what is installed)")
    of_maps = "sendmail's access map, one of popips' own, or popips-mapd in its place"
    parser.add_argument("--map", choices=("access", "own", "mapd"), help=of_maps)
    parser.add_argument("--hook", choices=("postlogin", "pam"), help="what runs at each login (default: postlogin)")
    parser.add_argument("--force", action="store_true", help="with --undo: also undo what others have changed since")
    parser.add_argument("--json", action="store_true", help="print JSON")


def work(options: argparse.Namespace) -> int:
    """Print or make the changes; return the exit status."""
    from popips.setup.record import Busy

    if options.conf != configuration.PATH:
        raise command.UsageError(f"setup: the hooks and the expirer read {configuration.PATH}: leave -c out")
    if options.force and not options.undo:
        raise command.UsageError("setup: --force goes with --undo")
    try:
        return _undo(options) if options.undo else _set_up(options)
    except Busy as error:
        return _end(options, {"done": _word(options), "failed": [str(error)]}, os.EX_TEMPFAIL)


def _set_up(options: argparse.Namespace) -> int:
    from popips.setup import apply, show
    from popips.setup.plan import plan
    from popips.setup.record import Record
    from popips.setup.step import Choice

    record, machine = Record(), Machine()
    choice = Choice(options.conf, options.mta or "", options.map or "", options.hook or "")
    found = plan(machine, choice)
    found = replace(found, steps=tuple(apply.continued(found.steps, record.waiting)))
    said = {"done": _word(options), **show.value(machine, found), "failed": []}
    if found.by_hand or not options.apply:
        _print(options, *show.words(machine, found), *show.end(found, choice, options.apply))
        return _end(options, said, 1 if found.by_hand else os.EX_OK)
    if found.steps:
        try:
            apply.apply(found.steps, record, lambda line: _print(options, line))
        except apply.Failed as error:
            return _end(options, {**said, "failed": [str(error)]}, 1)
    else:
        _print(options, "nothing to do")
    _print(options, *show.comments(found))
    return _examined(options, said, machine)


def _examined(options: argparse.Namespace, said: dict[str, object], machine: Machine) -> int:
    """Look at what was set up as doctor does; return the exit status: 1 if a check fails."""
    _print(options, "run popips-db doctor")
    if not options.json:
        wanted = {"conf": options.conf, "json": False, "only": None, "strict": False, "login": None, "root": ""}
        return doctor.work(argparse.Namespace(**wanted))
    from popips.doctor.check import FAIL
    from popips.doctor.looks import examine

    checks = examine(machine, options.conf, time.time())
    is_well = not any(check.status == FAIL for check in checks)
    return _end(options, {**said, "checks": [vars(check) for check in checks]}, os.EX_OK if is_well else 1)


def _undo(options: argparse.Namespace) -> int:
    from popips.probe import fleet
    from popips.setup import undo
    from popips.setup.record import Record

    record = Record()
    if record.is_there and fleet.is_joined(Machine()):
        return _end(options, {"done": "undo", "failed": [IN_A_FLEET]}, 1)
    try:
        trouble = undo.undo(record, lambda line: _print(options, line), options.force)
    except undo.Refused as refused:
        trouble = [str(refused)]
    return _end(options, {"done": "undo", "failed": trouble}, 1 if trouble else os.EX_OK)


def _word(options: argparse.Namespace) -> str:
    return "undo" if options.undo else "apply" if options.apply else "dry-run"


def _print(options: argparse.Namespace, *lines: str) -> None:
    """Print lines for people: on standard error where JSON is asked for."""
    to = sys.stderr if options.json else sys.stdout
    to.writelines(f"{line}\n" for line in lines)
    to.flush()


def _end(options: argparse.Namespace, said: dict[str, object], status: int) -> int:
    """Print what failed, and all of it as JSON if that is asked for; return the exit status."""
    failed = said["failed"]
    assert isinstance(failed, list)
    complain(failed)
    if options.json:
        from popips.db import shape

        shape.write({"ok": status == os.EX_OK, **said})
    return status
