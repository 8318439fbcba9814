"""The invariants: stamps are the truth, the admin's records are sacred, and the window ends each grant."""

from __future__ import annotations

import os

import pytest

from popips.fate import EXPIRE, PUT, YIELD
from popips.grant import DEFERRED, GRANTED, REFUSED, RENEWED, STATIC
from popips.maps import MapError
from tests.conftest import Site

A, B, SIX = "192.0.2.10", "192.0.2.11", "2001:db8::10"
SIX_KEY = "ipv6:2001:db8:0:0:0:0:0:10"

# ---- a grant


@pytest.mark.parametrize(
    ("address", "name", "key"),
    [(A, A, A), (SIX, SIX, SIX_KEY), ("2001:DB8:0::10", SIX, SIX_KEY), ("::ffff:192.0.2.10", A, A)],
)
def test_a_login_makes_stamp_and_record_and_the_end_of_the_window_takes_both(
    site: Site, address: str, name: str, key: str
) -> None:
    assert site.login(address) == GRANTED
    assert (site.names(), site.records()) == ({name}, {key: "RELAY"})
    assert (site.stamps / name).stat().st_mtime == site.now
    site.now += site.settings.window - 1
    assert site.expire() == {}
    site.now += 1
    assert site.expire() == {EXPIRE: [name]}
    assert (site.names(), site.records()) == (set(), {})


def test_a_second_login_renews_the_window(site: Site) -> None:
    site.login(A)
    site.now += 800
    assert site.login(A) == RENEWED
    site.now += 800
    assert site.expire() == {}
    assert site.records() == {A: "RELAY"}


def test_the_stamp_says_who_logged_in_last(site: Site) -> None:
    site.login(A, "alice", "pop3")
    site.login(A, "bob dobs\n", "imap")
    assert (site.stamps / A).read_text() == "bob%20dobs%0A imap test\n"


def test_value_and_key_come_from_the_configuration(site: Site) -> None:
    site.configure(value="OK", key="connect", compressed_ipv6="yes")
    site.login(SIX)
    assert site.records() == {"connect:ipv6:2001:db8::10": "OK"}


@pytest.mark.parametrize("before", [{}, {"value": "OK"}, {"key": "connect"}, {"compressed_ipv6": "yes"}], ids=str)
@pytest.mark.parametrize("after", [{}, {"value": "OK"}, {"key": "connect"}, {"compressed_ipv6": "yes"}], ids=str)
def test_a_changed_configuration_moves_all_grants(site: Site, before: dict[str, str], after: dict[str, str]) -> None:
    site.configure(**before)
    site.login(SIX)
    site.configure(**after)
    assert site.login(SIX) == (RENEWED if before == after else DEFERRED)
    site.expire()
    assert len(site.records()) == 1
    assert site.login(SIX) == RENEWED
    site.pass_window()
    assert site.expire() == {EXPIRE: [SIX]}
    assert (site.names(), site.records()) == (set(), {})


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "fe80::1", "169.254.0.9", "mx.example.test", "../x", ""])
def test_refused_addresses_leave_nothing(site: Site, address: str) -> None:
    before = sorted(site.folder.iterdir())
    assert site.login(address) == REFUSED
    assert (site.names(), site.records()) == (set(), {})
    assert sorted(site.folder.iterdir()) == before


def test_networks_of_never_get_no_grant(site: Site) -> None:
    site.configure(never="192.0.2.0/24, 2001:db8::/32")
    assert [site.login(A), site.login(SIX), site.login("198.51.100.1")] == [REFUSED, REFUSED, GRANTED]


# ---- the admin's records

STATICS = [
    (A, f"{A} RELAY\n"),
    (A, f"{A} REJECT\n"),
    (A, f"{A} 1800000000\n"),
    (A, f"connect:{A} REJECT\n"),
    (A, f"Connect:{A} OK\n"),
    (SIX, f"{SIX_KEY} REJECT\n"),
    (SIX, "IPv6:2001:DB8:0:0:0:0:0:10 RELAY\n"),
    (SIX, f"connect:{SIX_KEY} REJECT\n"),
]


@pytest.mark.parametrize(("address", "text"), STATICS)
@pytest.mark.parametrize("style", ["bare", "connect"])
def test_a_static_record_survives_login_and_expiry(site: Site, address: str, text: str, style: str) -> None:
    site.configure(key=style)
    site.build(text)
    before = site.db.read_bytes()
    assert site.login(address) == STATIC
    assert site.names() == set()
    site.pass_window()
    site.expire()
    assert site.db.read_bytes() == before


@pytest.mark.parametrize("value", ["RELAY", "REJECT"])
def test_a_key_of_the_text_file_is_static_even_with_a_stamp(site: Site, value: str) -> None:
    site.login(A)
    site.build(f"# mine\n\n{A}\t{value}\n")
    assert site.expire() == {YIELD: [A]}
    assert (site.names(), site.records()) == (set(), {A: value})


def test_a_record_with_a_value_that_is_not_ours_is_static_even_with_a_stamp(site: Site) -> None:
    site.login(A)
    site.build(f"{A} REJECT\n")
    site.access.unlink()
    assert site.login(A) == STATIC
    assert (site.names(), site.records()) == (set(), {A: "REJECT"})


UNBUILT = [
    (A, A),
    (A, f"Connect:{A}"),
    (A, "192.0.2"),
    (A, "connect:192.0"),
    (SIX, SIX_KEY),
    (SIX, "IPv6:2001:DB8:0:0:0"),
]


@pytest.mark.parametrize(("address", "key"), UNBUILT)
def test_what_the_admin_has_written_counts_before_he_builds_it(site: Site, address: str, key: str) -> None:
    site.login(address)
    site.access.write_text(f"{key} REJECT\n")
    assert site.expire(dry_run=True) == site.expire() == {YIELD: [address]}
    assert [site.login(address), site.login("198.51.100.1")] == [STATIC, GRANTED]
    assert (site.records(), site.names()) == ({"198.51.100.1": "RELAY"}, {"198.51.100.1"})


def test_a_network_that_the_map_knows_leaves_a_login_its_more_specific_record(site: Site) -> None:
    site.build("192.0.2 REJECT\n")
    assert site.login(A) == GRANTED
    assert site.expire() == {}


@pytest.mark.parametrize(("said", "left"), [("RELAY", {A: "RELAY"}), ("REJECT", {}), ("", {})])
def test_the_record_of_a_grant_goes_unless_the_text_says_that_very_record(
    site: Site, said: str, left: dict[str, str]
) -> None:
    site.login(A)
    site.access.write_text(f"{A}\t{said}  \n{A} other\n")  # and the admin has not built the map from it
    assert site.expire(dry_run=True) == site.expire() == {YIELD: [A]}
    assert (site.records(), site.names()) == (left, set())


def test_another_text_file_may_be_the_static_source(site: Site) -> None:
    source = site.folder / "mine.txt"
    source.write_text(f"{A}\tRELAY\n")
    site.login(A)
    site.configure(static_source=str(source))
    assert site.expire() == {YIELD: [A]}
    source.unlink()
    with pytest.raises(MapError, match=r"mine.txt: cannot be read .*set static_source"):
        site.expire(dry_run=True)
    with pytest.raises(MapError, match=r"mine.txt: cannot be read .*set static_source"):
        site.expire()


def test_a_record_of_the_admins_ends_a_grant_in_another_form(site: Site) -> None:
    site.configure(key="connect")
    site.login(A)
    site.put(A, "REJECT")
    assert (site.records(), site.names()) == ({A: "REJECT"}, set())


@pytest.mark.parametrize("rename", [False, True])
def test_a_rebuilt_map_gets_its_live_grants_back(site: Site, rename: bool) -> None:
    site.login(A)
    site.login(SIX)
    site.expire()
    if rename:
        site.db.rename(site.folder / "old.db")
    site.build("198.51.100.1 REJECT\n")
    assert site.expire(dry_run=True) == site.expire() == {PUT: [A, SIX]}
    assert site.records() == {"198.51.100.1": "REJECT", A: "RELAY", SIX_KEY: "RELAY"}
    assert site.expire() == {}


def test_a_login_puts_its_own_record_back_where_no_run_has_opened_the_lane(site: Site) -> None:
    site.login(A)
    site.build("")
    assert site.login(A) == GRANTED
    assert site.records() == {A: "RELAY"}


def test_a_dry_run_says_what_the_run_does_and_changes_nothing(site: Site) -> None:
    site.login(A)
    site.pass_window()
    site.login(B)
    site.build(f"{SIX_KEY} REJECT\n")
    (site.stamps / SIX).touch(mode=0o400)
    os.utime(site.stamps / SIX, (site.now + 9, site.now + 9))
    (site.stamps / "README").touch()
    before = [(path.name, path.stat().st_mtime_ns) for path in sorted(site.folder.glob("**/*"))]
    told = site.expire(dry_run=True)
    assert [(path.name, path.stat().st_mtime_ns) for path in sorted(site.folder.glob("**/*"))] == before
    assert told == {EXPIRE: [A], PUT: [B], YIELD: [SIX], "foreign": ["README"]}
    assert site.expire() == told
