"""popips-db why: tells who opened the relay for an address, or why it is not open."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from popips import address, denials, fate, policy, requests
from popips.db import report, words
from popips.db.task import Task
from popips.fate import ADMINS
from popips.login import word
from popips.maps import Records
from popips.site import Site


def work(task: Task) -> int:
    """Tell in a line; the status is 0 if the address may relay by a grant."""
    task.needs_grants("why")
    name = words.address_of(task.options.text)
    with task.site() as site, report.records_or_none(site) as records:
        bars = policy.bars(site, denials.load(site.folder))
        what = report.foreseen(site, records, name, bars)
        is_open, reason = what in (fate.SETTLE, fate.LEAVE) and bool(site.folder.get(name)), bars(name)
        if not is_open:
            reason = _static(site, records, name) or reason or _not_open(site, name)
        login = _login(site, name)
    if is_open:
        sys.stdout.write(f"{name}: granted: {login}\n")
        return os.EX_OK
    sys.stdout.write(f"{name}: not granted: {reason}{'; ' if login else ''}{login}\n")
    return 1


def _login(site: Site, name: str) -> str:
    stamp, login = site.folder.get(name), site.folder.login(name)
    if not stamp:
        return ""
    who = f"user={word(login.user)} service={word(login.service)} by={word(login.writer)} " if login else ""
    until = stamp.time + site.settings.window
    return f"{who}last={report.moment(stamp.time)} until={report.moment(until)}"


def _static(site: Site, records: Records | None, name: str) -> str:
    if records is None:
        return ""
    case = site.case(records, site.text.records(), name, asked=True, barred=False)
    if case.record != ADMINS and not case.named:
        return ""
    there = _there(records, words.forms(site.settings, name))
    return f"static: {there or 'the text of the map has a record on it'}"


def _not_open(site: Site, name: str) -> str:
    stamp = site.folder.get(name)
    if any(address.of_key(request.address) == name for request in requests.there(site.folder, site.now)):
        return "pending: the login is dealt with by the next run of popips-expire"
    if not stamp:
        window = report.left(site.settings.window)
        with report.records_or_none(site) as records:
            forms = [form.encode() for form in words.forms(site.settings, name)]
            wider = _there(records, (key.decode() for form in forms for key in address.wider(form)))
        reason = f"no grant in the last {window}; a login that was refused is in the mail log"
        return f"{reason}; static for its network: {wider}" if wider else reason
    if site.is_due(stamp):
        return "due: the last login is longer ago than the window"
    return "pending: the record comes with the next run of popips-expire"


def _there(records: Records | None, keys: Iterable[str]) -> str:
    """Return those of the records that are there in words, "" if none is."""
    found = [(key, records.get(key.encode())) for key in keys] if records else []
    there = [f"{key} {report.printable(value)}" for key, value in found if value is not None]
    return f"the admin has {', '.join(there)}" if there else ""
