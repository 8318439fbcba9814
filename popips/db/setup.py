"""popips-db setup: makes Dovecot, the MTA and the timer use popips, and takes that back."""

from __future__ import annotations

import argparse

HELP = "make Dovecot, the MTA and the timer use popips, and take that back"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""


def work(options: argparse.Namespace) -> int:
    """Print or make the changes; return the exit status."""
    return 0
