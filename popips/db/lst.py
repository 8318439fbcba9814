"""popips-db lst: prints records, or grants."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from popips import address, denials, fate, policy, requests
from popips.db import report, words
from popips.db.task import Task, patience
from popips.grant import STATIC
from popips.login import Login, word
from popips.maps import kinds
from popips.site import Site


def work(task: Task) -> int:
    """Print the records of these keys, or all; or the grants."""
    keys = words.arguments(task.options.keys)
    if task.options.grants:
        task.needs_grants("lst --grants")
        return _grants(task, keys)
    return _records(task, keys)


def _records(task: Task, keys: list[str]) -> int:
    missing = []
    with kinds.reader(task.place, patience()) as records:
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


def _grants(task: Task, names: list[str]) -> int:
    wanted = {address.of_key(name.lower()) or name for name in names}
    seen = set()
    with task.site() as site:
        for name, login, time, left in sorted([*_stamps(site), *_waiting(site)], key=lambda grant: grant[0]):
            if not wanted or name in wanted:
                seen.add(name)
                who = f"{word(login.user)}\t{word(login.service)}" if login else "-\t-"
                sys.stdout.write(f"{name}\t{who}\t{report.moment(time)}\t{left}\n")
    return report.complain(f"{name}: no grant" for name in sorted(wanted - seen))


Grant = tuple[str, "Login | None", float, str]  # address, who logged in last, when, and how long it still lasts


def _stamps(site: Site) -> Iterator[Grant]:
    bars = policy.bars(site, denials.legible(site.folder))
    with report.records_or_none(site) as records:
        for name, stamp in site.folder.scan():
            what = report.foreseen(site, records, name, bars)
            if what == fate.YIELD:
                left = STATIC
            else:
                left = report.left(stamp.time + site.settings.window - site.now, pending=what in (None, fate.PUT))
            yield name, site.folder.login(name), stamp.time, left


def _waiting(site: Site) -> Iterator[Grant]:
    """Return the logins that nobody has looked at, of addresses that have no stamp."""
    for request in requests.there(site.folder, site.now):
        name = address.of_key(request.address)
        if name and not site.folder.get(name):
            yield name, request.login, request.time, "pending"
