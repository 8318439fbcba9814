"""What goes wrong beside popips is noticed: a dead expirer, an edit that waits, a log that nobody reads, a clock."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popips import run, turns, watch
from popips.fate import EXPIRE, PUT
from popips.grant import GRANTED, RENEWED
from popips.log import INFO, Log
from popips.stamps.folder import Folder
from tests.box import CRON_ENVIRONMENT, Box
from tests.conftest import NOW, Installed, Site

A, B = "192.0.2.10", "192.0.2.11"
DEAD = "popips-expire has not finished a run for "


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds, time.time() - seconds))


# ---- a dead expirer


def test_a_run_of_the_expirer_shows_that_it_is_alive(installed: Installed) -> None:
    run_file = installed.site.stamps / ".expire"
    age(run_file, 1000)
    installed.run("popips-expire", "-n")
    assert time.time() - run_file.stat().st_mtime > 900
    installed.run("popips-expire")
    assert time.time() - run_file.stat().st_mtime < 300


@pytest.mark.parametrize(("age", "dead"), [(299, False), (301, True), (-299, False), (-301, True)])
def test_after_five_minutes_without_a_run_the_expirer_counts_as_dead(site: Site, age: float, dead: bool) -> None:
    os.utime(site.stamps / ".expire", (site.now - age, site.now - age))
    with Folder(str(site.stamps)) as folder:
        assert bool(watch.expirer_is_dead(folder, site.now)) == dead


def test_an_expirer_that_never_ran_counts_as_dead(site: Site) -> None:
    (site.stamps / ".expire").unlink()
    with Folder(str(site.stamps)) as folder:
        assert "never finished a run" in watch.expirer_is_dead(folder, site.now)


def test_where_the_expirer_is_dead_a_login_says_so_once_an_hour_and_takes_out_what_is_due(box: Box) -> None:
    box.pam_login(A)
    age(box.stamps / A, 3600)
    age(box.stamps / ".expire", 3600)
    box.pam_login(B)
    box.pam_login("192.0.2.12")
    where = f"map=hash:{box.access}.db"
    assert box.logged() == [
        f"granted: address={A} user=alice service=pop3 {where}",
        f"granted: address={B} user=alice service=pop3 {where}",
        f"error: {DEAD}60 minutes: have its timer or cron start it every minute",
        f"removed: address={A} {where}",
        f"granted: address=192.0.2.12 user=alice service=pop3 {where}",
    ]
    assert box.records() == {B: "RELAY", "192.0.2.12": "RELAY"}
    age(box.stamps / ".told-expirer", 3601)
    box.pam_login("192.0.2.12")
    assert box.logged()[-1].startswith(f"error: {DEAD}")


def test_what_stands_in_for_it_ends_a_bounded_number_and_is_no_run(site: Site) -> None:
    site.login(A)
    for number in range(turns.BATCH + 10):
        stamp = site.stamps / f"10.0.{number // 256}.{number % 256}"
        stamp.touch()
        os.utime(stamp, (site.now - 9999, site.now - 9999))
    before = (site.stamps / ".expire").stat().st_mtime
    with site.host as host:
        done = run.stand_in(host)
    assert len(done.done[EXPIRE]) == turns.BATCH
    assert len(site.names()) == 11
    assert (site.stamps / ".expire").stat().st_mtime == before


def test_two_do_not_stand_in_at_once(site: Site) -> None:
    with Folder(str(site.stamps)) as folder, run.alone(folder) as first, run.alone(folder) as second:
        assert (first, second) == (True, False)


def test_where_no_run_has_been_to_look_for_one_makes_none(site: Site) -> None:
    (site.stamps / ".expire").unlink()
    with Folder(str(site.stamps)) as folder:
        with run.alone(folder):
            pass
        assert watch.expirer_is_dead(folder, site.now)


def test_popips_db_tells_the_admin_of_a_dead_expirer(installed: Installed) -> None:
    age(installed.site.stamps / ".expire", 3600)
    assert f"popips-db: {DEAD}60 minutes" in installed.run("popips-db", "lst").stderr


# ---- the admin's edits


def edit(site: Site, text: str, at: float) -> None:
    site.access.write_text(text)
    os.utime(site.access, (at, at))


def make(site: Site) -> None:
    """What Debian's Makefile in /etc/mail does: build the map if its text is newer."""
    if site.access.stat().st_mtime_ns > site.db.stat().st_mtime_ns:
        site.build(site.access.read_text())


@pytest.mark.parametrize("later", [0, 5, 3600])
@pytest.mark.parametrize("runs", [False, True], ids=["", "a run before make"])
def test_make_still_sees_an_edit_after_our_writes(site: Site, later: float, runs: bool) -> None:
    os.utime(site.db, (site.now - 100, site.now - 100))
    edit(site, "198.51.100.1 REJECT\n", site.now - 50)
    site.now += later
    for last in range(50):
        site.login(f"10.0.0.{last}")
    if runs:
        site.expire()
    make(site)
    assert site.records() == {"198.51.100.1": "REJECT"}
    assert len(site.expire()[PUT]) == 50


def test_an_edit_that_is_not_in_the_map_is_told_to_log_and_admin(box: Box) -> None:
    age(Path(f"{box.access}.db"), 100)
    box.access.write_text("198.51.100.1 REJECT\n")
    told = f"{box.access}: 198.51.100.1 not in {box.access}.db yet; build it: makemap hash "
    for _ in range(2):
        box.popips("popips-expire")
    assert told in box.popips("popips-db", "lst").stderr
    assert [line for line in box.logged() if told in line] == [f"error: {told}{box.access} < {box.access}"]
    box.write_access("198.51.100.1 REJECT\n")
    age(box.stamps / ".told-edit", 4000)
    box.popips("popips-expire")
    assert len([line for line in box.logged() if told in line]) == 1
    assert told not in box.popips("popips-db", "lst").stderr


# ---- a log that nobody reads


@pytest.mark.parametrize("state", ["missing", "nobody listens", "full", "a plain file"])
def test_with_no_log_a_login_passes_and_that_is_said_once(box: Box, state: str) -> None:
    """Full: the queue of datagrams of a listener that never reads."""
    command = {
        "missing": "rm /dev/log",
        "nobody listens": "rm /dev/log; python3 -c 'import socket; socket.socket(1, 2).bind(\"/dev/log\")'",
        "a plain file": "rm /dev/log; : > /dev/log",
        "full": "rm /dev/log",
    }[state]
    box.run(["sh", "-c", command])
    if state == "full":
        box.daemon(["python3", "-c", FULL])
        box.until("full log", lambda: box.run(["test", "-e", "/dev/full-now"]).returncode == 0)
    for stamp in range(3):
        (box.stamps / f"not-a-stamp-{stamp}").touch()
    for program, env in (("popips-hook", {"PAM_RHOST": A, "PAM_TYPE": "account"}), ("popips-expire", {})):
        done = box.popips(program, env=env)
        assert (done.returncode, done.stdout) == (0, "")
        assert len(re.findall(f"^{program}: cannot log to /dev/log", done.stderr, re.MULTILINE)) == 1
        assert done.stderr.count("\n") == 1
    assert box.records() == {A: "RELAY"}


def test_a_syslogd_that_was_started_again_gets_the_lines_of_who_ran_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    monkeypatch.setattr("popips.log.SOCKET", str(path))
    log = Log("popips-follow")
    for _ in range(2):
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslogd:
            syslogd.bind(str(path))
            log.line(INFO, "granted")
            syslogd.settimeout(10)
            assert syslogd.recv(1000).endswith(b": granted")


FULL = """
import socket
reader, writer = socket.socket(1, 2), socket.socket(1, 2)
reader.bind("/dev/log")
writer.connect("/dev/log")
writer.setblocking(False)
try:
    while True:
        writer.send(b"full")
except BlockingIOError:
    open("/dev/full-now", "w").close()
import time
time.sleep(600)
"""


# ---- a clock that jumps

JUMPS = [-86400.0 * 365, -86400.0, -3600.0, -60.0, 60.0, 3600.0, 86400.0]


@given(st.lists(st.tuples(st.sampled_from(JUMPS), st.booleans(), st.booleans()), max_size=6))
@settings(max_examples=50, deadline=None)
def test_no_grant_outlives_window_and_one_run_once_the_clock_is_right(
    tmp_path_factory: pytest.TempPathFactory, jumps: list[tuple[float, bool, bool]]
) -> None:
    site = Site(tmp_path_factory.mktemp("site"))
    site.login(A)
    for jump, logs_in, expires in jumps:
        site.now += jump
        if logs_in:
            site.login(B)
        if expires:
            site.expire()
    site.now = NOW + 120  # the clock is right again
    site.expire()
    site.now += site.settings.window + run.ONE_RUN
    site.expire()
    assert (site.names(), site.records()) == (set(), {})


@pytest.mark.parametrize("jump", [-86400.0 * 365 * 50, -86400.0, -3600.0, -800.0, 0.0, 800.0])
def test_no_grant_is_lost_for_a_jump_back_or_within_the_window(site: Site, jump: float) -> None:
    site.login(A)
    site.now += jump
    site.expire()
    assert site.records() == {A: "RELAY"}
    assert site.login(A) == RENEWED
    site.expire()
    assert site.records() == {A: "RELAY"}


def test_a_login_in_1970_is_granted(site: Site) -> None:
    site.now = 100.0
    assert site.login(A) == GRANTED
    site.expire()
    assert site.records() == {A: "RELAY"}


# ---- a map that crashes libdb


@pytest.mark.parametrize("program", ["popips-expire", "popips-db"])
def test_a_crash_of_libdb_is_an_error_with_a_cure(installed: Installed, program: str, tmp_path: Path) -> None:
    """The binding is replaced by one that crashes when a map is opened."""
    crash = "import os\nimport popips.maps.libdb as libdb\nlibdb.DB = lambda: os.kill(os.getpid(), 11)\n"
    crashing = tmp_path / program
    crashing.write_text(installed.path(program).read_text().replace("from ", f"{crash}from ", 1))
    crashing.chmod(0o755)
    (installed.site.stamps / A).touch()
    command = [str(crashing), "-c", str(installed.site.conf), *(["lst"] if program == "popips-db" else [])]
    done = subprocess.run(command, env=CRON_ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 65
    assert f"{program}: libdb crashed (Segmentation fault): the map is damaged; rebuild it" in done.stderr
