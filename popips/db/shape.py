"""The one shape of everything that popips-db prints with --json; docs/json.md and its schema say what is in it."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone

SCHEMA = 1


def write(document: dict[str, object]) -> None:
    """Print a document, in one line, on standard output."""
    sys.stdout.write(json.dumps({"schema": SCHEMA, **document}) + "\n")


def moment(name: str, seconds: float | None) -> dict[str, object]:
    """Return a time, in seconds since the epoch, as two members: the number, and ISO 8601; null where there is none."""
    if seconds is None:
        return {name: None, f"{name}_iso": None}
    iso = datetime.fromtimestamp(int(seconds), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {name: seconds, f"{name}_iso": iso}
