"""The one shape of everything that popips-db prints with --json: docs/json.schema.json says what is in it."""

from __future__ import annotations

import argparse
import sys

from popips.db import report
from popips.denials import FOR_EVER
from popips.login import Login

SCHEMA = 1  # goes up when a member changes its meaning or goes away; new ones may come at any time


def option(parser: argparse.ArgumentParser) -> None:
    """Add --json to the options of a verb."""
    parser.add_argument("--json", action="store_true", help="print JSON: see popips-db(8)")


def write(document: dict[str, object]) -> None:
    """Print a document, in one line, on standard output."""
    import json

    sys.stdout.write(json.dumps({"schema": SCHEMA, **document}) + "\n")


def failed(status: int, text: str) -> None:
    """Print in place of a document why there is none; status: the exit status."""
    write({"error": {"status": status, "message": text}})


def moment(name: str, seconds: float | None) -> dict[str, object]:
    """Return a time, in seconds since the epoch, as two members: the number, and ISO 8601; null where there is none."""
    if seconds is None or seconds == FOR_EVER:
        return {name: None, f"{name}_iso": None}
    return {name: seconds, f"{name}_iso": report.moment(seconds)}


def of_login(login: Login | None) -> dict[str, object]:
    """Return who logged in; null where that is not known."""
    return {
        "user": login.user if login else None,
        "service": login.service if login else None,
        "by": login.writer if login else None,
        "host": (login.host or None) if login else None,
    }


def of_records(pairs: list[tuple[bytes, bytes]]) -> list[dict[str, object]]:
    """Return records of a map."""
    return [{"key": _text(key), "value": _text(value)} for key, value in pairs]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
