"""The fleet, as lst, why and status tell it: which host a login was on, and how this one stands with the others."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from popips.db import state, status
from popips.probe import fleet
from tests.conftest import Installed, Site
from tests.elsewhere import OTHER, SHARE, From
from tests.test_fleet import tick
from tests.test_json import of

A, B, C, V6 = "192.0.2.10", "192.0.2.11", "192.0.2.12", "2001:db8::10"
OLD, DENIED = "192.0.2.13", "192.0.2.14"
MINE = "mx1.example.test"


def told(now: float, **more: object) -> dict[str, object]:
    """What popips-share writes into .fleet."""
    hosts = {OTHER: {"heard": now - 5, "lag": 0.013, "live": 12}}
    its = {"schema": 1, "name": MINE, "engine": SHARE, "connected": True, "since": now - 200, "error": ""}
    return {**its, "written": now - 1, "hosts": hosts, **more}


@pytest.fixture
def others(installed: Installed) -> From:
    return From(installed.site, installed.site.folder)


def rows(installed: Installed, *words: str) -> list[list[str]]:
    done = installed.run("popips-db", "lst", "--grants", *words)
    return [line.split("\t") for line in done.stdout.splitlines()]


def complaints(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return what a command has to say, but for the log that a test has none of."""
    return [line for line in done.stderr.splitlines() if " cannot log to " not in line]


# ---- where the map is a file, the stamp says it


def test_lst_and_why_name_the_host_of_a_grant(installed: Installed, others: From) -> None:
    installed.pam(A)
    others.tell(B, age=60)
    installed.run("popips-expire")
    assert [(row[0], row[1], row[-1]) for row in rows(installed)] == [(A, "alice", "-"), (B, "bob", OTHER)]
    assert f"by=@{OTHER} " in installed.run("popips-db", "why", B).stdout
    listed = of("grants", installed.run("popips-db", "lst", "--grants", "--json").stdout)["grants"]
    assert [(one["address"], one["host"], one["by"]) for one in listed] == [
        (A, None, "popips-hook"),
        (B, OTHER, f"@{OTHER}"),
    ]
    assert of("why", installed.run("popips-db", "why", "--json", B).stdout)["grant"]["host"] == OTHER
    installed.site.configure()
    assert {len(row) for row in rows(installed)} == {5}  # as ever, where this host keeps its logins to itself


def test_what_the_next_run_takes_up_is_shown_as_pending_until_it_has(installed: Installed, others: From) -> None:
    others.tell(A, age=100)
    (row,) = rows(installed)
    assert (row[0], row[1], row[4], row[-1]) == (A, "bob", "pending", OTHER)
    done = installed.run("popips-db", "why", A)
    assert (done.returncode, done.stderr) == (1, "")
    assert f"{A}: not granted: pending: a login on {OTHER}; the record comes with the next run" in done.stdout
    installed.site.deny("192.0.2.0/28")
    assert rows(installed)[0][4] == "barred"
    assert "not granted: 192.0.2.0/28 is denied by " in installed.run("popips-db", "why", A).stdout
    installed.run("popips-expire")
    tick()
    installed.run("popips-expire")  # it was refused, and waits for no other run
    assert rows(installed) == []
    assert installed.run("popips-db", "undeny", "192.0.2.0/28").returncode == 0
    assert "no grant in the last 15m00s" in installed.run("popips-db", "why", A).stdout


def test_what_was_ended_elsewhere_is_said_to_be_open_until_the_next_run(installed: Installed, others: From) -> None:
    installed.pam(A)
    installed.age(A, minutes=5)
    others.tell(A, age=60, is_live=False)
    assert [row[4] for row in rows(installed)] == ["barred"]
    done = installed.run("popips-db", "why", A)
    assert done.stdout.startswith(f"{A}: open until the next run of popips-expire: ended on {OTHER} at ")
    installed.run("popips-expire")
    assert f"{A}: not granted: no grant" in installed.run("popips-db", "why", A).stdout
    installed.pam(A)
    assert installed.run("popips-db", "why", A).stdout.startswith(f"{A}: granted: user=alice ")


# ---- where popips-mapd is asked, what others told counts by itself


@pytest.fixture
def without_map(installed: Installed, others: From) -> From:
    others.configure(map="mapd")
    return others


def test_where_there_is_no_map_what_others_told_is_listed_too(installed: Installed, without_map: From) -> None:
    for name in (A, B):
        installed.pam(name)
    for name, age, is_live in ((A, 100, True), (B, 0, False), (C, 100, True), (V6, 100, False), (OLD, 999, True)):
        without_map.tell(name, age, is_live)
    without_map.tell(DENIED, age=1)
    installed.site.deny(DENIED)
    shown = {row[0]: (row[1], row[4] if not row[4].endswith("s") else "", row[-1]) for row in rows(installed)}
    assert shown == {
        A: ("alice", "", "-"),
        B: ("bob", "barred", OTHER),  # ended there, after the login here
        C: ("bob", "", OTHER),
        DENIED: ("bob", "barred", OTHER),
    }
    assert [row[0] for row in rows(installed, V6)] == []


def test_where_there_is_no_map_whom_others_deny_is_told_before_the_next_run(
    installed: Installed, without_map: From
) -> None:
    installed.pam(A)
    without_map.deny("192.0.2.8/29")
    assert [(row[0], row[4]) for row in rows(installed)] == [(A, "barred")]
    done = installed.run("popips-db", "why", A)
    assert (done.returncode, f"denied by root@{OTHER}: " in done.stdout) == (1, True), done.stdout
    assert installed.run("popips-db", "deny").stdout.startswith("192.0.2.8/29\tever\t")
    assert f"denied on {OTHER}: lift it there: " in installed.run("popips-db", "undeny", "192.0.2.8/29").stderr


def test_end_says_where_a_login_elsewhere_is_to_be_ended(installed: Installed, without_map: From) -> None:
    without_map.tell(A)
    done = installed.run("popips-db", "end", A, B)
    told = f"{A}: no grant of this host's: the login was on {OTHER}; end it there, or: popips-db deny {A}"
    assert (done.returncode, done.stderr) == (1, f"popips-db: {told}\npopips-db: {B}: no grant\n")
    installed.pam(A)
    assert installed.run("popips-db", "end", A).returncode == 0


CHOICES = {  # what is chosen, and what of it other hosts have
    "--all": [A, B, C],
    "--user bob": [A, B],
    "--user carol": [C],
    "--network 192.0.2.10/31": [A, B],
    "--user nobody": [],
}


@pytest.mark.parametrize("kind", ["map", "mapd"])
@pytest.mark.parametrize("words", CHOICES)
def test_a_choice_of_grants_names_the_logins_on_other_hosts_that_are_left(
    installed: Installed, others: From, kind: str, words: str
) -> None:
    if kind == "mapd":
        others.configure(map="mapd")
    installed.pam(B)
    installed.age(B, minutes=5)
    for name in (A, B):
        others.tell(name, age=60)
    others.tell(C, who=f"carol imap {OTHER}\n")
    others.tell(V6, is_live=False)
    others.tell(OLD, age=999)
    others.tell(DENIED)
    installed.site.deny(DENIED)
    left = [
        name for name in CHOICES[words] if name != B or words == "--user bob"
    ]  # else it has ended with alice's here
    done = installed.run("popips-db", "end", *words.split())
    said = [f"{name}: no grant of this host's: the login was on {OTHER}; end it there, or: " for name in left]
    said = [f"popips-db: {line}popips-db deny {name}" for line, name in zip(said, left)]
    assert (done.returncode, complaints(done)) == (1, said or ["popips-db: nobody: no grant"])


@pytest.mark.parametrize("words", ["--user bob", "--network 192.0.2.10/31"])
def test_del_names_them_as_well(installed: Installed, others: From, words: str) -> None:
    others.tell(A)
    for how in ("to be taken up", "taken up", "ended"):
        done = installed.run("popips-db", "del", *words.split())
        if how == "to be taken up":
            told = f"{A}: no grant of this host's: the login was on {OTHER}; end it there, or: popips-db deny {A}"
            assert (done.returncode, complaints(done)) == (1, [f"popips-db: {told}"])
            installed.run("popips-expire")
        else:
            assert done.returncode == (how == "ended")
            assert complaints(done) == [f"popips-db: {words.split()[1]}: no grant"] * (how == "ended")


def test_a_login_elsewhere_that_a_denial_ends_is_named_and_stays_ended(installed: Installed, without_map: From) -> None:
    installed.pam(A)
    for name in (A, B, V6):
        without_map.tell(name)
    done = installed.run("popips-db", "deny", "192.0.2.0/28")
    assert (done.returncode, complaints(done)) == (0, [])
    assert done.stdout.splitlines()[1:] == [f"ended: {A}, {B}"]
    assert installed.run("popips-db", "deny", "192.0.2.0/24").stdout.count("ended: ") == 0
    for text in ("192.0.2.0/28", "192.0.2.0/24"):
        assert installed.run("popips-db", "undeny", text).returncode == 0
    assert [installed.run("popips-db", "why", name).returncode for name in (A, B, V6)] == [1, 1, 0]


def test_what_is_ended_here_is_not_open_by_an_earlier_login_elsewhere(installed: Installed, without_map: From) -> None:
    """Whether or not popips-share runs, which does not in this test."""
    without_map.tell(A, age=60)
    installed.pam(A)
    assert installed.run("popips-db", "end", A).returncode == 0
    assert installed.run("popips-db", "why", A).returncode == 1


WHYS = {  # how long ago the last login here was, and what was told; the status, and what why says
    "a login there": (None, (60.0, True), 0, f"{A}: granted: user=bob service=imap by=@{OTHER} last="),
    "a later one there": (100, (60.0, True), 0, f"{A}: granted: user=bob service=imap by=@{OTHER} last="),
    "a later one here": (10, (60.0, True), 0, f"{A}: granted: user=alice service=pop3 by=popips-hook last="),
    "ended there": (100, (60.0, False), 1, f"{A}: not granted: ended on {OTHER} at "),
    "ended there before": (10, (60.0, False), 0, f"{A}: granted: user=alice service=pop3 by=popips-hook last="),
    "due there": (2000, (1000.0, True), 1, f"{A}: not granted: due: the last login is longer ago than the window; "),
    "nothing but an end": (None, (60.0, False), 1, f"{A}: not granted: no grant in the last 15m00s"),
}


@pytest.mark.parametrize("which", WHYS)
def test_why_tells_whose_login_counts(installed: Installed, without_map: From, which: str) -> None:
    here, there, code, said = WHYS[which]
    if here is not None:
        installed.pam(A)
        installed.age(A, here / 60)
    without_map.tell(A, *there)
    done = installed.run("popips-db", "why", A)
    assert (done.returncode, done.stdout[: len(said)]) == (code, said)
    document = of("why", installed.run("popips-db", "why", "--json", A).stdout)
    assert document["open"] == (code == 0)


def test_whom_another_host_denies_is_told_with_its_name(installed: Installed, without_map: From) -> None:
    without_map.tell(A)
    without_map.deny(A)
    installed.run("popips-expire")
    said = installed.run("popips-db", "why", A).stdout
    assert f"not granted: {A} is denied by root@{OTHER}: popips-db undeny {A} on {OTHER}; " in said


def test_an_end_is_no_reason_where_a_denial_is_and_both_come_from_the_host_that_denies(
    installed: Installed, without_map: From
) -> None:
    installed.pam(A)
    installed.age(A, minutes=5)
    without_map.deny("192.0.2.0/28")
    without_map.tell(A, age=60, is_live=False)  # by which the grants there have ended
    (installed.site.stamps / ".denied-elsewhere").write_bytes((without_map.path / ".denied").read_bytes())
    said = installed.run("popips-db", "why", A).stdout
    assert f"not granted: 192.0.2.0/28 is denied by root@{OTHER}: popips-db undeny 192.0.2.0/28 on {OTHER}" in said


def test_deny_lists_whom_other_hosts_keep_out_and_undeny_says_where_that_is_lifted(
    installed: Installed, others: From
) -> None:
    installed.run("popips-db", "deny", B)
    others.deny(A)
    installed.run("popips-expire")
    shown = [line.split("\t") for line in installed.run("popips-db", "deny").stdout.splitlines()]
    assert [(row[0], row[1], row[3]) for row in shown] == [(B, "ever", "-"), (A, "ever", OTHER)]
    listed = of("denials", installed.run("popips-db", "deny", "--json").stdout)["denials"]
    assert [(one["network"], one["host"]) for one in listed] == [(B, None), (A, OTHER)]
    assert listed[1]["by"] == f"root@{OTHER}"
    done = installed.run("popips-db", "undeny", A)
    said = f"popips-db: {A}: denied on {OTHER}: lift it there: popips-db undeny {A}\n"
    assert (done.returncode, done.stderr) == (1, said)
    assert installed.run("popips-db", "undeny", B).returncode == 0
    installed.site.configure()
    assert installed.run("popips-db", "deny").stdout == ""
    installed.run("popips-db", "deny", C)
    assert len(installed.run("popips-db", "deny").stdout.split("\t")) == 3


def test_where_what_others_told_cannot_be_believed_lst_and_why_say_so(installed: Installed, without_map: From) -> None:
    installed.pam(B)
    without_map.tell(A)
    without_map.path.chmod(0o777)
    for words in (("lst", "--grants"), ("why", A)):
        done = installed.run("popips-db", *words)
        assert f"{without_map.path}: others may write to it: chmod go-w {without_map.path}" in done.stderr
        assert "bob" not in done.stdout


# ---- status

LINES: dict[str, tuple[dict[str, object], str]] = {
    "well": ({}, f"connected to {SHARE} as {MINE} for 3m20s; {OTHER} live 12, heard 0m05s ago, lag 0.01 s"),
    "alone": ({"hosts": {}}, f"connected to {SHARE} as {MINE} for 3m20s; no other host heard"),
    "not heard": (
        {"known": ["mx3", OTHER, "\x1b[2J"]},
        f"connected to {SHARE} as {MINE} for 3m20s; {OTHER} live 12, heard 0m05s ago, lag 0.01 s; mx3 not heard yet",
    ),
    "cut off": (
        {"connected": False, "error": "Connection refused"},
        f"NOT connected to {SHARE} as {MINE} for 3m20s; error: Connection refused; {OTHER} live 12,",
    ),
    "dead": ({"written": 0}, "popips-share does not run: silent for "),
    "many": (
        {"hosts": {f"mx{n}": {"heard": 0, "lag": 0, "live": 0} for n in range(8)}},
        f"connected to {SHARE} as {MINE} for 3m20s; mx0 live 0,",
    ),
}


def fleet_line(site: Site) -> str:
    with site.host as host:
        shown = list(status.lines(state.state(host, [])))
    return next((line[10:] for line in shown if line.startswith("fleet ")), "")


@pytest.mark.parametrize("which", LINES)
def test_status_has_a_line_for_the_fleet(site: Site, which: str) -> None:
    more, line = LINES[which]
    others = From(site, site.folder, site.now)
    (others.path / ".fleet").write_text(json.dumps(told(site.now, **more)))
    assert fleet_line(site).startswith(line)
    assert fleet_line(site).endswith("3 more hosts") == (which == "many")
    site.configure()
    assert fleet_line(site) == ""


def test_what_is_wrong_with_what_others_told_stands_in_the_line_of_the_fleet(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    others = From(site, site.folder, site.now)
    (others.path / ".fleet").write_text(json.dumps(told(site.now)))
    (others.path / ".denied").unlink()
    assert f"; no login on another host counts here: {others.path}/.denied: not there: " in fleet_line(site)
    others.path.rename(others.path.with_name("away"))
    assert fleet_line(site).count(str(others.path)) == 1
    assert capsys.readouterr().err == ""


ODD = {
    "none": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "another schema": b'{"schema": 2, "hosts": {}}',
    "no hosts": b'{"schema": 1}',
    "no numbers": json.dumps(told(0, hosts={"x": {"heard": "x", "lag": 0, "live": 0}})).encode(),
    "not finite": json.dumps(told(0, written=float("inf"))).encode(),
    "deep": b"[" * 100000,
    "no text": b"\xff\xfe",
}


@pytest.mark.parametrize("which", ODD)
def test_whatever_is_in_the_file_is_no_more_than_a_fleet_that_is_not_there(site: Site, which: str) -> None:
    others = From(site, site.folder, site.now)
    (others.path / ".fleet").write_bytes(ODD[which])
    found = fleet.seen(site.settings)
    assert (found.connected, found.since, found.hosts) == (False, None, [])
    assert found.error.startswith(f"{others.path}/.fleet: ")
    assert fleet_line(site).startswith("popips-share does not run: ")


def test_a_long_text_of_the_server_is_cut(site: Site) -> None:
    others = From(site, site.folder, site.now)
    (others.path / ".fleet").write_text(json.dumps(told(site.now, hosts={}, error="x" * 500)))
    assert f"error: {'x' * 97}...; " in fleet_line(site)


def test_names_that_could_steer_a_terminal_are_shown_harmless(site: Site) -> None:
    others = From(site, site.folder, site.now)
    hosts = {"\x1b[2J": {"heard": site.now, "lag": 0, "live": 0}}
    (others.path / ".fleet").write_text(json.dumps(told(site.now, hosts=hosts, error="\x1b]0;x\a")))
    assert "\x1b" not in fleet_line(site)
    assert fleet.seen(site.settings).hosts == []


def test_status_is_json_with_the_fleet_and_null_without(installed: Installed, others: From) -> None:
    Path(others.path / ".fleet").write_text(json.dumps(told(time.time())))
    document = of("status", installed.run("popips-db", "status", "--json").stdout)["fleet"]
    assert (document["name"], document["connected"], document["error"]) == (MINE, True, "")
    assert [(host["name"], host["live"]) for host in document["hosts"]] == [(OTHER, 12)]
    others.path.rename(others.path.with_name("away"))
    document = of("status", installed.run("popips-db", "status", "--json").stdout)["fleet"]
    assert (document["connected"], document["since"]) == (False, None)
    assert "popips-share makes it" in document["error"]
    installed.site.configure()
    assert of("status", installed.run("popips-db", "status", "--json").stdout)["fleet"] is None
