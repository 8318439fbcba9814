"""Does the steps of a plan, each written down before it is done, so that a killed one can be continued or undone."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from popips.setup import undo
from popips.setup.kept import FILE, Kept, keep, look, put, sha256
from popips.setup.record import Entry, Record
from popips.setup.runs import run
from popips.setup.show import title
from popips.setup.step import Run, Step, Write

Say = Callable[[str], None]


class Failed(Exception):
    """A step failed; str() says which, and what was said."""


def continued(steps: Sequence[Step], waiting: Sequence[Run]) -> list[Step]:
    """Return a fresh plan's steps with the commands that a killed apply has not come to, before those of their part."""
    left = [run for run in waiting if run.command not in [step.command for step in steps if isinstance(step, Run)]]
    merged: list[Step] = []
    for step in steps:
        if isinstance(step, Run):
            merged += [run for run in left if run.part == step.part and run not in merged]
        merged.append(step)
    return [*merged, *(run for run in left if run not in merged)]


def apply(steps: Sequence[Step], record: Record, say: Say) -> None:
    """Do the steps; record: taken. What fails takes back all that this call did: raise Failed."""
    with record.taken() as lock:
        _apply(steps, record, say, lock)


def _apply(steps: Sequence[Step], record: Record, say: Say, lock: int) -> None:
    first = len(record.entries)
    planned = {step.path: look(step.path) for step in steps if isinstance(step, Write)}
    record.waiting = [step for step in steps if isinstance(step, Run)]
    record.save()
    try:
        for step in steps:
            say(title(step))
            if isinstance(step, Run):
                _run(step, record, lock)
            else:
                _write(step, record, planned[step.path])
    except (Failed, OSError) as error:
        say(f"failed: {error}")
        say("what was done is taken back")
        undo.take_back(record, first, say, is_forced=True)
        record.waiting = []
        if record.entries:
            record.save()
        else:
            record.remove()
        raise Failed(str(error)) from None


def _write(step: Write, record: Record, planned: Kept) -> None:
    before = keep(step.path, record.copies)
    if not before.is_same(planned):  # restarts of servers take their time
        raise Failed(f"{step.path}: somebody has changed it meanwhile")
    data = os.fsencode(step.text)
    mode, uid, gid = (before.mode, before.uid, before.gid) if before.kind == FILE else (0o644, 0, 0)
    after = Kept(FILE, sha256(data), mode, uid, gid)
    put(f"{record.copies}/{after.what}", data, Kept(FILE, mode=0o600))  # for an undo among what others have added
    missing = _missing(os.path.dirname(step.path))
    record.add(Entry(step.part, {step.path: before}, {step.path: after}, missing, step.before_undo))
    for folder in missing:
        os.mkdir(folder, 0o755)
        os.chmod(folder, 0o755)
    put(step.path, data, after)
    record.finish()


def _run(step: Run, record: Record, lock: int) -> None:
    before = {path: keep(path, record.copies) for path in step.touches}
    record.add(Entry(step.part, before, {}, (), step.before_undo, step.undo, step.remake, step.journal, of_run=True))
    # a killed setup's make goes on: who undoes meanwhile must see that. A service has to do without the lock
    status, said = run(step.command, (lock,) if step.touches else ())
    if status not in step.good:
        raise Failed(f"{' '.join(step.command)}: status {status}: {said}")
    record.waiting.remove(step)
    record.finish()


def _missing(folder: str) -> tuple[str, ...]:
    """Return the folders that must be made for a path, the outermost first."""
    if os.path.isdir(folder):
        return ()
    return (*_missing(os.path.dirname(folder)), folder)
