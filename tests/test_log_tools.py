"""contrib's rules for fail2ban and logcheck know the lines that popips logs: fail2ban-regex and egrep try them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from popips import fate, grant, policy
from popips.grant import Outcome
from popips.login import Login
from popips.run import Run
from tests.box import ROOT

A, SIX, MAP = "192.0.2.10", "2001:db8::10", "hash:/etc/mail/access.db"
HEADS = ("Nov 28 12:00:01 mx popips-{}[123]: ", "2026-11-28T12:00:01.123456+01:00 mx popips-{}[123]: ")
ALICE = Login("alice", "pop3", "popips-postlogin")


def login(verdict: str, address: str = A, reason: str = "") -> str:
    return Outcome(verdict, address, reason).describe(ALICE, MAP)


def of_run(what: str) -> list[str]:
    run = Run()
    run.note(dict.fromkeys((f"10.0.{n >> 8}.{n & 255}" for n in range(1002)), what))
    return [text for _, text in run.describe(MAP)][-2:]


WELL = [
    *(login(verdict, address) for verdict in (grant.GRANTED, grant.RENEWED) for address in (A, SIX)),
    login(grant.GRANTED, A, "192.0.2.9 removed: max_per_user is 1"),
    login(grant.STATIC, A, "the admin has a record on it"),
    login(grant.REFUSED, A, policy.NEVER),
    *(line for what in (fate.EXPIRE, fate.BAR, fate.PUT, fate.YIELD) for line in of_run(what)),
]
BANNED = [
    login(grant.REFUSED, A, "an anonymous login: everybody could open the relay by it"),
    login(grant.REFUSED, SIX, "2001:db8::/64 is denied by root"),
    login(grant.REFUSED, A, "submission is not one of only_services: add it to that in popips.conf"),
    login(grant.REFUSED, A, "mallory is not in the group mail (only_group), or there is none"),
]
OUR_OWN = [
    login(grant.REFUSED, A, "/var/lib/popips/stamps: there is no such folder; make it: install -d -m 0700"),
    login(grant.DEFERRED, A, "/etc/mail/access.db: somebody else keeps it locked"),
    login(grant.REFUSED, A, "denied just now"),
    "error: popips-expire has never finished a run: have its timer or cron start it every minute",
]


@pytest.mark.parametrize("head", HEADS, ids=["syslog", "iso"])
@pytest.mark.parametrize("line", [*WELL, *BANNED, *OUR_OWN])
def test_logcheck_leaves_out_what_is_well_and_nothing_else(head: str, line: str) -> None:
    rules = ROOT / "contrib/logcheck/popips"
    text = "".join(rule + "\n" for rule in rules.read_text().splitlines() if not rule.startswith("#"))
    done = subprocess.run(["grep", "-E", text.strip()], input=head.format("expire") + line, text=True, check=False)
    assert (done.returncode == 0) == (line in WELL)


@pytest.fixture(scope="session")
def fail2ban(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """fail2ban from its package, unpacked and not installed: it would watch the host."""
    folder = tmp_path_factory.mktemp("fail2ban")
    subprocess.run(["apt-get", "-q", "download", "fail2ban"], cwd=folder, check=True, capture_output=True)
    subprocess.run(["dpkg-deb", "-x", *map(str, folder.glob("*.deb")), str(folder)], check=True)
    return folder


@pytest.mark.parametrize("head", HEADS, ids=["syslog", "iso"])
def test_fail2ban_sees_who_is_refused_and_no_mistake_of_the_host(fail2ban: Path, tmp_path: Path, head: str) -> None:
    filters = fail2ban / "etc/fail2ban/filter.d"
    (filters / "popips.conf").write_text((ROOT / "contrib/fail2ban/filter.d/popips.conf").read_text())
    log = tmp_path / "mail.log"
    log.write_text("".join(head.format("postlogin") + line + "\n" for line in [*WELL, *BANNED, *OUR_OWN]))
    command = [
        "/usr/bin/python3",
        fail2ban / "usr/bin/fail2ban-regex",
        "--print-all-matched",
        log,
        filters / "popips.conf",
    ]
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(fail2ban / "usr/lib/python3/dist-packages"),
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run([*map(str, command)], env=env, capture_output=True, text=True, check=True)
    told = done.stdout.partition("Matched line(s):")[2].partition("`-")[0]
    matched = [line.partition("]: ")[2] for line in re.findall(r"^\|  (.+)$", told, re.M)]
    assert matched == BANNED, done.stdout + done.stderr
