"""popips-db end and del: both end grants before their time, and del deletes records of the admin's, too."""

from __future__ import annotations

import os

from popips import address, command, orphans, register, revoke
from popips.db import report, words
from popips.db.task import Task
from popips.login import word


def work(task: Task) -> int:
    """End the grants of these addresses, or all, or what looks like a grant and is none."""
    options = task.options
    task.needs_grants("end")
    if [bool(options.words), options.all, options.orphans].count(True) != 1:
        raise command.UsageError("end: write addresses, or --all, or --orphans")
    names = [words.address_of(word) for word in words.arguments(options.words)]
    ended: set[str] = set()
    with task.site() as site:
        if options.orphans:
            for keys in orphans.end(site):
                report.note((f"removed: orphan={address.of_key(key)} key={word(key)}" for key in keys), task.place)
            return os.EX_OK
        for batch in revoke.end(site, revoke.all_grants(site) if options.all else names):
            report.note((f"removed: address={name}" for name in batch), task.place)
            ended.update(batch)
    return report.complain(f"{name}: no grant" for name in names if name not in ended)


def delete(task: Task) -> int:
    """Delete the records of these keys and addresses, and end the grants that go with them."""
    wanted = {text: words.keys(task.settings, text) for text in words.arguments(task.options.keys)}
    with task.map() as edited:
        missing = revoke.take_out(edited, wanted)
        if edited.site:
            gone = {key.encode() for keys in wanted.values() for key in keys}
            register.drop(edited.site.folder, lambda key, _: key in gone)
    report.note((f"deleted: key={word(text)}" for text in wanted if text not in missing), task.place)
    return report.complain(f"{text}: no such record in {task.place}" for text in missing)
