"""Messages name what is wrong, where, and the cure; and those that come of themselves come once."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.holds.room import STATIC, Room

A, HERE = "198.51.100.10", "127.0.0.1"
INFO = 2 << 3 | 6  # syslog.h: LOG_MAIL, LOG_INFO


def a_link_for_a_map(room: Room) -> None:
    room.db.rename(room.folder / "real.db")
    room.db.symlink_to(room.folder / "real.db")


def a_link_for_the_stamps(room: Room) -> None:
    room.stamps.rename(room.folder / "real")
    room.stamps.symlink_to(room.folder / "real")


def another_kind(kind: str) -> Callable[[Room], None]:
    def make(room: Room) -> None:
        (room.folder / f"x.{kind}").write_bytes(b"")
        room.configure(map=f"{kind}:{room.folder}/x")

    return make


def conf_for_all(room: Room) -> None:
    room.conf.chmod(0o666)


def conf_for_its_group(room: Room) -> None:
    room.conf.chmod(0o664)
    os.chown(room.conf, 0, 12345)


def conf_of_another(room: Room) -> None:
    os.chown(room.conf, 12345, 0)


def readable_map(room: Room) -> None:
    room.db.chmod(0o644)


# what is wrong; words that the message must hold; words that it must not hold; whether the run fails
WRONG: dict[str, tuple[Callable[[Room], None], list[str], list[str], bool]] = {
    "a symbolic link as map": (a_link_for_a_map, ["access.db", "symbolic link"], [], True),
    "a symbolic link as stamp folder": (a_link_for_the_stamps, ["stamps", "symbolic link"], ["install -d"], True),
    "lmdb under sendmail": (another_kind("lmdb"), ["lmdb", "sendmail", "hash"], ["set mta = postfix"], True),
    "cdb under sendmail": (another_kind("cdb"), ["cdb", "sendmail", "hash"], ["set mta = postfix"], True),
    "a popips.conf for all to write": (conf_for_all, ["popips.conf", "chmod"], [], True),
    "a popips.conf for a group to write": (conf_for_its_group, ["popips.conf", "chmod"], [], True),
    "a popips.conf of another": (conf_of_another, ["popips.conf", "chown root"], [], True),
    "a map that any user may read": (readable_map, ["access.db", "chmod"], [], False),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_run_names_what_is_wrong_and_the_cure(room: Room, wrong: str) -> None:
    make, words, not_words, fails = WRONG[wrong]
    room.login(A)
    make(room)
    done = room.run()
    assert [word for word in words if word not in done.said] == [], done.said
    assert [word for word in not_words if word in done.said] == []
    assert bool(done.status) == fails
    assert "Traceback" not in done.said


@pytest.mark.parametrize("wrong", [name for name, case in WRONG.items() if case[3]])
def test_a_login_passes_and_its_line_names_what_is_wrong_and_the_cure(room: Room, wrong: str) -> None:
    make, words, not_words, _ = WRONG[wrong]
    make(room)
    done = room.login(A)
    assert [word for word in words if word not in done.said] == [], done.said
    assert [word for word in not_words if word in done.said] == []


def test_a_map_that_any_user_may_read_is_told_once_an_hour_at_most(room: Room) -> None:
    readable_map(room)
    assert "access.db" in room.run().said
    assert "access.db" not in room.run().said


@pytest.mark.parametrize("variables", [{}, {"PAM_RHOST": ""}], ids=["unset", "empty"])
def test_a_login_without_an_address_is_told_with_its_cure(room: Room, variables: dict[str, str]) -> None:
    env = {"PAM_TYPE": "account", "PAM_USER": "alice", "PAM_SERVICE": "pop3"} | variables
    done = room.do(room.command("popips-hook"), env=env)
    assert done.status == 0
    line = next(line for line in done.log if "PAM_RHOST" in line)
    assert "user=alice" in line and "service=pop3" in line
    assert ";" in line or ":" in line.partition("PAM_RHOST")[2]  # what to do about it follows
    assert room.names() == set()


def test_a_text_from_the_future_is_told_once(room: Room) -> None:
    """Nothing waits in it to be built: its time alone is odd."""
    ahead = time.time() + 86400
    os.utime(room.access, (ahead, ahead))
    first = room.run().said
    assert str(room.access) in first and "future" in first
    for _ in range(3):
        room.let_pass(3700)
        assert "future" not in room.run().said


def test_an_edit_from_the_future_still_counts(room: Room) -> None:
    room.login(A)
    room.write(STATIC | {A: "REJECT"})
    os.utime(room.access, (time.time() + 86400, time.time() + 86400))
    room.run()
    assert room.granted() == {}


def test_missing_cap_fowner_is_named(room: Room) -> None:
    """As in a unit whose CapabilityBoundingSet is too small: a map of smmta's cannot be given its time."""
    os.chown(room.db, 12345, 12345)
    os.chown(room.folder, 12345, 0)  # sendmail takes a map of its folder's owner
    bounded = ["setpriv", "--bounding-set=-fowner", "--inh-caps=-fowner", "--ambient-caps=-all"]
    room.login(A)
    room.age()
    done = room.do([*bounded, *room.command("popips-expire")])
    assert "CAP_FOWNER" in done.said, done.said


@pytest.mark.parametrize("who", ["a run", "a login"])
def test_a_stamp_folder_mounted_noexec_is_named_with_its_cure(room: Room, who: str) -> None:
    """sh's test -x is false there for all files: each login would start Python, and nobody would know why."""
    room.login(A)
    subprocess.run(["mount", "--bind", str(room.stamps), str(room.stamps)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,noexec", str(room.stamps)], check=True)
    try:
        said = "".join(room.run().said for _ in range(2))
        if who == "a run":
            assert "noexec" in said and str(room.stamps) in said
            assert said.count("noexec") == 1
        else:  # it works all the same
            room.login(A)
            assert (room.granted(), room.names()) == ({A: "RELAY"}, {A})
    finally:
        subprocess.run(["umount", "-l", str(room.stamps)], check=True)


# ---- logins from `never`


def test_logins_from_never_are_told_as_information_once_an_hour(room: Room) -> None:
    """Webmail on this host logs in all day."""
    room.expire()
    first = room.login(HERE)
    assert [priority for priority, line in first.raw if HERE in line] == [INFO]
    assert HERE not in room.login(HERE).said
    assert HERE not in room.login(HERE, "bob").said
    assert "::1" in room.login("::1").said  # another address
    for path in room.stamps.rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - 3700, time.time() - 3700))
    room.expire()
    assert HERE in room.login(HERE).said
    assert room.names() == set()


def test_logins_from_never_start_no_python(room: Room) -> None:
    room.expire()
    room.login(HERE)
    room.expire()
    assert not room.starts_python(HERE)
    assert not room.starts_python(HERE, "bob")


@pytest.mark.parametrize("age", [0, 86400], ids=["edited", "put back with its old time"])
def test_an_address_that_is_never_no_more_is_granted(room: Room, age: float) -> None:
    room.configure(never="127.0.0.0/8 198.51.100.0/24")
    room.login(A)
    room.expire()
    room.login(A)
    assert room.names() == set()
    room.configure(never="127.0.0.0/8")
    os.utime(room.conf, (time.time() - age, time.time() - age))
    if age:
        room.expire()  # only a run can see it
    room.login(A)
    room.expire()
    assert room.granted() == {A: "RELAY"}


# ---- no message gives away a secret, or is garbled by what a client says


def test_no_message_holds_a_secret_of_the_environment(room: Room, tmp_path: Path) -> None:
    env = {"IP": "x y", "USER": "alice", "AUTH_TOKEN": "hush-token", "PASSWORD": "hush-word"}
    done = room.do(room.command("popips-postlogin", "/bin/true"), env=env)
    assert done.status == 0
    assert "hush" not in done.said
    room.conf.write_text("windw = 1\n")
    assert "hush" not in room.do(room.command("popips-postlogin", "/bin/true"), env=env | {"IP": A}).said


def test_a_line_of_the_log_is_one_line_whatever_the_user_is_called(room: Room) -> None:
    done = room.login(A, "al\nremoved: address=198.51.100.11\x1b[2J")
    assert all("\n" not in line and "\x1b" not in line for line in done.log)
    assert not [line for line in done.log if line.startswith("removed:")]
