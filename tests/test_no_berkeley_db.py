"""sendmail and Python without Berkeley DB: grants in a cdb of popips' own, or asked of popips-mapd."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from popips.maps.errors import NO_BINDING
from tests.box import SENDERS, WAYS, Box
from tests.sendmail_cdb import build_access, start_sendmail, take_berkeley_db_away
from tests.strace import injecting

A, B, SIX = "192.0.2.10", "192.0.2.11", "2001:db8::10"

KILLS = ["unlink", "link", "rename", "utimensat"]


@pytest.fixture
def bare(box: Box) -> Box:
    take_berkeley_db_away(box)
    box.configure(map=f"cdb:{box.scratch}/grants", own_map="yes")
    box.stamps.joinpath(".expire").touch()
    return box


@pytest.mark.parametrize("way", WAYS)
def test_sendmail_relays_from_login_to_expiry_by_a_cdb(bare: Box, way: str) -> None:
    start_sendmail(bare, way)
    assert [bare.rcpt(client) for client in (A, SIX)] == ["550", "550"]  # a missing map only denies
    for client in (A, SIX):
        bare.pam_login(client)
    assert [bare.rcpt(client) for client in (A, B, SIX)] == ["250", "550", "250"]
    build_access(bare, f"connect:{A}\tREJECT\n")
    assert [bare.rcpt(client) for client in (A, B, SIX)] == ["550", "550", "250"]
    build_access(bare, "")
    (bare.scratch / "grants.cdb").unlink()
    assert [bare.rcpt(client) for client in (A, SIX)] == ["550", "550"]
    assert bare.popips("popips-expire").returncode == 0
    assert [bare.rcpt(client) for client in (A, B, SIX)] == ["250", "550", "250"]
    bare.let_the_window_pass()
    assert bare.popips("popips-expire").returncode == 0
    assert [bare.rcpt(client) for client in (A, SIX)] == ["550", "550"]


@pytest.mark.parametrize("way", WAYS)
def test_the_sender_is_looked_at_as_without_popips(bare: Box, way: str) -> None:
    bare.pam_login(A)
    start_sendmail(bare, way)
    assert [bare.rcpt(A, sender) for sender in SENDERS] == list(SENDERS.values())


def test_an_open_session_sees_each_change_of_a_cdb(bare: Box) -> None:
    """sendmail keeps the file open that it has read first, and popips puts another in its place."""
    assert bare.popips("popips-expire").returncode == 0
    start_sendmail(bare, "own-drac.mc")
    with bare.session(A) as rcpt:
        assert rcpt() == "550"
        for _ in range(3):  # in one second, perhaps
            bare.pam_login(A)
            assert rcpt() == "250"
            assert bare.popips("popips-db", "end", A).returncode == 0
            assert rcpt() == "550"


def test_an_open_session_sees_the_change_of_a_cdb_whose_mtime_was_set_back(bare: Box) -> None:
    """popips gives it one ahead of the clock if there are many changes; touch(1) does not."""
    bare.pam_login(A)
    assert bare.popips("popips-expire").returncode == 0
    then = time.time() + 50
    os.utime(bare.scratch / "grants.cdb", (then, then))
    start_sendmail(bare, "own-drac.mc")
    with bare.session(A) as rcpt:
        assert rcpt() == "250"
        os.utime(bare.scratch / "grants.cdb")
        assert bare.popips("popips-db", "end", A).returncode == 0
        assert rcpt() == "550"


def test_an_open_session_sees_that_a_grant_has_ended_wherever_the_run_was_killed(bare: Box) -> None:
    """A cdb that has lost its name can no longer be told that it is old."""
    assert bare.popips("popips-expire").returncode == 0
    start_sendmail(bare, "own-drac.mc")
    with bare.session(A) as rcpt:
        assert rcpt() == "550"
        for call in KILLS:
            bare.pam_login(A)
            assert rcpt() == "250"
            bare.let_the_window_pass(A)
            kills = injecting(call, "signal=KILL:when=1")
            assert bare.run([*kills, bare.path("popips-expire"), "-c", bare.conf]).returncode == 128 + signal.SIGKILL
            assert bare.popips("popips-expire").returncode == 0
            assert (call, rcpt()) == (call, "550")
    assert {path.name for path in bare.scratch.glob("grants*")} == {"grants", "grants.cdb", "grants.cdb.popips"}


def test_sendmail_asks_popips_mapd(bare: Box) -> None:
    bare.configure(map="mapd")
    bare.daemon([bare.path("popips-mapd"), "-c", bare.conf])
    bare.until("popips-mapd", lambda: bare.run(["test", "-S", "/run/popips/mapd.sock"]).returncode == 0)
    start_sendmail(bare, "mapd.mc")
    assert bare.rcpt(A) == "550"
    bare.pam_login(A)
    assert [bare.rcpt(A, sender) for sender in SENDERS] == list(SENDERS.values())
    bare.let_the_window_pass(A)
    assert bare.rcpt(A) == "550"


def test_a_map_of_berkeley_db_waits_for_the_binding_and_the_login_passes(bare: Box) -> None:
    bare.configure(map=f"hash:{bare.scratch}/grants", own_map="yes")
    bare.pam_login(A)
    assert len(list((bare.stamps / ".requests").iterdir())) == 1
    assert NO_BINDING in bare.popips("popips-expire").stderr


def test_where_sendmail_has_no_cdb_the_error_names_what_else_there_is(box: Box) -> None:
    box.configure(map=f"cdb:{box.scratch}/grants", own_map="yes")
    box.pam_login(A)
    assert len(list((box.stamps / ".requests").iterdir())) == 1
    done = box.popips("popips-expire")
    assert done.returncode == 65
    assert (
        f"cdb:{box.scratch}/grants.cdb: this sendmail has no such cdb: makemap -x lists hash:db btree:db" in done.stderr
    )
    assert "name hash, or set map = mapd" in done.stderr
    (check,) = json.loads(box.popips("popips-db", "doctor", "--json", "--only", "conf").stdout)["checks"]
    assert "this sendmail has no such cdb" in check["found"]
    assert f"map = hash:{box.scratch}/grants" in check["fix"]
