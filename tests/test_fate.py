"""The one decision: each case that there can be has the fate that the invariants ask for."""

from __future__ import annotations

from itertools import product

import pytest

from popips import fate
from popips.fate import (
    ADMINS,
    BAR,
    DUE,
    EXPIRE,
    LEAVE,
    LIVE,
    NONE,
    OURS,
    PUT,
    REFUSE,
    RENEW,
    SETTLE,
    SETTLED,
    STATIC,
    YIELD,
)

CASES = [
    fate.Case(*words)
    for words in product((NONE, DUE, LIVE, SETTLED), (NONE, OURS, ADMINS), (False, True), (False, True), (False, True))
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_case_has_one_fate_and_that_keeps_every_invariant(case: fate.Case) -> None:
    what = fate.fate(case)
    has_stamp = case.stamp != NONE
    if not has_stamp:  # a record without a stamp is the admin's, and nobody touches it
        assert what in ({STATIC, REFUSE, PUT} if case.asked else {LEAVE})
        assert what != PUT or case.record == NONE
    if what == PUT:
        assert case.record == NONE
    if case.record == ADMINS or case.named:  # the admin decides
        assert what in fate.ENDING if has_stamp else what in (LEAVE, STATIC, REFUSE)
    if case.barred:
        assert what in (BAR, REFUSE, LEAVE)
        assert what == BAR or not has_stamp
    if has_stamp and not (case.asked or case.named or case.barred) and case.record != ADMINS:
        assert (what == EXPIRE) == (case.stamp == DUE)
    if (
        case.asked
        and not case.barred
        and not case.named
        and case.record != ADMINS
        and (has_stamp or case.record == NONE)
    ):
        assert what in (PUT, RENEW)


def test_every_row_of_the_table_is_reached() -> None:
    reached = {
        next(n for n, row in enumerate(fate.TABLE) if all(map(fate._fits, row, vars(case).values()))) for case in CASES
    }
    assert reached == set(range(len(fate.TABLE)))


def test_every_fate_is_one_of_the_words() -> None:
    assert {fate.fate(case) for case in CASES} == {LEAVE, PUT, RENEW, SETTLE, REFUSE, STATIC, YIELD, BAR, EXPIRE}
