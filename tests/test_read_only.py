"""A unit with ProtectSystem keeps folders read only for what it starts: whoever cannot write says what to do."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.box import CRON_ENVIRONMENT
from tests.conftest import Installed

A = "192.0.2.10"
ROOT = Path(__file__).parent.parent
DROP_IN = "systemd/dovecot.service.d/popips.conf"
# in mounts of its own, the path read only
SHUT = """
mount --bind "$1" "$1"; mount -o remount,ro,bind "$1"
shift; exec "$@"
"""
LOGIN = {
    "popips-hook": {"PAM_RHOST": A, "PAM_USER": "alice", "PAM_SERVICE": "pop3", "PAM_TYPE": "account"},
    "popips-postlogin": {"IP": A, "USER": "alice"},
}
# what cannot be written, and how the log line of a login begins
READ_ONLY = [
    ("access.db", "deferred: "),  # the map
    ("access.db.popips", "deferred: "),  # its journal
    ("popips/.requests", "refused: "),  # where a login is left that nobody has looked at
    ("popips", "refused: "),  # the stamps
    (".", "refused: "),  # all of it
]


def run_shut(installed: Installed, path: Path, program: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a program for which the path is read only."""
    command = [str(installed.path(program)), "-c", str(installed.site.conf), *words]
    return subprocess.run(
        ["unshare", "--mount", "sh", "-euc", SHUT, "sh", str(path), *command],
        env=CRON_ENVIRONMENT | LOGIN.get(program, {}),
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("program", LOGIN)
@pytest.mark.parametrize(("name", "begin"), READ_ONLY)
def test_a_login_that_cannot_be_written_down_names_the_cure(
    installed: Installed, name: str, begin: str, program: str
) -> None:
    installed.pam("198.51.100.1")
    installed.run("popips-expire")
    path = installed.site.folder / name
    done = run_shut(installed, path, program, *(["/bin/echo", "here"] if program == "popips-postlogin" else []))
    assert done.returncode == 0
    folder = path.parent if name.startswith("access") else installed.site.stamps
    assert_says(done.stderr, begin, str(folder))


def assert_says(line: str, begin: str, folder: str) -> None:
    """The line names the folder, the drop-in and what to do."""
    assert re.search(rf": {begin}.* reason=\"[^\"]*\"$", line, re.MULTILINE), line
    assert "Read-only file system" in line
    assert f"keeps {folder} read only" in line
    assert f"/etc/{DROP_IN.replace('systemd', 'systemd/system')} " in line
    assert "ProtectSystem" in line
    assert "restart dovecot" in line


def test_a_map_of_ones_own_that_cannot_be_made_names_the_cure(installed: Installed) -> None:
    """As on a host whose popips.conf names one in /etc/postfix."""
    own = installed.site.folder / "own"
    own.mkdir()
    installed.site.configure(map=f"hash:{own}/popips", own_map="yes")
    assert_says(run_shut(installed, own, "popips-hook").stderr, "deferred: ", str(own))
    (request,) = (installed.site.stamps / ".requests").iterdir()
    assert request.name.startswith(f"{A}-")


def test_the_cure_is_not_told_where_the_disk_is_full_or_damaged(installed: Installed) -> None:
    (installed.site.folder / "access.db.popips").mkdir()
    assert "ProtectSystem" not in installed.pam(A).stderr


def test_the_expirer_names_its_own_unit(installed: Installed) -> None:
    installed.pam(A)
    installed.site.build("")
    done = run_shut(installed, installed.site.folder / "access.db", "popips-expire")
    assert done.returncode == 74
    assert f"systemctl edit popips-expire, and name {installed.site.folder} after ReadWritePaths= there" in done.stderr


def test_the_drop_in_that_is_named_is_in_contrib_and_its_setting_too() -> None:
    text = (ROOT / "contrib" / DROP_IN).read_text()
    assert text.startswith(f"# /etc/{DROP_IN.replace('systemd', 'systemd/system')}: ")
    assert re.findall(r"^[^#\n].*", text, re.MULTILINE) == ["[Service]", "ReadWritePaths=-/etc/mail -/etc/postfix"]
