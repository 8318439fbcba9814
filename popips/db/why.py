"""popips-db why: tells who opened the relay for an address, or why it is not open."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable

from popips import address, denials, fate, form, policy, requests
from popips.db import report, words
from popips.db.task import Task
from popips.login import word
from popips.maps import Records
from popips.site import Site

GRANTED = (fate.LEAVE, fate.SETTLE, fate.RENEW)  # of an address that has a stamp

HELP = "tell who opened the relay for an address, or why it is not"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument("text", metavar="ADDRESS")


def work(task: Task) -> int:
    """Print in a line what becomes of an address; the status is 0 if the address relays by a grant."""
    task.needs_grants("why")
    name = words.address_of(task.options.text)
    with task.site() as site, report.records_or_none(site) as records:
        return _why(site, records, name)


def _why(site: Site, records: Records, name: str) -> int:
    barred = policy.bars(site, denials.load(site.folder))(name)
    asked = any(address.of_key(one.address) == name for one in requests.there(site.folder, site.now))
    case = site.case(records, site.text.records(), name, asked, bool(barred))
    what, login = fate.fate(case), _login(site, name)
    if case.stamp != fate.NONE and what in GRANTED:
        sys.stdout.write(f"{name}: granted: {login}\n")
        return os.EX_OK
    reason = {
        fate.EXPIRE: "due: the last login is longer ago than the window",
        fate.PUT: "pending: the record comes with the next run of popips-expire",
        fate.BAR: barred,
        fate.REFUSE: barred,
    }.get(what, "")
    if what in (fate.STATIC, fate.YIELD) or (what == fate.LEAVE and (case.record == fate.ADMINS or case.named)):
        admins = _admins(records, [key.encode() for key in words.forms(site.settings, name)])
        is_built = admins and case.record == fate.ADMINS
        reason = f"static: {admins if is_built else 'the text of the map has a record on it'}"
    elif what == fate.LEAVE:
        window = report.span(site.settings.window)
        reason = barred or f"no grant in the last {window}; a login that was refused is in the mail log"
        wider = _admins(records, [key for its in form.keys(site.settings, name) for key in address.wider(its)])
        reason += f"; static for its network: {wider}" if wider else ""
    is_open = case.record == fate.OURS  # whatever the next run will do
    verdict = "open until the next run of popips-expire" if is_open else "not granted"
    sys.stdout.write(f"{name}: {verdict}: {reason}{'; ' if login else ''}{login}\n")
    return os.EX_OK if is_open else 1


def _login(site: Site, name: str) -> str:
    """Return what the stamp says, in words, "" if there is none."""
    stamp, login = site.folder.get(name), site.folder.login(name)
    if not stamp:
        return ""
    who = f"user={word(login.user)} service={word(login.service)} by={word(login.writer)} " if login else ""
    return f"{who}last={report.moment(stamp.time)} until={report.moment(stamp.time + site.settings.window)}"


def _admins(records: Records, keys: Iterable[bytes]) -> str:
    """Return those of the records that are there in words, "" if none is."""
    found = [(key, records.get(key)) for key in dict.fromkeys(keys)]
    there = [f"{report.printable(key)} {report.printable(value)}" for key, value in found if value is not None]
    return f"the admin has {', '.join(there)}" if there else ""
