"""A Python without bsddb3 and berkeleydb: maps of Berkeley DB are named with their cure, and nothing else needs it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from popips.maps.errors import NO_BINDING
from tests.box import CRON_ENVIRONMENT
from tests.conftest import Installed

A = "192.0.2.10"
STATUS = {"popips-expire": 65, "popips-db lst": 65, f"popips-db del {A}": 65, f"popips-db ins {A}": 75}  # a grant waits


@pytest.fixture
def without(installed: Installed, tmp_path: Path) -> Installed:
    """The installed programs, which look for the binding where it is not."""
    prefix = tmp_path / "prefix"
    (prefix / "sbin").mkdir(parents=True)
    for program in ("popips-db", "popips-expire"):
        text = installed.path(program).read_text()
        (prefix / "sbin" / program).write_text(
            re.sub(r"(\*sys\.path, ).*\]$", r"\1'/nowhere']", text, flags=re.MULTILINE)
        )
        (prefix / "sbin" / program).chmod(0o755)
    return Installed(prefix, installed.site)


@pytest.mark.parametrize("own", ["no", "yes"])
@pytest.mark.parametrize("words", STATUS)
def test_a_map_of_berkeley_db_ends_with_the_cure(without: Installed, own: str, words: str) -> None:
    if own == "yes":
        without.site.access.unlink()
    without.site.configure(own_map=own)
    done = without.run(*words.split())
    assert (done.returncode, NO_BINDING in done.stderr, "Traceback" in done.stderr) == (STATUS[words], True, False)
    assert "map = mapd" in done.stderr


def test_doctor_says_what_to_install(without: Installed) -> None:
    done = without.run("popips-db", "doctor", "--json")
    (check,) = (check for check in json.loads(done.stdout)["checks"] if check["id"] == "map.format")
    assert (check["status"], check["fix"]) == ("fail", "apt-get install -y python3-bsddb3")
    assert without.run("popips-db", "status").returncode == 1


def test_without_a_map_nothing_is_missed(without: Installed) -> None:
    site = without.site
    site.access.unlink()
    site.db.unlink()
    site.configure(map="mapd")
    for words in ("popips-expire", f"popips-db ins {A}", f"popips-db why {A}", "popips-expire", f"popips-db end {A}"):
        done = without.run(*words.split())
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), (words, done.stderr)
    assert "libdb none" in without.run("popips-db", "status").stdout


def test_the_programs_start_without_it(without: Installed) -> None:
    for program in ("popips-db", "popips-expire"):
        command = [str(without.path(program)), "--version"]
        assert subprocess.run(command, env=CRON_ENVIRONMENT, capture_output=True).returncode == 0
