"""The guards' table is of the code as it is; whether each of their tests turns red, `python -m tests.guards` tells."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.guards import PAGE, ROOT, Guard, page
from tests.guards.all import GUARDS


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_stands_where_its_row_says(guard: Guard) -> None:
    text = (ROOT / guard.file).read_text()
    cut = guard.cut(text)
    assert cut != text
    if guard.file.endswith(".py"):
        compile(cut, guard.file, "exec")
    elif guard.file.endswith(".conf"):
        for _, _, pattern in (line.partition(" = ") for line in cut.splitlines() if line.startswith("login = ")):
            re.compile(pattern)
    else:
        subprocess.run(["sh", "-n"], input=cut, text=True, check=True)


def test_the_tests_that_are_to_turn_red_are_there() -> None:
    tests = dict.fromkeys(guard.test for guard in GUARDS)
    command = [sys.executable, "-m", "pytest", "-n", "0", "-qq", "--collect-only", *tests]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_two_guards_have_one_name() -> None:
    assert len({guard.name for guard in GUARDS}) == len(GUARDS)


def test_the_page_on_reliability_has_the_table_of_guards() -> None:
    assert PAGE.read_text() == page(PAGE.read_text(), GUARDS), "python -m tests.guards --page"
    assert GUARDS[0].row() in PAGE.read_text()
