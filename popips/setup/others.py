"""What others have added to the files of a set-up since: it stays when the set-up's own lines are taken out."""

from __future__ import annotations

from dataclasses import replace

from popips.setup.kept import FILE, NONE, Kept, look, put, sha256
from popips.setup.merge import without
from popips.setup.record import Record, of_path


def theirs(record: Record, path: str) -> bytes | None:
    """Return what a file says without the set-up's lines; None where they are not as they were put, or a command's."""
    now = look(path)
    its = of_path(record.entries, path)
    if now.kind != FILE or any(entry.of_run for entry in its):
        return None
    if now.what == its[-1].after[path].what:
        return None  # they have changed its mode or owner
    with open(path, "rb") as file:
        said: bytes | None = file.read()
    for entry in reversed(its):
        before, after = _text(record, entry.before[path]), _text(record, entry.after[path])
        if said is None or before is None or after is None:
            return None
        said = without(after, said, before)
    return said


def leave(record: Record, path: str, text: bytes) -> None:
    """Have the record say that a file had this text before the set-up: a killed undo then finds the same again."""
    now = look(path)
    first = next(entry for entry in record.entries if path in entry.before)
    wanted = replace(now, what=sha256(text), mtime=0)
    if first.before[path].kind == NONE and not text.strip():  # blank lines are nobody's
        wanted = Kept(NONE)
    else:
        put(f"{record.copies}/{wanted.what}", text, Kept(FILE, mode=0o600))
    for index, entry in enumerate(record.entries):
        if path in entry.before:
            before = {**entry.before, path: wanted if entry is first else now}
            record.entries[index] = replace(entry, before=before, after={**entry.after, path: now})
    record.save()


def _text(record: Record, kept: Kept) -> bytes | None:
    """Return the text that a file had, None if there is no copy of it."""
    if kept.kind == NONE:
        return b""
    try:
        with open(f"{record.copies}/{kept.what}", "rb") as file:
            return file.read() if kept.kind == FILE else None
    except OSError:
        return None  # a version before kept none
