"""A login on the fast lane looks a second time after it has written its stamp: what has come meanwhile is seen.

sh does not look at the map: so whoever ends a grant, or moves it, must be able to rely on that.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Installed

A = "192.0.2.10"
PAM = {"PAM_RHOST": A, "PAM_USER": "alice", "PAM_SERVICE": "pop3", "PAM_TYPE": "account"}
ANOTHER = "cp -p '{0}' '{0}.new'; mv '{0}.new' '{0}'"  # the same to the byte, its times and its mode included

# what another process does once the login has written; conf and stamps: the paths
MEANWHILE = {
    "its grant is being ended": "chmod 0600 '{stamp}'",
    "another stamp has its name": ANOTHER.format("{stamp}"),
    "another run has written the lane": ANOTHER.format("{lane}"),
    "popips.conf is edited": "touch '{conf}'",
    "the clock is put back": "touch -d '+60 seconds' '{stamps}/.expire'",
    "the expirer dies": "touch -d '-1 seconds' '{stamps}/.alive'",
}


@pytest.fixture
def log_in(installed: Installed, tmp_path: Path) -> Callable[[str], bool]:
    """Log in where a grant is settled, with something done just after sh has written; whether that was all of it."""
    site = installed.site
    assert installed.pam(A).returncode == 0
    assert installed.run("popips-expire").returncode == 0
    stamp, lane, conf, stamps = site.stamps / A, site.stamps / ".lane", site.conf, site.stamps
    program = installed.path("popips-hook").read_text().replace("python=/usr/bin/python3", "python=/bin/true")
    hook = tmp_path / "hook"

    def log_in(meanwhile: str) -> bool:
        done = meanwhile.format(stamp=stamp, lane=lane, conf=conf, stamps=stamps)
        hook.write_text(f'printf() {{ command printf "$@" && {{ {done}; }} >/dev/null; }}\n{program}')
        subprocess.run(["/bin/sh", hook, "-c", conf], env=PAM | {"PAM_USER": "carol"}, check=True)
        assert stamp.read_text() == "carol pop3 popips-hook\n"
        return not list((site.stamps / ".requests").iterdir())

    return log_in


def test_a_login_is_told_yes_by_the_lane_if_nothing_comes_between(log_in: Callable[[str], bool]) -> None:
    assert log_in(":")


@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_a_login_is_not_told_yes_by_the_lane_if_meanwhile(log_in: Callable[[str], bool], meanwhile: str) -> None:
    assert not log_in(MEANWHILE[meanwhile])
