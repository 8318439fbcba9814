"""Takes a set-up back: part by part, the last one first, to the byte; what others have added since stays.

Where they have changed lines of the set-up itself, it is refused.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from popips.maps import MapError, Place
from popips.maps.journal import Journal
from popips.maps.lock import Wait
from popips.probe import fleet
from popips.probe.machine import Machine
from popips.setup import others
from popips.setup.kept import FILE, LINK, Kept, discard, look, put, put_back, sha256
from popips.setup.record import Entry, Record, of_path
from popips.setup.runs import run
from popips.setup.step import NO_MAP, Command, ends_all

Say = Callable[[str], None]
REPLACED = "/var/backups/popips"  # which stays when the package is purged
PATIENCE = 2.0  # seconds


@dataclass(frozen=True)
class Change:
    """A path of a set-up. first: what it was; is_ours: nobody else has changed it; is_made: a command makes it."""

    path: str
    first: Kept
    is_ours: bool
    is_made: bool

    @property
    def is_back(self) -> bool:
        """Whether it is again what it was."""
        return look(self.path).is_same(self.first)


class Refused(Exception):
    """Somebody else has changed the lines that the set-up put; str() names the files, and what can be done."""


def undo(record: Record, say: Say, is_forced: bool = False) -> list[str]:
    """Undo all of a set-up; return what failed, and can be tried again. Raise Busy, and Refused unless it is forced."""
    if not record.is_there:
        say("nothing to undo")
        return []
    with record.taken():
        return _undo(record, say, is_forced)


def _undo(record: Record, say: Say, is_forced: bool) -> list[str]:
    if not record.entries:
        say("nothing to undo")
    edited = [change.path for change in changes(record.entries) if not change.is_ours and not change.is_made]
    left = {path: others.theirs(record, path) for path in edited}
    unclear = [path for path, text in left.items() if text is None]
    if unclear and not is_forced:
        raise Refused(
            f"somebody else has changed what setup put into {', '.join(unclear)}. Nothing is undone. --force puts "
            f"back what was there before the set-up, and keeps what is there now in {REPLACED}: take your own changes "
            "over from there"
        )
    for path, text in left.items():
        if text is not None:
            if text.strip():
                say(f"keep in {path} the lines that others have added since")
            others.leave(record, path, text)
    trouble = take_back(record, 0, say, is_forced)
    if not trouble or is_forced:
        record.remove()
    return trouble


def changes(entries: list[Entry]) -> Iterator[Change]:
    """Return what was done to each path, over all entries."""
    for path in dict.fromkeys(path for entry in entries for path in entry.before):
        its = of_path(entries, path)
        first, now = its[0].before[path], look(path)
        whole = all(one.after[path].is_same(other.before[path]) for one, other in zip(its, its[1:]))
        is_ours = now.is_same(first) or (whole and now.is_same(its[-1].after[path]))
        # a link of a command's, popips.conf.lane: popips-expire leads it where the stamps are by now
        is_ours |= its[-1].of_run and now.kind == its[-1].after[path].kind == LINK
        yield Change(path, first, is_ours, any(entry.remake for entry in its))


def take_back(record: Record, since: int, say: Say, is_forced: bool = False) -> list[str]:
    """Undo the entries of the record from that one on; return what failed, in which case they stay.

    is_forced: put back also what others have changed since. A copy of that stays in REPLACED, and of what is made anew.
    """
    entries = record.entries[since:]
    trouble: list[str] = []
    for part in reversed(list(dict.fromkeys(entry.part for entry in entries))):
        its = [entry for entry in entries if entry.part == part]
        trouble += _take_back(its, record.copies, say, is_forced)
        if trouble and not is_forced:
            return trouble
        record.entries = [entry for index, entry in enumerate(record.entries) if index < since or entry.part != part]
        record.save()
    return trouble


def _take_back(entries: list[Entry], copies: str, say: Say, is_forced: bool) -> list[str]:
    """Undo the entries of one part; return what failed."""
    commands = [command for entry in reversed(entries) for command in entry.before_undo]
    if any(ends_all(command) for command in commands) and fleet.is_joined(Machine()):  # and it would end them there
        say("leave the grants: popips-share would tell the other hosts of their end")
        commands = [command for command in commands if not ends_all(command)]
    trouble = _run(commands, say)
    if trouble and not is_forced:
        return trouble
    its = list(changes(entries))
    remake = [entry.remake for entry in entries if entry.remake]
    stale = [change for change in its if change.is_made and not change.is_ours]
    for change in its:
        if not change.is_back and not change.is_ours and (copy := _aside(change.path)):
            say(f"keep a copy of {change.path} as it is now: {copy}")
        if change in stale:
            continue
        if not change.is_back:
            say(f"{'remove' if change.first.kind == 'none' else 'put back'} {change.path}")
        try:
            put_back(change.path, change.first, copies, is_now=bool(stale))
        except OSError as error:  # a folder stands there by now, for instance
            trouble.append(f"{change.path}: {error.strerror}")
    for folder in reversed([folder for entry in entries for folder in entry.folders]):
        try:
            os.rmdir(folder)
        except OSError:
            pass  # somebody else has put something there
    for journal in [entry.journal for entry in entries if entry.journal]:
        _remove_journal(Place.parse(journal))
    again = remake if stale else []
    return trouble + _run([*again, *(command for entry in entries for command in entry.undo)], say)


def _remove_journal(place: Place) -> None:
    """Remove the file beside a map where no writer has left anything in it; who waits for its lock makes another."""
    if not os.path.exists(place.journal):
        return
    try:
        journal = Journal(place, Wait(time.monotonic() + PATIENCE))
    except MapError:
        return  # another writer is at work, and it is his
    if journal.left() is None:
        discard(place.journal)
    journal.release()


def _run(commands: list[Command], say: Say) -> list[str]:
    """Run each of the commands once; return what failed."""
    trouble = []
    for command in dict.fromkeys(commands):
        say(f"run {' '.join(command)}")
        status, said = run(command)
        if status not in (0, NO_MAP):
            trouble.append(f"{' '.join(command)}: status {status}: {said}")
    return trouble


def _aside(path: str) -> str:
    """Keep a copy of what somebody else made of a file, beside those of before; return its path, "" if it is none.

    Of a symbolic link it is where that leads.
    """
    there = look(path)
    if there.kind not in (FILE, LINK):
        return ""
    os.makedirs(REPLACED, mode=0o700, exist_ok=True)
    data = os.fsencode(there.what)
    if there.kind == FILE:
        with open(path, "rb") as file:
            data = file.read()
    # by content: what was kept before stays, and the same is kept once
    copy = f"{REPLACED}/{path.strip('/').replace('/', '-')}.{sha256(data)[:12]}"
    put(copy, data, Kept(FILE, mode=0o600))
    return copy
