"""popips-db lst: prints records, or grants."""

from __future__ import annotations

import sys
import time

from popips import address, fate, policy, requests
from popips.db import report, words
from popips.db.task import Task
from popips.login import word
from popips.maps import kinds
from popips.maps.journal import is_idle
from popips.site import PATIENCE, Site

LEFT = {fate.YIELD: "static", fate.BAR: "barred", fate.EXPIRE: "due", fate.PUT: "pending"}  # in place of a time


def work(task: Task) -> int:
    """Print the records of these keys, or all; or the grants."""
    keys = words.arguments(task.options.keys)
    if not task.options.grants:
        return _records(task, keys)
    task.needs_grants("lst --grants")
    with task.site() as site:
        return _grants(site, {address.of_key(key.lower()) or key for key in keys})


def _records(task: Task, keys: list[str]) -> int:
    missing, until = [], time.monotonic() + PATIENCE
    if not is_idle(task.place):
        with kinds.writer(task.place, task.settings.source(task.place), time.time(), until):
            pass  # it finishes what a dead one left
    with kinds.reader(task.place, until) as records:
        if not keys:
            for key, value in records.items():
                sys.stdout.write(f"{report.printable(key)}\t{report.printable(value)}\n")
        for text in keys:
            found = [(form, records.get(form.encode())) for form in words.forms(task.settings, text)]
            there = [f"{form}\t{report.printable(value)}\n" for form, value in found if value is not None]
            sys.stdout.writelines(there)
            if not there:
                missing.append(text)
    return report.complain(f"{text}: no such record in {task.place}" for text in missing)


def _grants(site: Site, wanted: set[str]) -> int:
    """Print address, user, service, last login and time left of these addresses, or all."""
    names = {name for name, _ in site.folder.scan()}
    waiting = {name: one for one in requests.there(site.folder, site.now) if (name := address.of_key(one.address))}
    bars = policy.bars(site)
    with report.records_or_none(site) as records:
        for name in sorted(names | set(waiting)):
            stamp, request = site.folder.get(name), waiting.get(name)
            if (wanted and name not in wanted) or not (stamp or request):
                continue
            what = fate.fate(site.case(records, site.text.records(), name, bool(request), bool(bars(name))))
            login = request.login if request else site.folder.login(name)
            last = max(one.time for one in (stamp, request) if one)
            who = f"{word(login.user)}\t{word(login.service)}" if login else "-\t-"
            left = LEFT.get(what) or report.span(last + site.settings.window - site.now)
            sys.stdout.write(f"{name}\t{who}\t{report.moment(last)}\t{left}\n")
    return report.complain(f"{name}: no grant" for name in sorted(wanted - names - set(waiting)))
