"""popips-db lst: prints records, or grants."""

from __future__ import annotations

import sys
import time

from popips import address, grants, stamps, upkeep
from popips.db import report, words
from popips.db.task import Task, patience
from popips.maps import kinds


def work(task: Task) -> int:
    """Print the records of these keys, or all; or the grants."""
    keys = words.arguments(task.options.keys)
    if task.options.grants:
        task.needs_grants("lst --grants")
        return _grants(task, keys)
    return _records(task, keys)


def _records(task: Task, keys: list[str]) -> int:
    missing = []
    upkeep.recover(task.settings, task.place, time.time())
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
    settings = task.settings
    wanted = {address.of_key(name.lower()) or name for name in names}
    seen = set()
    text = grants.said(settings)
    with stamps.Folder(settings.stamps) as folder, report.records_or_none(settings) as records:
        for name, stamp in sorted(folder.scan(), key=lambda entry: entry[0]):
            if wanted and name not in wanted:
                continue
            seen.add(name)
            line = folder.line(name)
            user, service = (line.user, line.service) if line else ("-", "-")
            standing = grants.standing(settings, folder, records, name) if records else None
            if report.is_static(standing, grants.record(settings, folder, name), text):
                left = grants.STATIC
            else:
                is_pending = stamp.pending or not standing
                left = report.left(stamp.time + settings.window - time.time(), is_pending)
            sys.stdout.write(f"{name}\t{user}\t{service}\t{report.moment(stamp.time)}\t{left}\n")
    return report.complain(f"{name}: no grant" for name in sorted(wanted - seen))
