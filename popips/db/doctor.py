"""popips-db doctor: prints what stands between a login and a relayed mail."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from popips.command import UsageError
from popips.db import report

if TYPE_CHECKING:  # the other verbs need not wait for what is imported for a look
    from popips.doctor.check import Check
    from popips.probe.machine import Machine

HELP = "check for anything that keeps logins from opening the relay, and say how to mend it"
COLOURS = {"fail": "31", "warn": "33", "ok": "32", "skip": "2"}  # by status, in the order of what is printed


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = "It changes nothing. The exit status is 0 if no check fails, else 1."
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--only", metavar="ID,...", help="only these checks; map stands for all of map.*")
    parser.add_argument("--strict", action="store_true", help="a warning counts as a failure")
    logs_in = "also log in, with a password that is asked for or piped in, and with a wrong one; end that grant"
    parser.add_argument("--login", metavar="USER", help=logs_in)
    parser.add_argument("--root", metavar="DIR", default="", help="check the files of a host in DIR; run nothing in it")


def work(options: argparse.Namespace) -> int:
    """Print the checks; return 0 if none fails, else 1."""
    from popips.doctor.looks import examine
    from popips.probe.machine import Machine

    root = os.path.abspath(options.root) if options.root else ""
    if root and not os.path.isdir(root):
        raise UsageError(f"doctor: --root {options.root}: there is no such folder")
    machine = Machine(root.rstrip("/"))
    if options.login and root:
        raise UsageError("doctor: --login is for this host, not for files below --root")
    checks = examine(machine, os.path.abspath(options.conf), time.time())
    if options.login:
        checks += _logged_in(machine, os.path.abspath(options.conf), options.login)
    if options.only:
        checks = _only(checks, options.only)
    bad = ("fail", "warn") if options.strict else ("fail",)
    is_well = not any(check.status in bad for check in checks)
    if options.json:
        _write_json(machine, checks, is_well)
    else:
        sys.stdout.writelines(f"{line}\n" for line in _words(checks, is_well, bool(options.only)))
    return os.EX_OK if is_well else 1


def _logged_in(machine: Machine, conf: str, user: str) -> list[Check]:
    """Return the checks of a real login; none where popips.conf cannot be used."""
    from popips.doctor import conf as look_at_conf
    from popips.doctor import login
    from popips.doctor.check import Check, Patient

    settings = look_at_conf.load(machine, conf)
    if isinstance(settings, Check):
        return []
    if sys.stdin.isatty():
        import getpass

        password = getpass.getpass(f"Password of {user}: ")
    else:
        password = sys.stdin.readline().rstrip("\n")
    return list(login.look(Patient(machine, conf, settings, time.time()), user, password))


def _only(checks: list[Check], text: str) -> list[Check]:
    """Return the checks that a list of ids names; raise UsageError for an id that there is not."""
    wanted = text.replace(",", " ").split()
    for id in wanted:
        if not any(_is(check, id) for check in checks):
            there = ", ".join(check.id for check in checks)
            raise UsageError(f"doctor: --only {id}: there is no such check here: {there}")
    return [check for check in checks if any(_is(check, id) for id in wanted)]


def _is(check: Check, id: str) -> bool:
    return check.id == id or check.id.startswith(f"{id}.")


def _write_json(machine: Machine, checks: list[Check], is_well: bool) -> None:
    from popips.db import shape

    host = machine.read("/etc/hostname").strip() if machine.root else os.uname().nodename
    shape.write({"host": host, "ok": is_well, "checks": [vars(check) for check in checks]})


def _words(checks: list[Check], is_well: bool, is_part: bool) -> Iterator[str]:
    """Return the lines for people: the verdict, then what is wrong, then what is well."""
    from popips.doctor.verdict import verdict

    is_coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def painted(status: str, text: str) -> str:
        return f"\x1b[{COLOURS[status]}m{text}\x1b[0m" if is_coloured else text

    counts = [f"{sum(check.status == status for check in checks)} {status}" for status in COLOURS]
    told = ("well" if is_well else "NOT well") if is_part else verdict(checks)
    yield painted("ok" if is_well else "fail", f"{told}: {', '.join(counts)}")
    for status in COLOURS:
        for check in checks:
            if check.status == status:
                yield from _told(check, painted(status, f"{status:<4}"))


def _told(check: Check, status: str) -> Iterator[str]:
    yield f"{status}  {check.id}: {report.printable(check.found.encode())}"
    if check.status not in ("fail", "warn"):
        return
    for name, text in (("wanted", check.wanted), ("evidence", check.evidence), ("fix", check.fix)):
        for index, line in enumerate(text.splitlines()):
            head = f"{name}:" if index == 0 else ""
            yield f"        {head:<10}{report.printable(line.encode())}"
