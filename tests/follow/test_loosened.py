"""A field of a pattern that is loosened by itself, to `.*`, takes a line of the hostile table for a login."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from follower import formats
from tests.follow.fields import fields
from tests.follow.reading import logins
from tests.follow.test_forged import hostile

NAMES = formats.names()
NEEDS_NO_LINE = {  # what stands in front of a field that may be loosened, and the reason
    "(?P<service>": "a service that is no mailbox's grants nothing, whatever the pattern takes for one: see rules.py",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_field_that_is_loosened_is_found_out(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = [(field, hostile(field)) for field in fields(name)]
    source = (formats.FOLDER / f"{name}.conf").read_text()
    shutil.copytree(formats.FOLDER, tmp_path / "formats")
    monkeypatch.setattr(formats, "FOLDER", tmp_path / "formats")
    wrong = []
    for field, table in tables:
        (formats.FOLDER / f"{name}.conf").write_text(source.replace(field.pattern, field.becoming(".*")))
        needs_none = field.pattern[: field.begin].endswith(tuple(NEEDS_NO_LINE))
        if any(logins(name, lines) for lines in table) == needs_none:
            wrong.append(str(field))
    assert wrong == []
