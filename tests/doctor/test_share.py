"""popips-db doctor where hosts share their logins: popips-share, whom it hears, and the folder that it writes to."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from popips.configuration import load
from popips.doctor import share
from popips.doctor.check import FAIL, OK, SKIP, WARN, Check, Patient
from popips.doctor.verdict import APART, OPEN
from popips.doctor.verdict import verdict as told
from popips.probe.machine import Answer, Machine
from tests.conftest import NOW, Site
from tests.doctor.hosts import WITH_SENDMAIL, Host
from tests.elsewhere import OTHER, SHARE, From

V4 = "192.0.2.10"


@pytest.fixture
def others() -> Iterator[From]:
    """What is told, in a folder in memory, as /run is."""
    with tempfile.TemporaryDirectory(prefix="popips-", dir="/dev/shm") as folder:
        os.chmod(folder, 0o755)
        made = From(Site(Path(folder)), Path(folder), NOW)
        made.configure(share_password_file="/etc/popips.password")
        write(made)
        yield made


def write(others: From, **more: object) -> None:
    """Write .fleet as popips-share does."""
    hosts = {OTHER: {"heard": NOW - 5, "lag": 0.01, "live": 12}}
    its = {"schema": 1, "name": "mx1", "engine": SHARE, "connected": True, "since": NOW - 600, "error": ""}
    (others.path / ".fleet").write_text(json.dumps({**its, "written": NOW - 1, "hosts": hosts, **more}))


def checks(others: From) -> dict[str, Check]:
    conf = str(others.path.parent / "popips.conf")
    return {one.id: one for one in share.look(Patient(Machine(), conf, load(conf), NOW))}


def test_all_is_well(others: From) -> None:
    found = checks(others)
    assert {id: one.status for id, one in found.items()} == {
        "share.engine": OK,
        "share.hosts": OK,
        "share.folder": OK,
    }
    assert found["share.hosts"].found == f"{OTHER} 5 s ago"
    assert found["share.engine"].found == f"{SHARE}, connected as mx1"


@pytest.mark.parametrize("by", ["nobody", "denied", "ended"])
def test_an_address_that_another_host_has_closed_is_no_sample_of_what_popips_mapd_opens(others: From, by: str) -> None:
    there = others.place
    assert isinstance(there, Site)
    others.configure(map="mapd")
    (there.stamps / V4).touch(0o700)
    os.utime(there.stamps / V4, (NOW - 60, NOW - 60))
    if by == "denied":
        others.deny("192.0.2.0/24")
    if by == "ended":
        others.tell(V4, age=30, is_live=False)
    patient = Patient(Machine(), str(there.conf), load(str(there.conf)), NOW)
    assert patient.live == ([V4] if by == "nobody" else [])


def test_without_share_and_on_a_host_of_files_there_is_nothing_to_look_at(others: From, tmp_path: Path) -> None:
    others.place.configure()
    assert {one.status for one in checks(others).values()} == {SKIP}
    for conf in ("", f"share = {SHARE}\n"):
        there = Host(tmp_path / str(len(conf)), {**WITH_SENDMAIL, "/etc/popips.conf": conf}).checks()
        assert {there[f"share.{id}"].status for id in share.IDS} == {SKIP}


def silent(others: From) -> None:
    write(others, written=NOW - 600)


def never(others: From) -> None:
    (others.path / ".fleet").unlink()


def cut_off(others: From) -> None:
    write(others, connected=False, error="Connection refused")


def in_trouble(others: From) -> None:
    write(others, error="OOM command not allowed")


def alone(others: From) -> None:
    write(others, hosts={})


def test_a_host_that_has_not_logged_anybody_in_since_is_there_all_the_same(others: From) -> None:
    write(others, hosts={}, known=[OTHER])
    assert checks(others)["share.hosts"].status == OK


def slow(others: From) -> None:
    write(others, hosts={OTHER: {"heard": NOW, "lag": 99, "live": 1}})


def namesake(others: From) -> None:
    write(others, hosts={"mx1": {"heard": NOW - 60, "lag": 0.01, "live": 1}}, id="-Aa_")


def writable(others: From) -> None:
    others.path.chmod(0o775)


def replaceable(others: From) -> None:
    others.path.parent.chmod(0o777)


def shared(others: From) -> None:
    others.path.chmod(0o1777)


def gone(others: From) -> None:
    others.path.rename(others.path.with_name("away"))


def garbled(others: From) -> None:
    (others.path / ".denied").write_text("nonsense\n")


def unasked(others: From) -> None:
    (others.path / ".denied").unlink()


def without_password(others: From) -> None:
    others.configure()


def long_namesake(others: From) -> None:
    name = "m" * 99
    write(others, name=name, hosts={name: {"heard": NOW - 60, "lag": 0.1, "live": 1}})


def just_silent(others: From) -> None:
    write(others, written=NOW - 31)


START = ("popips-share",)  # of the command that starts it, which depends on what runs the host
CASES: list[tuple[Callable[[From], None], str, str, tuple[str, ...], tuple[str, ...]]] = [
    (silent, "engine", WARN, ("popips-share says nothing for 10 minutes",), START),
    (without_password, "engine", WARN, ("asks this host for no password", "popips-share(8)"), ()),
    (just_silent, "engine", WARN, ("popips-share says nothing for 31 seconds",), START),
    (never, "engine", WARN, ("popips-share has never said anything", ".fleet: "), START),
    (
        cut_off,
        "engine",
        WARN,
        (f"no connection to {SHARE} for 10 minutes", "Connection refused; grep -n", "; jour"),
        (),
    ),
    (in_trouble, "engine", WARN, (f"trouble with {SHARE}", "OOM command", "journalctl -t popips-share"), ()),
    (alone, "hosts", WARN, ("no other host has been heard in popips:log", "grep -n '^[[:blank:]]*share' "), ()),
    (slow, "hosts", WARN, (f"{OTHER}: its last login took 99 s", f"ssh {OTHER} popips-db doctor"), ()),
    (
        namesake,
        "hosts",
        FAIL,
        ("another host calls itself mx1, too", "heard 60 seconds ago"),
        ("share_name = mx1--Aa_", *START),
    ),
    (long_namesake, "hosts", FAIL, ("another host calls itself mmm",), (f"share_name = {'m' * 98}-2",)),
    (writable, "folder", FAIL, ("{from}: others may write to it",), ("chmod go-w {from}",)),
    (replaceable, "folder", FAIL, ("{from}: others may put another in its place",), ("/run/popips/from", *START)),
    (shared, "folder", FAIL, ("{from}: others may write to it",), ("/run/popips/from", *START)),
    (gone, "engine", WARN, ("{from}: there is no such folder",), START),
    (unasked, "folder", WARN, ("{from}/.denied: not there: popips-share writes it",), START),
    (garbled, "folder", WARN, ("{from}/.denied:1: ",), ("rm {from}/.denied && ", *START)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0].__name__)
def test_what_is_wrong_is_named_with_its_cure(
    others: From, case: tuple[Callable[[From], None], str, str, tuple[str, ...], tuple[str, ...]]
) -> None:
    harm, id, status, found, fixes = case
    harm(others)
    check = checks(others)[f"share.{id}"]
    names = {"from": str(others.path), "top": str(others.path.parent)}
    assert check.status == status, check
    for text in found:
        assert text.format(**names) in f"{check.found}; {check.evidence}", check
    for text in fixes:
        assert text.format(**names) in check.fix, check
    assert bool(check.fix) == bool(fixes), "what only shows something mends nothing"


class Bare(Machine):
    """A host without the library that popips-share needs."""

    def ask(self, *command: str, typed: str = "", patience: float = 1) -> Answer:
        return Answer(1, "", "ModuleNotFoundError: No module named 'redis'")


def test_the_missing_library_of_a_popips_share_that_does_not_run_is_named(others: From) -> None:
    conf = str(others.path.parent / "popips.conf")
    for is_named in (False, True):
        if is_named:
            silent(others)
        engine = next(share.look(Patient(Bare(), conf, load(conf), NOW)))
        assert ("python3-redis is missing: popips-share says nothing" in engine.found) == is_named
        assert engine.fix.startswith("apt-get install -y python3-redis && ") == is_named


@pytest.mark.parametrize("harm", [silent, cut_off])
def test_a_folder_that_nobody_fills_without_the_server_is_not_to_be_mended_by_itself(
    others: From, harm: Callable[[From], None]
) -> None:
    unasked(others)
    harm(others)
    found = checks(others)["share.folder"]
    assert (found.status, found.found, found.fix) == (SKIP, "see share.engine", "")
    writable(others)
    assert checks(others)["share.folder"].status == FAIL


@pytest.mark.parametrize(
    ("harm", "verdict"), [(silent, APART), (cut_off, APART), (gone, APART), (slow, OPEN), (without_password, OPEN)]
)
def test_the_verdict_says_whether_logins_on_other_hosts_count(
    others: From, harm: Callable[[From], None], verdict: str
) -> None:
    harm(others)
    assert told(checks(others).values()) == verdict


def test_the_cure_of_a_folder_that_others_may_write_to_is_a_cure(others: From) -> None:
    writable(others)
    assert os.system(checks(others)["share.folder"].fix) == 0
    assert checks(others)["share.folder"].status == OK


@pytest.mark.parametrize("harm", [replaceable, shared])
def test_what_is_shared_with_others_is_left_as_it_is(others: From, harm: Callable[[From], None]) -> None:
    harm(others)
    fix = checks(others)["share.folder"].fix
    assert "chmod" not in fix and "chown" not in fix
    assert os.system(fix.partition(" && ")[0]) == 0
    assert load(str(others.path.parent / "popips.conf")).share_from == "/run/popips/from"


@pytest.mark.parametrize("name", ["$(reboot)", "a;b", "-oProxyCommand", ".a", "", "a b", "x" * 101])
def test_a_name_that_no_host_can_have_comes_into_no_command(others: From, name: str) -> None:
    its = {"heard": NOW, "lag": 99, "live": 1}
    write(others, hosts={OTHER: its, name: its})
    found = checks(others)
    assert found["share.hosts"].evidence == f"ssh {OTHER} popips-db doctor --only share,clock tells more"
    assert (found["share.engine"].status, found["share.engine"].evidence) == (
        WARN,
        "left out 1 by a name that no host can have; journalctl -t popips-share -n 20 tells more",
    )


def test_a_folder_on_a_disk_is_named(tmp_path: Path) -> None:
    others = From(Site(tmp_path), tmp_path, NOW)
    write(others)
    check = checks(others)["share.folder"]
    kind = {line.split()[1]: line.split()[2] for line in Path("/proc/self/mounts").read_text().splitlines()}
    assert check.status == (OK if kind.get("/tmp") == "tmpfs" else WARN), check
    assert check.status == OK or "share_from = /run/popips/from" in check.fix


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]", "popips@127.0.0.1"])
def test_a_server_of_this_host_alone_needs_no_password(others: From, name: str) -> None:
    others.place.configure(share=f"redis://{name}:6379", share_from=str(others.path))
    assert checks(others)["share.engine"].status == OK
