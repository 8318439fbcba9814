"""`map = mapd`: a login only writes its stamp, a run removes it, and popips-db works as with any other kind."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from popips.configuration import SettingsError, load
from tests.conftest import Installed, Site

V4, V6, OTHER = "192.0.2.10", "2001:db8::10", "192.0.2.11"


@pytest.fixture
def mapd(site: Site) -> Site:
    site.access.unlink()
    site.db.unlink()
    site.configure(map="mapd")
    return site


def files(site: Site) -> set[str]:
    """All that is beside the stamps and popips' notes of the last run."""
    return {path.name for path in site.folder.iterdir()} - {"popips", "popips.conf"}


def is_settled(site: Site, name: str) -> bool:
    return (site.stamps / name).stat().st_mode & 0o777 == 0o700


def test_a_login_makes_a_settled_stamp_and_no_other_file(mapd: Site) -> None:
    for name in (V4, V6):
        assert (mapd.login(name), is_settled(mapd, name)) == ("granted", True)
    assert mapd.login(V4) == "renewed"
    assert mapd.login("127.0.0.1") == "refused"
    assert (mapd.names(), files(mapd)) == ({V4, V6}, set())


def test_a_run_removes_what_is_due_and_settles_what_is_not(mapd: Site) -> None:
    mapd.login(V4)
    (mapd.stamps / V4).chmod(0o600)
    assert (mapd.expire(), is_settled(mapd, V4)) == ({}, True)
    mapd.pass_window()
    mapd.login(V6)
    assert mapd.expire(dry_run=True) == {"expire": [V4]}
    assert mapd.expire() == {"expire": [V4]}
    assert (mapd.names(), files(mapd)) == ({V6}, set())
    assert mapd.expire() == {}


def test_end_deny_and_del_end_a_grant_and_a_denied_login_gets_none(mapd: Site) -> None:
    for name in (V4, V6, OTHER):
        mapd.login(name)
    assert mapd.end(V4) == [V4]
    assert mapd.deny("2001:db8::/32") == [V6]
    assert (mapd.login(V6), mapd.take_out(OTHER), mapd.take_out(OTHER)) == ("refused", [], [OTHER])
    assert mapd.names() == set()


def test_limits_hold(mapd: Site) -> None:
    mapd.configure(map="mapd", max_per_user="1")
    mapd.login(V4)
    mapd.now += 1
    assert (mapd.login(V6), mapd.names()) == ("granted", {V6})


@pytest.mark.parametrize("there_and_back", [False, True])
def test_a_change_of_the_kind_moves_the_grants(site: Site, there_and_back: bool) -> None:
    site.login(V4)
    site.expire()
    assert site.records() == {V4: "RELAY"}
    site.configure(map="mapd")
    site.expire()
    assert (site.records(), site.names(), site.login(V6)) == ({}, {V4}, "granted")
    if there_and_back:
        site.configure()
        site.expire()
        assert site.records() == {V4: "RELAY", "ipv6:2001:db8:0:0:0:0:0:10": "RELAY"}


@pytest.mark.parametrize("line", ["own_map = yes", "value = OK", "key = connect"])
def test_what_only_a_map_in_a_file_has_is_refused(tmp_path: Path, line: str) -> None:
    conf = tmp_path / "popips.conf"
    conf.write_text(f"map = mapd\n{line}\n")
    with pytest.raises(SettingsError, match="has none: leave the line out"):
        load(str(conf))


@pytest.mark.parametrize(
    ("mta", "key", "value"), [("sendmail", "ipv6:2001:db8:0:0:0:0:0:10", "RELAY"), ("postfix", V6, "OK")]
)
def test_popips_db_lists_inserts_deletes_denies_and_tells_why(
    installed: Installed, mapd: Site, mta: str, key: str, value: str
) -> None:
    mapd.configure(map="mapd", mta=mta)

    def db(*words: str) -> tuple[int, str]:
        done = installed.run("popips-db", *words)
        return done.returncode, done.stdout

    assert installed.run("popips-expire").returncode == 0
    installed.pam(V4)
    assert db("ins", V6) == (0, f"granted: {V6}\n")
    assert set(db("lst")[1].splitlines()) == {f"{V4}\t{value}", f"{key}\t{value}"}
    assert db("lst", V6) == (0, f"{key}\t{value}\n")
    assert db("ins", "192.0.2", "REJECT")[0] == 64
    assert [line.split("\t")[0] for line in db("lst", "--grants")[1].splitlines()] == [V4, V6]
    assert db("why", V4)[1].startswith(f"{V4}: granted: user=alice ")
    assert db("del", V6)[0] == 0
    assert db("deny", V4)[0] == 0
    status, text = db("why", V4)
    assert (status, text.partition(": ")[2][:22]) == (1, f"not granted: {V4}"[:22])
    installed.pam(V6)
    os.utime(mapd.stamps / V6, (time.time() - 1000,) * 2)
    assert db("why", V6)[1].startswith(f"{V6}: not granted: due: ")  # popips-mapd does not wait for the run
    assert db("lst", "--grants")[1].endswith("\tdue\n")
    told = json.loads(db("status", "--json")[1])
    assert (told["map"]["name"], told["map"]["kind"], told["grants"]["due"]) == ("mapd", "mapd", 1)
    assert db("end", "--all")[0] == 0
    assert mapd.names() == set()


def test_a_known_address_starts_no_python_and_a_login_opens_no_map(installed: Installed, mapd: Site) -> None:
    assert installed.run("popips-expire").returncode == 0
    installed.pam(V4)
    env = {"PAM_RHOST": V4, "PAM_USER": "alice", "PAM_SERVICE": "pop3", "PAM_TYPE": "account"}
    assert not installed.starts_python(**env)
    assert installed.starts_python(**env | {"PAM_RHOST": OTHER})
    assert (mapd.names(), files(mapd)) == ({V4, OTHER}, {"popips.conf.lane"})


def test_a_login_needs_no_berkeley_db(installed: Installed, mapd: Site, tmp_path: Path) -> None:
    log = tmp_path / "trace"
    env = {"PATH": "/usr/bin:/bin", "PAM_RHOST": V4, "PAM_USER": "alice", "PAM_SERVICE": "pop3", "PAM_TYPE": "account"}
    command = ["strace", "-f", "-qq", "-e", "trace=openat,open", "-o", str(log)]
    subprocess.run([*command, str(installed.path("popips-hook")), "-c", str(mapd.conf)], env=env, check=True)
    assert mapd.names() == {V4}
    assert [
        line for line in log.read_text().splitlines() if "bsddb" in line or "berkeleydb" in line or "libdb" in line
    ] == []
