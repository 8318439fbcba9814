"""Records that look like a grant and have no stamp: a run tells of them, and `popips-db end --orphans` ends them."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from popips import register, revoke, run
from popips.maps import Records
from popips.orphans import end, news, orphans
from popips.site import Site as Host
from popips.stamps.folder import Folder
from tests.conftest import Installed, Site

A, B, SIX, SIX_KEY = "192.0.2.10", "192.0.2.11", "2001:db8::10", "ipv6:2001:db8:0:0:0:0:0:10"


def found(site: Site) -> list[str]:
    with site.host as host, host.reader() as records:
        return sorted(orphans(host, records))


def lose_stamps(site: Site, *names: str) -> None:
    for name in names:
        (site.stamps / name).unlink()


# key and value of a record that popips did not make, and whether it looks as if it had
RECORDS = [
    (A, "RELAY", True),
    (SIX_KEY, "RELAY", True),
    (A, "OK", False),
    (A, "relay", False),
    (f"connect:{A}", "RELAY", False),
    (SIX, "RELAY", False),
    ("ipv6:2001:db8::10", "RELAY", False),
    ("192.0.2", "RELAY", False),
    ("224.0.0.1", "RELAY", False),
    ("192.0.2.010", "RELAY", False),
    ("a.example", "RELAY", False),
]


@pytest.mark.parametrize(("key", "value", "is_one"), RECORDS)
def test_an_orphan_has_key_and_value_of_a_grant(site: Site, key: str, value: str, is_one: bool) -> None:
    site.build(f"{key} {value}\n")
    assert found(site) == []  # the text says it
    site.access.write_text("")
    assert found(site) == ([key] if is_one else [])


@pytest.mark.parametrize(
    ("settings", "key", "value"),
    [
        ({"key": "connect"}, f"connect:{A}", "RELAY"),
        ({"value": "OK"}, A, "OK"),
        ({"compressed_ipv6": "yes"}, f"ipv6:{SIX}", "RELAY"),
    ],
)
def test_it_has_the_form_that_popips_conf_says(site: Site, settings: dict[str, str], key: str, value: str) -> None:
    site.build(f"{key} {value}\n{B} REJECT\n")
    site.access.write_text("")
    assert found(site) == []
    site.configure(**settings)
    assert found(site) == [key]


def test_a_run_tells_of_each_once_and_ends_none(site: Site) -> None:
    for address in (A, B):
        site.login(address)
    lose_stamps(site, B)
    assert told(site) == [B]
    lose_stamps(site, A)
    site.now += 3601  # by then a run looks at all grants
    assert told(site) == [A]
    site.now += 3601
    assert (told(site), site.records()) == ([], {A: "RELAY", B: "RELAY"})


def told(site: Site) -> list[str]:
    with site.host as host:
        done = run.run(host, lambda login, outcome: None)
    lines = [text for _, text in done.describe(str(host.settings.map)) if text.startswith("orphan: ")]
    assert len(lines) == len(done.orphans) and all("popips-db end --orphans" in line for line in lines)
    return done.orphans


def test_a_grant_that_a_run_ends_is_none(site: Site) -> None:
    """Neither one that is due nor one that is barred, although the map is looked at before they have ended."""
    for address in (A, B):
        site.login(address)
    site.configure(never=B)
    site.now += 1
    assert (told(site), site.records()) == ([], {A: "RELAY"})
    site.pass_window()
    assert (told(site), site.records()) == ([], {})


def test_a_grant_that_ends_while_the_map_is_looked_at_is_none(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at is a copy of the map, and the stamps are not."""
    site.login(A)

    def late(host: Host, records: Records) -> list[str]:
        with site.host as other:
            list(revoke.end(other, [A]))
        seen.append(orphans(host, records))
        return seen[-1]

    seen: list[list[str]] = []
    monkeypatch.setattr("popips.orphans.orphans", late)
    with site.host as host:
        assert news(host) == []
    assert seen == [[A], []]


def test_an_orphan_that_the_admin_puts_while_they_are_looked_for_stays(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in (A, B):
        site.login(address)
    lose_stamps(site, A, B)

    def then_puts(host: Host, records: Records) -> list[str]:
        there = orphans(host, records)
        register.add(host.folder, {A.encode(): b"RELAY"}, "admin", host.now)
        return there

    monkeypatch.setattr("popips.orphans.orphans", then_puts)
    with site.host as host:
        assert list(end(host)) == [[B]]
    assert site.records() == {A: "RELAY"}


def test_a_grant_is_none_for_it_has_a_stamp(site: Site) -> None:
    site.login(A)
    site.login(B)
    assert found(site) == []
    lose_stamps(site, B)
    assert found(site) == [B]


def test_a_map_of_its_own_has_none_for_it_is_made_from_the_stamps(site: Site) -> None:
    site.configure(own_map="yes", map=f"hash:{site.folder}/own")
    site.expire()
    site.login(A)
    lose_stamps(site, A)
    assert found(site) == []


# ---- the register


def test_what_ins_puts_is_no_orphan_until_del_takes_it_out(installed: Installed) -> None:
    site = installed.site
    installed.run("popips-db", "ins", A, "RELAY", SIX, "RELAY", B, "OK")
    assert (found(site), installed.site.records()) == ([], {A: "RELAY", SIX_KEY: "RELAY", B: "OK"})
    key, value, admin, when = (site.stamps / ".register").read_text().splitlines()[0].split("\t")
    assert (key, value, bool(admin), abs(int(when) - time.time()) < 60) == (A, "RELAY", True, True)
    installed.run("popips-db", "del", A, B)
    site.build(f"{A} RELAY\n{B} RELAY\n{SIX_KEY} RELAY\n")  # an old map
    site.access.write_text("")
    assert found(site) == [A, B]


def test_another_value_than_ins_has_put_is_not_what_ins_has_put(installed: Installed) -> None:
    installed.run("popips-db", "ins", A, "OK")
    installed.site.build(f"{A} RELAY\n")
    installed.site.access.write_text("")
    assert found(installed.site) == [A]


VALUES = ["RELAY", "ERROR:550 go away", "a\tb", "caf\u00e9 \\ \\t", "\\x00", "x" * 3000]


def test_the_register_gives_back_what_it_was_given(site: Site) -> None:
    pairs = {f"key{number}".encode(): value.encode() for number, value in enumerate(VALUES)}
    with Folder(str(site.stamps)) as folder:
        assert register.add(folder, pairs, "a b\tc", site.now) == set(pairs.items()) == register.load(folder)
        assert register.add(folder, {**pairs, b"key0": b"OK"}, "bob", site.now) == {(b"key0", b"OK")}
        register.drop(folder, lambda key, _: key in (b"key1", b"nix"))
        del pairs[b"key1"]
        assert register.load(folder) == {*pairs.items(), (b"key0", b"OK")}


@pytest.mark.parametrize("content", [b"\xff\0\n", b"a\tb\n", b"a\t\\x\tb\t1\n"])
def test_a_line_of_the_register_that_is_no_line_is_no_harm(site: Site, content: bytes) -> None:
    site.login(A)
    lose_stamps(site, A)
    (site.stamps / ".register").write_bytes(content)
    assert found(site) == [A]
    with Folder(str(site.stamps)) as folder:
        register.add(folder, {b"b": b"OK"}, "root", site.now)
        assert (b"b", b"OK") in register.load(folder)


def test_two_who_change_it_at_once_are_told(installed: Installed) -> None:
    with Folder(str(installed.site.stamps)) as folder, folder.editing(".register"):
        done = installed.run("popips-db", "ins", A, "RELAY")
    assert (done.returncode, "another popips-db is changing it" in done.stderr) == (73, True)
    assert installed.site.records() == {}


# ---- end --orphans


def test_end_orphans_ends_them_and_nothing_else(installed: Installed) -> None:
    site = installed.site
    site.now = time.time()
    site.build("10.0.0.7 RELAY\n192.0.2 RELAY\na.example RELAY\n")
    for address in (A, B, SIX):
        assert site.login(address) == "granted"
    assert installed.run("popips-db", "ins", "192.0.2.12", "RELAY").returncode == 0
    lose_stamps(site, A, SIX)
    kept = {key: value for key, value in site.records().items() if key not in (A, SIX_KEY)}
    done = installed.run("popips-db", "end", "--orphans")
    assert (done.returncode, site.records(), site.names()) == (0, kept, {B})
    assert installed.run("popips-db", "end", "--orphans").returncode == 0
    assert site.records() == kept


def test_thousands_of_orphans_end_in_batches(installed: Installed) -> None:
    site = installed.site
    site.build("".join(f"10.1.{n // 250}.{n % 250 + 1} RELAY\n" for n in range(1201)) + f"{A} REJECT\n")
    site.access.write_text(f"{A} REJECT\n")
    installed.run("popips-db", "end", "--orphans")
    assert site.records() == {A: "REJECT"}


@pytest.mark.parametrize("words", [["end"], ["end", "--all", "--orphans"], ["end", "--orphans", A]])
def test_end_wants_one_of_its_ways(installed: Installed, words: list[str]) -> None:
    done = installed.run("popips-db", *words)
    assert (done.returncode, "write addresses, --all, --user USER, " in done.stderr) == (64, True)


# ---- the map by another name


def by_a_linked_folder(site: Site) -> Path:
    (site.folder.parent / "linked").symlink_to(site.folder)
    return site.folder.parent / "linked/access.db"


def by_a_link(site: Site) -> Path:
    (site.folder / "link.db").symlink_to(site.db)
    return site.folder / "link.db"


NAMES: dict[str, Callable[[Site], object]] = {
    "two slashes": lambda site: f"{site.folder}//access.db",
    "a dot": lambda site: f"{site.folder}/./access",
    "two dots": lambda site: f"{site.stamps}/../access.db",
    "a link to its folder": by_a_linked_folder,
    "a link": by_a_link,
}


@pytest.mark.parametrize("name", NAMES)
def test_the_map_by_another_name_is_the_map(installed: Installed, name: str) -> None:
    site = installed.site
    site.now = time.time()
    other = f"hash:{NAMES[name](site)}"
    site.login(A)
    assert installed.run("popips-db", "-m", other, "lst", "--grants").stdout.startswith(f"{A}\t")
    installed.run("popips-db", "-m", other, "ins", A, "OK")
    assert (site.records(), site.names()) == ({A: "OK"}, set())
    assert "OK" in (site.stamps / ".register").read_text()


def test_a_hard_link_to_the_map_is_refused_and_a_copy_is_another_map(installed: Installed) -> None:
    site = installed.site
    os.link(site.db, site.folder / "hard.db")
    done = installed.run("popips-db", "-m", f"hash:{site.folder}/hard", "ins", A, "OK")
    assert (done.returncode, f"hash:{site.folder}/hard: {site.db}: not a plain file" in done.stderr) == (65, True)
    (site.folder / "hard.db").unlink()
    assert (site.stamps / ".register").read_text() == ""
    shutil.copy2(site.db, site.folder / "copy.db")
    assert installed.run("popips-db", "-m", f"hash:{site.folder}/copy", "ins", A, "OK").returncode == 0
    assert (site.records(), (site.stamps / ".register").read_text()) == ({}, "")
    copied = subprocess.run(["makemap", "-u", "hash", str(site.folder / "copy.db")], capture_output=True, text=True)
    assert copied.stdout == f"{A}\tOK\n"
