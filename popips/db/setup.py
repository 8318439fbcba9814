"""popips-db setup: makes Dovecot, the MTA and the timer use popips, and takes that back."""

from __future__ import annotations

import argparse
import os
import sys

from popips import command, settings
from popips.probe.machine import Machine

HELP = "make Dovecot, the MTA and the timer use popips, and take that back"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="print what --apply would do (the default)")
    what.add_argument("--apply", action="store_true", help="do it, and look at it with doctor")
    what.add_argument("--undo", action="store_true", help="put back what --apply has changed")
    parser.add_argument("--mta", choices=("sendmail", "postfix"), help="who asks the map (default: what is installed)")
    parser.add_argument("--map", choices=("access", "own"), help="the access map, or one of popips' own")
    parser.add_argument("--hook", choices=("postlogin", "pam"), help="what runs at each login (default: postlogin)")
    parser.add_argument("--force", action="store_true", help="with --undo: also what others have changed since")
    parser.add_argument("--json", action="store_true", help="print JSON")


def work(options: argparse.Namespace) -> int:
    """Print or make the changes; return the exit status."""
    from popips.setup import show
    from popips.setup.plan import plan
    from popips.setup.step import Choice

    if options.conf != settings.PATH:
        raise command.UsageError(f"setup: the hooks and the expirer read {settings.PATH}: leave -c out")
    machine = Machine()
    found = plan(machine, Choice(options.conf, options.mta or "", options.map or "", options.hook or ""))
    if options.json:
        from popips.db import shape

        shape.write({"done": "dry-run", "ok": not found.by_hand, **show.value(machine, found)})
    else:
        sys.stdout.writelines(f"{line}\n" for line in show.words(machine, found))
    return 1 if found.by_hand else os.EX_OK
