"""What an undo leaves in a file that others have edited since: their lines, and none of the set-up's."""

from __future__ import annotations

import pytest

from popips.setup.merge import without

BEFORE, PUT = "a\nb\nc\n", "a\nb\nours\nc\n"
CASES = {  # what it was, what setup made of it, what it is now: what is left, None where that cannot be told
    "nothing else": (BEFORE, PUT, PUT, BEFORE),
    "a line behind": (BEFORE, PUT, PUT + "mine\n", BEFORE + "mine\n"),
    "a line in front": (BEFORE, PUT, "mine\n" + PUT, "mine\n" + BEFORE),
    "a line beside": (BEFORE, PUT, "a\nb\nmine\nours\nmine\nc\n", "a\nb\nmine\nmine\nc\n"),
    "another line removed": (BEFORE, PUT, "ours\nc\n", "c\n"),
    "another line changed": (BEFORE, PUT, "a\nB\nours\nc\n", "a\nB\nc\n"),
    "ours changed": (BEFORE, PUT, "a\nb\nours too\nc\n", None),
    "ours removed": (BEFORE, PUT, BEFORE, None),
    "a line changed by setup": ("a\nb = 1\n", "a\nb = 2\n", "a\nb = 2\nmine\n", "a\nb = 1\nmine\n"),
    "a line changed by setup, and again": ("a\nb = 1\n", "a\nb = 2\n", "a\nb = 3\nmine\n", None),
    "a line removed by setup": (BEFORE, "a\nc\n", "a\nc\nmine\n", BEFORE + "mine\n"),
    "a line removed by setup, another in its place": (BEFORE, "a\nc\n", "a\nmine\nc\n", None),
    "a first line removed by setup": (BEFORE, "b\nc\n", "b\nc\nmine\n", BEFORE + "mine\n"),
    "a last line removed by setup": (BEFORE, "a\nb\n", "mine\nb\n", "mine\nb\nc\n"),
    "a block that is torn apart": (BEFORE, BEFORE + "x\ny\n", BEFORE + "x\nmine\ny\n", None),
    "a line changed inside a block": (BEFORE, BEFORE + "x\ny\nz\n", BEFORE + "x\nmine\nz\n", None),
    "a line changed inside a file of setup's": ("", "x\ny\nz\n", "x\nmine\nz\n", None),
    "a file of setup's": ("", "x\ny\n", "x\ny\nmine\n", "mine\n"),
    "no end of line": ("a", "a\nours\n", "a\nours\nmine", "a\nmine"),
    "bytes that are no text": ("a\n\udcff\n", "a\n\udcff\nours\n", "\udcfe\n\udcff\nours\n", "\udcfe\n\udcff\n"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_set_ups_lines_go_and_others_stay(name: str) -> None:
    before, put, now, left = (None if text is None else text.encode(errors="surrogateescape") for text in CASES[name])
    assert before is not None and put is not None and now is not None
    assert without(put, now, before) == left
