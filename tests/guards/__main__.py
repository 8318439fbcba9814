"""python -m tests.guards [--page] [NAME...]: take each guard out of a copy of the tree, and see its test turn red.

Of all guards, or of those whose name or file has one of these words in it, the tests must be green first. --page only
writes the table of docs/reliability.md. The exit status is 1 if a guard can be taken out and nothing turns red.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.guards import PAGE, ROOT, Guard, page
from tests.guards.all import GUARDS

LIMIT = 300  # seconds of a test that no longer ends
LEFT = shutil.ignore_patterns(".*", "__pycache__", "build", "*.egg-info")


def main(words: list[str]) -> int:
    """Do what the words say; return the exit status."""
    if words == ["--page"]:
        PAGE.write_text(page(PAGE.read_text(), GUARDS))
        return 0
    chosen = [one for one in GUARDS if not words or any(word in f"{one.name} {one.file}" for word in words)]
    if not chosen:
        sys.stderr.write(f"no guard has one of these in its name or file: {' '.join(words)}\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="guards-", dir="/tmp") as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=LEFT)
        copy.parent.chmod(0o755)
        (copy / ".venv").symlink_to(ROOT / ".venv")
        status, said = tried(copy, *dict.fromkeys(guard.test for guard in chosen))
        if status:
            sys.stderr.write(f"{said}\nnot green with all guards in their places\n")
            return 1
        survived = [guard.name for guard in chosen if not is_red(copy, guard)]
    print(f"{len(chosen)} guards, {len(survived)} taken out with nothing red", *survived, sep="\n  ")
    return 1 if survived else 0


def is_red(copy: Path, guard: Guard) -> bool:
    """Take the guard out of the copy, run its test, put it back, and print what came of it; whether a test failed."""
    path, start = copy / guard.file, time.monotonic()
    whole = path.read_text()
    path.write_text(guard.cut(whole))
    _, said = tried(copy, guard.test)
    path.write_text(whole)
    failed, broken = (re.search(rf"\b[0-9]+ {word}\b", said.splitlines()[-1]) for word in ("failed", "errors?"))
    verdict = "red" if failed and not broken else "BROKEN" if broken else "GREEN"
    print(f"{verdict:6} {time.monotonic() - start:6.1f} s  {guard.name}", flush=True)
    if verdict == "BROKEN":
        print(said)
    return verdict == "red"


def tried(copy: Path, *tests: str) -> tuple[int, str]:
    """Run tests in the copy, the first failure ends them; return pytest's exit status, and what it said."""
    pytest = [sys.executable, "-m", "pytest", "-n", "2" if len(tests) > 1 else "0", "-x", "--tb=short", *tests]
    done = subprocess.run(
        ["timeout", str(LIMIT * len(tests)), "tests/lab/cover.sh", *pytest],
        cwd=copy,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},  # what is cached goes by whole seconds and the size
        capture_output=True,
        text=True,
    )
    return done.returncode, (done.stdout + done.stderr).strip() or "nothing was said"


sys.exit(main(sys.argv[1:]))
