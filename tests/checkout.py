"""The checkout as a clone of it would be: what was made in it, and changes while tests run, stays behind."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.box import ROOT

MADE = (".git", ".venv", "build", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis")


def copy(target: Path) -> None:
    """Copy the checkout into a folder that need not be there yet."""
    shutil.copytree(ROOT, target, symlinks=True, ignore=shutil.ignore_patterns(*MADE), dirs_exist_ok=True)
