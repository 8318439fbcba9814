"""popips-db why: tells who opened the relay for an address, or why it is not open."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from popips import denials, grants, limits, stamps, upkeep
from popips.db import report, words
from popips.db.task import Task

if TYPE_CHECKING:
    from popips.maps import Records


def work(task: Task) -> int:
    """Tell in a line; the status is 0 if the address may relay by a grant."""
    task.needs_grants("why")
    settings, name, now = task.settings, words.address_of(task.options.text), time.time()
    upkeep.recover(settings, settings.map, now)
    with stamps.Folder(settings.stamps) as folder, report.records_or_none(settings) as records:
        stamp, line = folder.get(name), folder.line(name)
        standing = grants.standing(settings, folder, records, name) if records else None
        reason = limits.barred(settings, denials.load(folder), name, now)
        record = grants.record(settings, folder, name)
        forms = words.forms(settings, name)
        admins, wider = (_admins(records, keys) for keys in (forms, [key for form in forms for key in _networks(form)]))
    if report.is_static(standing, record, grants.said(settings)):
        standing, reason = grants.STATIC, f"static: {admins or 'the text of the map has a record on it'}"
    elif not stamp:
        reason = (
            reason
            or f"no grant in the last {report.left(settings.window)}; a login that was refused is in the mail log"
        )
        reason += f"; static for its network: {wider}" if wider else ""
    who = f"user={line.user} service={line.service} by={line.writer} " if line else ""
    times = f"last={report.moment(stamp.time)} until={report.moment(stamp.time + settings.window)}" if stamp else ""
    login = who + times if stamp else ""
    if standing == grants.RENEWED:
        sys.stdout.write(f"{name}: granted: {login}\n")
        return os.EX_OK
    if stamp and not reason and stamp.time <= now - settings.window:
        reason = "due: the last login is longer ago than the window"
    elif stamp and not reason:
        reason = "pending: the record comes with the next run of popips-expire"
    sys.stdout.write(f"{name}: not granted: {reason}{'; ' if login else ''}{login}\n")
    return 1


def _admins(records: Records | None, keys: Iterable[str]) -> str:
    """Return those of the records that are there in words, "" if none is."""
    found = [(key, records.get(key.encode())) for key in keys] if records else []
    there = [f"{key} {report.printable(value)}" for key, value in found if value is not None]
    return f"the admin has {', '.join(there)}" if there else ""


def _networks(key: str) -> Iterator[str]:
    """Give the keys of the networks that an address is in, as sendmail and Postfix look them up, too: see access(5)."""
    part = ":" if key.count(":") > 1 else "."
    while (key := key.rpartition(part)[0]) and not key.endswith("ipv6"):
        yield key
