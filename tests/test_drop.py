"""The drop folder: a user's latest whole file is a login from the address in it; nobody can speak for another."""

from __future__ import annotations

import fcntl
import os
import pwd
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expirer import drop
from popips import address
from tests.conftest import NOW, Site

A, B, V6 = "192.0.2.10", "192.0.2.11", "2001:db8::10"
ALICE, BOB = "daemon", "bin"  # users that every host has
PROGRAM = "popips-expire"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.configure(drop=f"{tmp_path}/drop")
    (tmp_path / "drop").mkdir(mode=0o711)
    return made


def uid(user: str) -> int:
    return pwd.getpwnam(user).pw_uid


def put(site: Site, text: str, user: str = ALICE, name: str = "here", age: float = 0) -> Path:
    """Drop a file with a line as the user does, so many seconds ago."""
    folder = site.folder / "drop" / user
    if not folder.exists():
        folder.mkdir(mode=0o700)
        os.chown(folder, uid(user), -1)
    path = folder / name
    path.write_text(f"{text}\n")
    os.chown(path, uid(user), -1)
    os.utime(path, (site.now - age, site.now - age))
    return path


def take_up(site: Site) -> list[str]:
    """What became of each file: the verdict, or what is wrong."""
    told: list[str] = []
    with site.host as host:
        for error in drop.take_up(host, PROGRAM, lambda login, outcome: told.append(outcome.verdict)):
            told.append(f"error: {error}")
    return told


@pytest.mark.parametrize(("text", "name"), [(A, A), (f" {A} ", A), ("2001:DB8:0::10", V6), ("::ffff:192.0.2.10", A)])
def test_an_address_that_is_dropped_is_granted(site: Site, text: str, name: str) -> None:
    path = put(site, text)
    assert take_up(site) == ["granted"]
    assert site.names() == {name}
    assert (site.stamps / name).read_text() == f"{ALICE} drop {PROGRAM}\n"
    assert not path.exists()


@pytest.mark.parametrize(
    "text", ["", "mail.example.test", "127.0.0.1", f"{A} {B}", f"{A}\n{B}", "192.0.2.10:25", "\x00"]
)
def test_what_is_no_address_or_never_one_is_refused_and_removed(site: Site, text: str) -> None:
    path = put(site, text)
    assert take_up(site) == ["refused"]
    assert (site.names(), path.exists()) == (set(), False)


def test_the_latest_file_counts_and_all_go(site: Site) -> None:
    put(site, A, name="one", age=60)
    put(site, B, name="two", age=1)
    put(site, "nonsense", name="three", age=2)
    assert take_up(site) == ["granted"]
    assert (site.names(), list((site.folder / "drop" / ALICE).iterdir())) == ({B}, [])


def test_a_user_has_one_address_at_a_time_by_this_way(site: Site) -> None:
    site.login(V6, ALICE)
    put(site, A)
    put(site, "192.0.2.12", user=BOB)
    take_up(site)
    put(site, B)
    assert take_up(site) == ["granted"]
    assert site.names() == {B, "192.0.2.12", V6}  # of her own login by another way, and of others, nothing goes
    assert site.records().keys() == {B, "192.0.2.12", "ipv6:2001:db8:0:0:0:0:0:10"}


def test_to_push_anothers_address_does_not_make_his_grant_ones_own(site: Site) -> None:
    site.login(A, BOB)
    for text in (A, B):
        put(site, text)
        take_up(site)
    assert site.names() == {A, B}


def test_what_was_dropped_longer_ago_than_the_window_grants_nothing(site: Site) -> None:
    path = put(site, A, age=site.settings.window)
    assert take_up(site) == ["refused"]
    assert (site.names(), path.exists()) == (set(), False)


def test_a_file_that_is_on_its_way_is_left(site: Site) -> None:
    hidden = put(site, A, name=".part")
    path = put(site, "192.0.2.1")
    with path.open("r+") as writing:
        assert take_up(site) == []
        writing.write(A)
    os.utime(path, (site.now, site.now))
    assert take_up(site) == []  # the upload was cut off before the newline
    with path.open("a") as writing:
        writing.write("\n")
    assert hidden.exists() and path.exists()
    os.utime(path, (site.now, site.now))
    assert take_up(site) == ["granted"]
    assert site.names() == {A}


@pytest.mark.parametrize("text", [A, "", "x" * 5000])
def test_what_never_becomes_whole_goes_after_the_window(site: Site, text: str) -> None:
    path = put(site, "")
    path.write_text(text)
    os.utime(path, (site.now, site.now))
    assert take_up(site) == []
    site.pass_window()
    assert take_up(site) == ["refused"]
    assert (site.names(), path.exists()) == (set(), False)


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


def link_to_his_own(path: Path) -> None:
    other = path.parent.parent.parent / "other"
    path.rename(other)
    path.symlink_to(other)


def second_name(path: Path) -> None:
    os.link(path, path.parent.parent.parent / "other")


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("odd", [link, link_to_his_own, second_name, fifo, lambda path: os.chown(path, uid(BOB), -1)])
def test_what_is_not_a_plain_file_of_the_user_is_removed_unread_and_named(site: Site, odd: object) -> None:
    path = put(site, A)
    assert callable(odd)
    odd(path)
    (told,) = take_up(site)
    assert told.endswith(f"/{ALICE}: {path.name}: removed, for it was not a plain file of the user's own")
    assert (site.names(), os.path.lexists(path)) == (set(), False)


def test_of_many_odd_files_one_line_tells(site: Site) -> None:
    for name in ("one", "two", "three"):
        link(put(site, A, name=name))
    (told,) = take_up(site)
    assert told.endswith(" own, and 2 more")


def test_a_folder_within_is_left(site: Site) -> None:
    put(site, A)
    (site.folder / "drop" / ALICE / "folder").mkdir()
    assert take_up(site) == ["granted"]
    assert take_up(site) == []


@pytest.mark.parametrize(
    ("owner", "mode", "name"), [(ALICE, 0o730, ALICE), (BOB, 0o700, ALICE), (ALICE, 0o700, "no such user")]
)
def test_a_folder_that_is_not_its_users_alone_is_named_and_not_read(
    site: Site, owner: str, mode: int, name: str
) -> None:
    folder = site.folder / "drop" / name
    folder.mkdir()
    (folder / "here").write_text(f"{A}\n")
    os.chown(folder / "here", uid(ALICE), -1)
    os.chown(folder, uid(owner), -1)
    folder.chmod(mode)
    (told,) = take_up(site)
    assert told.startswith(f"error: {folder}: ")
    assert site.names() == set()


@pytest.mark.parametrize("broken", ["rmdir", "chmod"])
def test_a_drop_folder_that_is_not_roots_alone_is_named(site: Site, broken: str) -> None:
    top = site.folder / "drop"
    top.rmdir() if broken == "rmdir" else top.chmod(0o777)
    (told,) = take_up(site)
    assert told.startswith(f"error: {top}: ") and "install -d -m 0711" in told


def test_a_link_in_place_of_a_users_folder_is_not_followed(site: Site) -> None:
    path = put(site, A)
    path.parent.rename(site.folder / "elsewhere")
    path.parent.symlink_to(site.folder / "elsewhere")
    (told,) = take_up(site)
    assert told.startswith(f"error: {path.parent}: ")
    assert site.names() == set()


def test_nobody_keeps_the_expirer_busy_with_a_folder_full_of_files(site: Site) -> None:
    for number in range(drop.MOST + 1):
        put(site, A, name=str(number))
    assert take_up(site) == ["granted"]
    assert len(list((site.folder / "drop" / ALICE).iterdir())) == 1


def test_while_the_map_is_locked_the_others_wait_for_the_next_run(site: Site) -> None:
    site.configure(drop=f"{site.folder}/drop", lock_timeout="0.01s")
    put(site, A)
    other = put(site, B, user="sys")
    with site.db.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert take_up(site) == ["deferred"]
    assert other.exists()
    assert take_up(site) == ["granted", "granted"]
    assert site.names() == {A, B}


def test_a_drop_that_waited_ends_the_grant_of_the_one_before(site: Site) -> None:
    put(site, A)
    assert take_up(site) == ["granted"]
    site.configure(drop=f"{site.folder}/drop", lock_timeout="0.01s")
    put(site, B)
    with site.db.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert take_up(site) == ["deferred"]
    assert site.names() == {A}  # nobody has looked at the new one yet
    site.expire()
    take_up(site)
    assert site.names() == {B}


def test_whatever_is_wrong_with_the_drop_folder_expiry_goes_on(site: Site, programs: Path) -> None:
    site.login(B)
    then = time.time() - 3600
    os.utime(site.stamps / B, (then, then))
    (site.folder / "drop").rmdir()
    subprocess.run([str(programs / "sbin/popips-expire"), "-c", str(site.conf)], check=True, stderr=subprocess.DEVNULL)
    assert (site.names(), site.records()) == (set(), {})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=120), st.ip_addresses().map(lambda one: str(one).encode())), st.binary(max_size=3))
def test_nothing_but_an_address_becomes_a_stamp(site: Site, text: bytes, more: bytes) -> None:
    put(site, "").write_bytes(text + more + b"\n")
    os.utime(site.folder / "drop" / ALICE / "here", (NOW, NOW))
    take_up(site)
    assert all(address.is_canonical(name) for name in site.names())


def test_an_expiry_takes_up_what_was_dropped_and_logs_it(site: Site, programs: Path) -> None:
    path = put(site, A)
    os.utime(path)
    put(site, "nonsense", user=BOB)
    os.utime(site.folder / "drop" / BOB / "here")
    command = [str(programs / "sbin/popips-expire"), "-c", str(site.conf), "-n"]
    subprocess.run(command, check=True)
    assert path.exists()  # a dry run changes nothing
    done = subprocess.run([*command[:-1], "-v"], check=True, capture_output=True, text=True)
    assert f"granted: address={A} user={ALICE} service=drop" in done.stdout
    assert "refused: address=nonsense user=bin service=drop" in done.stderr  # there is no log
    assert site.names() == {A}
