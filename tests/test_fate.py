"""The one decision: each case that there can be has the fate that the invariants ask for."""

from __future__ import annotations

import importlib
import re
from itertools import product
from pathlib import Path

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
from popips.maps import Writer
from popips.stamps.folder import Folder

PAGE = Path(__file__).parent.parent / "docs/reliability.md"

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


def told(wanted: object) -> str:
    """Return a cell of the page's table."""
    if isinstance(wanted, tuple):
        *first, last = wanted
        return f"{', '.join(first)} or {last}"
    return "" if wanted is None else {"True": "yes", "False": "no"}.get(str(wanted), str(wanted))


def test_the_page_on_reliability_opens_with_the_table() -> None:
    lines = [
        "| stamp | record | the text names it | a login asks | barred | fate |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for *case, what in fate.TABLE:
        lines.append(f"| {' | '.join(map(told, case))} | {what} |")
    page = PAGE.read_text()
    assert re.findall(r"(?ms)^\| stamp \|.*?(?=\n\n)", page) == ["\n".join(lines)]
    head = page.partition("\n## ")[0]
    for what in {row[-1] for row in fate.TABLE}:
        assert f"**{what}**" in head


def test_the_functions_that_the_page_names_are_there() -> None:
    page = PAGE.read_text()
    diagram, *_ = re.findall(r"(?ms)^```\n(.*?)^```", page)
    named = set(re.findall(r"\b[a-z]+\.[a-z_]+\b(?!\.)", diagram)) - {"lane.sh"}
    named |= {
        name for name in re.findall(r"`(?:popips\.)?([a-z]+\.[a-z_]+)`", page) if name not in ("lane.sh", "access.db")
    }
    assert len(named) > 10
    for name in named:
        module, _, function = name.partition(".")
        assert callable(getattr(importlib.import_module(f"popips.{module}"), function, None)), name
    methods = set(re.findall(r"\b(Folder|Writer)\.(\w+)", diagram))
    assert len(methods) > 5
    for where, method in methods:
        assert callable(getattr({"Folder": Folder, "Writer": Writer}[where], method, None)), method
