"""popips-db doctor: prints what stands between a login and a relayed mail."""

from __future__ import annotations

import argparse

HELP = "look for what keeps logins from opening the relay, and say how to mend it"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""


def work(options: argparse.Namespace) -> int:
    """Print the checks; return 0 if none fails, else 1."""
    return 0
