"""The tests keep their hands off the host: whatever reaches for its files fails the run, though it was not told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.box import ROOT

COVER = ROOT / "tests" / "lab" / "cover.sh"


def under_cover(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(COVER), *command], capture_output=True, text=True)


def looks() -> list[tuple[str, int, int, int]]:
    """Return what the covered folders, and what is in them, look like."""
    found = []
    for folder in ("/etc", "/etc/mail", "/var/mail", "/var/lib", "/var/lib/popips", "/var/lib/popips/stamps"):
        for path in (Path(folder), *Path(folder).iterdir()):
            seen = path.lstat()
            found.append((str(path), seen.st_mode, seen.st_size, seen.st_mtime_ns))
    return found


@pytest.mark.parametrize(
    ("script", "reached"),
    [
        ("echo 192.0.2.10 > /var/lib/popips/stamps/192.0.2.10", "/var/lib/popips/stamps/192.0.2.10"),
        ("touch -d yesterday /var/lib/popips/stamps", "/var/lib/popips/stamps"),
        ("truncate -s 0 /etc/mail/access.db", "/etc/mail/access.db"),
        ("rm /etc/passwd", "/etc/passwd"),
        ("chmod 0600 /etc/passwd", "/etc/passwd"),
        ("ln -s x /etc/gone; rm /etc/gone", "/etc"),
        ("mkdir /etc/mail/gone; rmdir /etc/mail/gone", "/etc/mail"),
        ("echo hello >> /var/mail/root", "/var/mail/root"),
        ("unshare --mount sh -c '(echo x > /var/lib/x)'", "/var/lib/x"),
    ],
)
def test_who_reaches_for_the_hosts_files_fails(script: str, reached: str) -> None:
    before = looks()
    done = under_cover("sh", "-c", script)
    assert done.returncode == 1
    assert reached in done.stderr.split()
    assert looks() == before


@pytest.mark.parametrize("status", [0, 3])
def test_who_does_not_ends_as_he_would_have(status: int) -> None:
    done = under_cover("sh", "-c", f"cat /etc/passwd > /dev/null; exec 5< /etc/passwd; flock 5; exit {status}")
    assert (done.returncode, done.stderr) == (status, "")


def test_a_program_without_settings_of_its_own_is_refused_those_of_the_host() -> None:
    done = under_cover(sys.executable, "-c", "from popips import configuration; configuration.load('/etc/popips.conf')")
    assert "/etc/popips.conf:1: " in done.stderr


def test_a_test_that_swallows_its_error_fails_the_run(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pathlib\ndef test_it():\n    pathlib.Path('/var/lib/popips/stamps/x').touch()\n"
    )
    done = under_cover(sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", str(tmp_path))
    assert "1 passed" in done.stdout
    assert done.returncode == 1
    assert "/var/lib/popips/stamps/x" in done.stderr


def test_pytest_outside_of_the_cover_says_how_to_run_it() -> None:
    env = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
    bare = ["unshare", "--mount", "sh", "-c", 'umount -l /etc; exec "$@"', "sh", sys.executable, "-m", "pytest"]
    done = subprocess.run(bare, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 4
    cure = "run `make test`, or tests/lab/cover.sh .venv/bin/pytest"
    assert done.stderr.strip() == f"ERROR: the host's files are not covered: {cure}"
