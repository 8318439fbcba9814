"""popips-db status: one screen, one verdict first."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from popips.db import state, status
from popips.doctor.check import FAIL, OK, WARN, Check, skipped
from popips.doctor.mapd import NO_FILE
from tests.box import CRON_ENVIRONMENT
from tests.conftest import Installed, Site
from tests.terminal import shown

A, B, C = "192.0.2.10", "192.0.2.11", "192.0.2.12"
WELL, HALF, BAD = Check("mta.asks", OK, ""), Check("clock", WARN, ""), Check("map.there", FAIL, "")
NOT_ASKED, DEAD, LATE = Check("mta.asks", FAIL, ""), Check("expirer.started", FAIL, ""), Check("expirer.run", FAIL, "")
DOCTOR = "fail, popips-db doctor"


def seen(site: Site, *checks: Check) -> state.State:
    with site.host as host:
        return state.state(host, list(checks))


def screen(site: Site, *checks: Check) -> dict[str, str]:
    """The lines of the screen by their names, the verdict's being ""."""
    first, *rest = status.lines(seen(site, *checks))
    return {"": first, **{line[:10].strip(): line[10:] for line in rest if not line.startswith(" ")}}


VERDICTS = {
    "all is well": ([WELL], True, "open to logins"),
    "a warning": ([WELL, HALF], True, "open to logins: 1 warn, popips-db doctor"),
    "a failure": ([BAD, HALF, WELL], False, f"NOT open to logins: 1 {DOCTOR}"),
    "no expirer": ([DEAD, LATE, WELL], False, f"open, and STAYS open: 2 {DOCTOR}"),
    "no server of the fleet": (
        [WELL, Check("share.engine", FAIL, "")],
        False,
        f"open to logins here, NOT to those on other hosts: 1 {DOCTOR}",
    ),
    "both": ([BAD, LATE], False, f"NOT open, grants stay: 2 {DOCTOR}"),
    "no expirer, and popips-mapd": (
        [LATE, WELL, skipped("map.key", NO_FILE)],
        False,
        f"open to logins, and stamps are not swept: 1 {DOCTOR}",
    ),
}


@pytest.mark.parametrize("which", VERDICTS)
def test_the_verdict_is_the_doctors(site: Site, which: str) -> None:
    checks, is_well, verdict = VERDICTS[which]
    assert (seen(site, *checks).is_well, screen(site, *checks)[""]) == (is_well, verdict)


def test_one_record_is_one(site: Site) -> None:
    site.login(A)
    assert ": 1 record; " in screen(site, WELL)["map"]


def test_where_there_is_no_map_no_record_is_spoken_of(site: Site) -> None:
    site.configure(map="mapd")
    site.login(A)
    assert screen(site, WELL)["map"] == "mapd: no map, popips-mapd answers by the stamps; asked by sendmail"


def test_a_map_that_cannot_be_read_is_no_relay_that_is_open(site: Site) -> None:
    site.login(A)
    site.db.unlink()
    assert not seen(site, WELL).is_well
    lines = screen(site, WELL)
    assert lines[""].startswith("NOT open to logins: hash:")
    assert "cannot be read" in lines["map"]
    assert lines["grants"].startswith("live 0, due 0, pending 1, ")


def test_who_asks_the_map_is_what_was_seen(site: Site) -> None:
    site.login(A)
    assert screen(site, WELL)["map"].endswith("; asked by sendmail")
    for check in (NOT_ASKED, HALF):
        assert screen(site, check)["map"].endswith("; to be asked by sendmail, by popips.conf")


def test_the_screen_counts_what_there_is(site: Site) -> None:
    site.expire()
    for address, user in ((A, "bob"), (B, "bob"), (C, "eve")):
        site.login(address, user, "imap")
    site.now += 10 * 60
    site.login(A, "bob", "pop3")
    site.deny("198.51.100.0/24")
    lines = screen(site, WELL)
    assert lines["map"] == f"hash:{site.db}: 3 records; asked by sendmail"
    assert lines["grants"] == "live 3, due 0, pending 0, static 0, barred 0, denied 1, orphans 0"
    assert (lines["services"], lines["users"]) == ("imap 2, pop3 1", "bob 2, eve 1")
    assert lines["expirer"].endswith(", 10m00s ago")
    bars = [line for line in status.lines(seen(site, WELL)) if line.startswith(" ")]
    assert [re.split(r" +", line.strip())[:2] for line in bars] == [
        ["0m00s-3m00s", "0"],
        ["3m00s-6m00s", "2"],
        ["6m00s-9m00s", "0"],
        ["9m00s-12m00s", "0"],
        ["12m00s-15m00s", "1"],
    ]
    assert bars[1].count("#") == 2 * bars[4].count("#") == status.WIDEST


def test_an_edit_that_is_not_in_the_map_and_orphans_are_shown(site: Site) -> None:
    site.build(f"{A} RELAY\n")
    site.access.write_text("example.com REJECT\n")
    lines = screen(site, WELL)
    assert lines["edit"].startswith(f"{site.access}: example.com not in {site.db} yet; build it: makemap ")
    assert lines["grants"].endswith(", orphans 1")
    site.build("")
    assert "edit" not in screen(site, WELL)


def test_the_last_whole_run_is_told_with_who_started_it(installed: Installed, tmp_path: Path) -> None:
    installed.run("popips-expire")
    with installed.site.host as host:
        told = state.state(host, [])
    assert told.last is not None and abs(time.time() - told.last) < 60
    assert told.run is not None and (told.run.by, told.run.seconds < 60) == ("root", True)
    shutil.copy("/bin/sh", tmp_path / "cron")
    command = f"{installed.path('popips-expire')} -c {installed.site.conf}; true"
    subprocess.run([tmp_path / "cron", "-c", command], env=CRON_ENVIRONMENT, check=True, capture_output=True)
    with installed.site.host as host:
        run = state.state(host, []).run
    assert run is not None and run.by == "cron"


def test_the_program_ends_with_1_where_the_doctor_finds_a_failure(installed: Installed) -> None:
    """Nothing starts the expirer here, and no MTA asks the map."""
    done = installed.run("popips-db", "status")
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, done.stdout.splitlines()[0])
    assert re.match(
        r"NOT open( to logins|, grants stay): \d+ fail, popips-db doctor$",
        done.stdout.splitlines()[0],
    )
    assert "\x1b" not in done.stdout


def test_colour_and_width_are_a_terminals(installed: Installed) -> None:
    installed.site.now = time.time()
    installed.site.login(A)
    command = [str(installed.path("popips-db")), "-c", str(installed.site.conf), "status"]
    code, text = shown(command, columns=50)
    lines = text.splitlines()
    first = next(line for line in lines if "NOT open" in line)
    assert (code, first.startswith("\x1b[31mNOT open"), first.endswith("\x1b[0m")) == (1, True, True)
    screen = lines[lines.index(first) :]
    assert max(len(re.sub(r"\x1b\[\d*m", "", line)) for line in screen) <= 50
    whole = next(line for line in installed.run("popips-db", "status").stdout.splitlines() if line.startswith("map "))
    assert "".join(whole.split()) in "".join(text.split()), "nothing is cut"
    assert any(line.strip().startswith("12m00s-15m00s") and line.endswith("#") for line in screen)
    assert "\x1b" not in shown(command, NO_COLOR="1")[1]


def test_watch_looks_again_and_again_until_it_is_interrupted(installed: Installed) -> None:
    command = [str(installed.path("popips-db")), "-c", str(installed.site.conf), "status", "--json", "--watch"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=CRON_ENVIRONMENT)
    assert process.stdout
    try:
        lines = 0
        while lines < 2:
            assert select.select([process.stdout], [], [], 60)[0]
            lines += os.read(process.stdout.fileno(), 65536).count(b"\n")
        assert process.poll() is None
    finally:
        process.terminate()
    assert process.wait(60) == 128 + 15


GRANTS = ["lst", "--grants"]


def test_grants_have_a_head_and_the_time_of_the_wall_on_a_terminal_alone(installed: Installed) -> None:
    installed.site.now = time.time()
    installed.site.login(A, "bob", "imap")
    command = [str(installed.path("popips-db")), "-c", str(installed.site.conf), *GRANTS]
    code, text = shown(command, TZ="Asia/Kolkata")
    head, row = (line for line in text.splitlines() if not line.startswith("popips-db: "))
    assert code == 0
    assert re.split(r" {2,}", head) == ["ADDRESS", "USER", "SERVICE", "LAST LOGIN (IST)", "TIME LEFT"]
    name, user, service, last, left = re.split(r" {2,}", row)
    assert (name, user, service) == (A, "bob", "imap")
    told = time.mktime(time.strptime(last, "%Y-%m-%d %H:%M:%S")) - time.timezone  # as if it were UTC
    assert abs(told - 5.5 * 3600 - installed.site.now) < 60
    assert head.index("TIME LEFT") == row.index(left)
    piped = installed.run("popips-db", *GRANTS, env={"TZ": "Asia/Kolkata"}).stdout
    assert piped.startswith(f"{A}\tbob\timap\t{time.strftime('%Y-%m-%dT%H:%M', time.gmtime(installed.site.now))}")


def test_no_grants_is_said_where_it_is_in_nobodys_way(installed: Installed) -> None:
    done = installed.run("popips-db", *GRANTS)
    assert (done.returncode, done.stdout, "popips-db: no grants: popips-db doctor" in done.stderr) == (0, "", True)
