"""A box without Berkeley DB: its sendmail has cdb instead, as some distributions have it, and its Python no binding."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.box import ROOT, Box

BUILT = ROOT / ".venv" / "sendmail-cdb"  # by tests/lab/sendmail-cdb.sh
PLACES = {"sendmail": "/usr/libexec/sendmail/sendmail", "makemap": "/usr/sbin/makemap"}


def take_berkeley_db_away(box: Box) -> None:
    """Put the other programs in the place of the box's own, and hide the binding."""
    for name, path in PLACES.items():
        box.do(["mount", "--bind", BUILT / name, os.path.realpath(path)])
    where = re.search(r"'([^']*)'\]$", box.path("popips-db").read_text(), re.MULTILINE)
    assert where
    for binding in ("bsddb3", "berkeleydb"):
        if (Path(where[1]) / binding).is_dir():
            box.do(["mount", "-t", "tmpfs", "tmpfs", f"{where[1]}/{binding}"])


def start_sendmail(box: Box, way: str) -> None:
    """Start sendmail with lines of contrib/, made ones of cdb maps; the admin's access map is one, too."""
    build_access(box, "")
    access = "" if way == "own-sequence.mc" else box.contrib("sendmail/access.mc")
    lines = access + box.contrib(f"sendmail/{way}")
    changes = {"/etc/mail": "@SCRATCH@", "/var/lib/popips/popips": "@SCRATCH@/grants", "hash ": "cdb ", "s.db": "s"}
    for old, new in changes.items():
        lines = lines.replace(old, new)
    box.start_sendmail(access=lines)


def build_access(box: Box, text: str) -> None:
    """Build the admin's access map from a text, as sendmail's release notes say: elsewhere, then moved into place."""
    box.do(["makemap", "cdb", box.scratch / "new"], text)
    os.rename(box.scratch / "new.cdb", box.scratch / "access.cdb")
