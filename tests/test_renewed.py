"""The fast lane, in Python: it renews what is settled, and leaves all else to the long way."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from popips import lane
from popips.login import PUSHED, Login
from tests.conftest import Site

A, B = "192.0.2.10", "192.0.2.11"
ALICE = Login("alice", "pop3", "test")


@pytest.fixture(autouse=True)
def settled(site: Site) -> None:
    """A grant that a run has seen, a minute ago."""
    site.login(A)
    site.expire()
    site.now += 60


def renewed(site: Site, address: str = A, login: Login = ALICE) -> bool:
    with site.host as host:
        return lane.renewed(host, address, login)


def test_it_sets_the_time_of_the_stamp_and_who_logged_in_last(site: Site) -> None:
    before = site.db.read_bytes()
    assert renewed(site, login=Login("bob dobs", "imap", "popips-postlogin"))
    assert (site.stamps / A).read_text() == "bob%20dobs imap popips-postlogin\n"
    assert (site.stamps / A).stat().st_mtime == site.now
    assert site.db.read_bytes() == before


def test_it_does_not_look_at_the_map(site: Site) -> None:
    """What a rebuild has lost comes back with the next run, as it does for all who do not log in meanwhile."""
    site.build("")
    assert renewed(site)
    site.db.unlink()
    assert renewed(site)
    site.build("")
    assert site.expire() == {"put": [A]}


@pytest.mark.parametrize("line", [f"{A} REJECT", f"Connect:{A} REJECT", "192.0.2 REJECT", f"{A} RELAY"])
def test_what_the_admin_writes_ends_the_grant_of_one_who_keeps_polling_at_the_next_run(site: Site, line: str) -> None:
    """He need not have built it."""
    site.access.write_text(f"{line}\n")
    assert renewed(site)  # the lane does not look at the text either
    assert site.expire() == {"yield": [A]}
    assert not renewed(site)
    assert site.login(A) == "static"
    assert (site.names(), site.records().get(A)) == (set(), "RELAY" if line.endswith("RELAY") else None)


def no_stamp(site: Site) -> None:
    (site.stamps / A).unlink()


def unsettled(site: Site) -> None:
    (site.stamps / A).chmod(0o600)


def due(site: Site) -> None:
    site.pass_window()
    (site.stamps / ".expire").touch()
    os.utime(site.stamps / ".expire", (site.now, site.now))


def in_the_future(site: Site) -> None:
    os.utime(site.stamps / A, (site.now + 1, site.now + 1))


def a_link(site: Site) -> None:
    (site.stamps / A).rename(site.folder / "stamp")
    (site.stamps / A).symlink_to(site.folder / "stamp")


def a_folder(site: Site) -> None:
    (site.stamps / A).unlink()
    (site.stamps / A).mkdir(0o700)


def no_run(site: Site) -> None:
    (site.stamps / ".expire").unlink()


def an_old_run(site: Site) -> None:
    os.utime(site.stamps / ".expire", (site.now - 301, site.now - 301))


def a_run_in_the_future(site: Site) -> None:
    os.utime(site.stamps / ".expire", (site.now + 1, site.now + 1))


def no_lane(site: Site) -> None:
    (site.stamps / ".lane").unlink()


def another_lane(site: Site) -> None:
    (site.stamps / ".lane").write_text((site.stamps / ".lane").read_text().replace("popips.conf", "other.conf"))


def settings_changed(site: Site) -> None:
    site.configure(window="30m")


def settings_put_back(site: Site) -> None:
    """The same size, the old mtime."""
    then = site.conf.stat()
    site.conf.write_text(site.conf.read_text())
    os.utime(site.conf, ns=(then.st_atime_ns, then.st_mtime_ns))


CLOSED = [
    no_stamp,
    unsettled,
    due,
    in_the_future,
    a_link,
    a_folder,
    no_run,
    an_old_run,
    a_run_in_the_future,
    no_lane,
    another_lane,
    settings_changed,
    settings_put_back,
]


@pytest.mark.parametrize("spoil", CLOSED)
def test_it_is_closed(site: Site, spoil: Callable[[Site], None]) -> None:
    spoil(site)
    before = [(path.name, path.lstat().st_mtime_ns) for path in sorted(site.stamps.iterdir())]
    assert not renewed(site)
    assert [(path.name, path.lstat().st_mtime_ns) for path in sorted(site.stamps.iterdir())] == before


def test_it_is_closed_for_an_address_without_a_grant(site: Site) -> None:
    assert not renewed(site, B)
    assert site.names() == {A}


@pytest.mark.parametrize(
    ("settings", "is_open"),
    [
        ({"max_per_network": "1"}, True),
        ({"max_per_user": "1"}, True),
        ({"log_renewals": "yes"}, False),
        ({"only_services": "pop3 imap"}, True),
    ],
    ids=str,
)
def test_which_settings_close_it_for_sh(site: Site, settings: dict[str, str], is_open: bool) -> None:
    """In Python each question is asked before; sh asks none, and reads the first line."""
    site.configure(**settings)
    site.expire()
    assert ((site.stamps / ".lane").read_text().splitlines()[0] != "") == is_open


def test_one_whose_grant_is_being_ended_is_told_no_though_the_time_is_set(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever ends it unsettles the stamp first, and looks at its time after that."""
    with site.host as host:
        state = host.folder.state
        looks: list[str] = []

        def unsettled_meanwhile(name: str) -> os.stat_result | None:
            looks.append(name)
            if looks.count(A) == 2:  # the second look, after the write
                (site.stamps / A).chmod(0o600)
            return state(name)

        monkeypatch.setattr(host.folder, "state", unsettled_meanwhile)
        assert not lane.renewed(host, A, ALICE)
    assert (site.stamps / A).stat().st_mtime == site.now


def test_one_whose_stamp_is_another_file_by_then_is_told_no(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with site.host as host:
        write = host.folder._write

        def replaced(*words: object) -> int:
            inode = write(*words)  # type: ignore[arg-type]
            (site.stamps / A).rename(site.folder / "stamp")
            (site.stamps / A).touch(0o700)
            return inode

        monkeypatch.setattr(host.folder, "_write", replaced)
        assert not lane.renewed(host, A, ALICE)


def test_a_push_of_anothers_address_renews_his_grant_and_leaves_it_his(site: Site) -> None:
    assert renewed(site, login=Login("mallory", PUSHED, "popips-expire"))
    assert (site.stamps / A).read_text() == "alice pop3 test\n"
    assert (site.stamps / A).stat().st_mtime == site.now


def test_with_max_per_user_it_is_for_the_user_of_the_grant_only(site: Site) -> None:
    site.configure(max_per_user="2")
    site.expire()
    assert not renewed(site, login=Login("bob", "pop3", "test"))
    assert renewed(site)
    (site.stamps / A).write_text("nonsense")
    assert not renewed(site)
