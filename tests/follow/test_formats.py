"""Each line of tests/data/logs is a login or none, as its verdict says, and no format takes a forged line of another's.

The lines are of the servers of Debian 12 and 13, at good logins and at hostile ones, where Debian has the server; the
others are written after its source, or after lines that its users have published: follower/formats says which.
"""

from __future__ import annotations

import pytest

from follower import formats
from tests.follow.reading import FORGED, LOGS, NOW, logins, rows, told

NAMES = formats.names()


def test_there_are_lines_of_every_format() -> None:
    assert sorted(path.stem for path in LOGS.iterdir()) == NAMES
    assert [name for name in NAMES if not any(row.verdict for row in rows(name))] == []
    assert [name for name in NAMES if all(row.verdict for row in rows(name))] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_line_is_what_its_verdict_says(name: str) -> None:
    wanted = rows(name)
    found = told(name, [row.line for row in wanted])
    assert [(row.line, one) for row, one in zip(wanted, found, strict=True) if row.verdict != one] == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("log", NAMES)
def test_no_forged_address_in_any_log_is_taken_for_a_login(name: str, log: str) -> None:
    assert [one for one in logins(name, [row.line for row in rows(log)]) if FORGED in one.split()[1]] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_time_of_every_login_is_read(name: str) -> None:
    following = formats.load(name)
    found = [(row, following.read(row.line, NOW)) for row in rows(name)]
    year = 366 * 24 * 3600
    assert [row.line for row, one in found if one and (one.time is None or abs(one.time - NOW) > year)] == []
