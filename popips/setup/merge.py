"""Takes out of a file the lines that a set-up has put there, and leaves what others have written beside them."""

from __future__ import annotations

from difflib import SequenceMatcher


def without(put: bytes, now: bytes, before: bytes) -> bytes | None:
    """Return what a file says now, with each change of the set-up's, from `before` to `put`, taken back.

    None where a line of the set-up's is not as it was put, or what stood around one that it has removed.
    """
    ours, theirs, old = (text.splitlines(keepends=True) for text in (put, now, before))
    at = _places(ours, theirs)
    edits: list[tuple[int, int, list[bytes]]] = []
    for tag, first, end, old_first, old_end in SequenceMatcher(None, ours, old, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        start = at.get(first) if first < end else at.get(first - 1, -2) + 1
        stop = at.get(end - 1, -2) + 1 if first < end else at.get(first)
        if start is None or start < 0 or stop != start + end - first or theirs[start:stop] != ours[first:end]:
            return None
        edits.append((start, stop, old[old_first:old_end]))
    for start, stop, lines in reversed(edits):
        theirs[start:stop] = lines
    return b"".join(line if line.endswith(b"\n") else line + b"\n" for line in theirs[:-1]) + b"".join(theirs[-1:])


def _places(ours: list[bytes], theirs: list[bytes]) -> dict[int, int]:
    """Return where each of our lines stands in theirs, as far as it does; the file's ends are lines, too."""
    places = {-1: -1, len(ours): len(theirs)}
    for block in SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks():
        places |= {block.a + offset: block.b + offset for offset in range(block.size)}
    return places
