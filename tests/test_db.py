"""popips-db, as the admin runs it."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import Optional

import pytest

from tests.box import CRON_ENVIRONMENT
from tests.conftest import Installed, Site

A, SIX, SIX_KEY = "192.0.2.10", "2001:db8::10", "ipv6:2001:db8:0:0:0:0:0:10"
B, C, D, E = "192.0.2.11", "192.0.2.12", "192.0.2.13", "192.0.2.14"

MANY = [f"10.0.0.{number}" for number in range(1, 13)]

# a command, what is on its standard input, its status, and what it must answer; None: whatever that is

Turn = tuple[str, str, int, Optional[str], str]

DIALOGUES: list[tuple[str, list[Turn]]] = [
    (
        "permanent records",
        [
            (
                "ins 192.0.2.1 RELAY Example.COM REJECT",
                "",
                0,
                "inserted: 192.0.2.1 RELAY, example.com REJECT\n",
                "popips-db: 192.0.2.1 example.com: not in {text}: write it",
            ),
            ("lst 192.0.2.1 EXAMPLE.com", "", 0, "192.0.2.1\tRELAY\nexample.com\tREJECT\n", ""),
            ("lst --grants", "", 0, "", "popips-db: no grants: popips-db doctor says whether logins open the relay\n"),
            ("lst nix", "", 1, "", "popips-db: nix: no such record in hash:{db}\n"),
            ("del 192.0.2.1 nix", "", 1, "deleted: 192.0.2.1\n", "popips-db: nix: no such record in hash:{db}\n"),
            ("lst", "", 0, "example.com\tREJECT\n", ""),
        ],
    ),
    (
        "grants",
        [
            ("ins 192.0.2.10 2001:DB8::10", "", 0, "granted: 192.0.2.10, 2001:db8::10\n", ""),
            ("lst 2001:db8::10", "", 0, f"{SIX_KEY}\tRELAY\n", ""),
            ("del 2001:db8::10", "", 0, "deleted: 2001:db8::10\n", ""),
            ("lst", "", 0, "192.0.2.10\tRELAY\n", ""),
            ("ins 127.0.0.1", "", 1, "", "popips-db: 127.0.0.1: refused: in a network of `never`\n"),
            ("lst --grants 2001:db8::10", "", 1, "", "popips-db: 2001:db8::10: no grant\n"),
        ],
    ),
    (
        "IPv6, in whatever form, is put as sendmail asks for it",
        [
            (
                "ins 2001:DB8::10 REJECT connect:IPv6:2001:db8::11 REJECT ipv6:2001:db8 REJECT",
                "",
                0,
                f"inserted: {SIX_KEY} REJECT, connect:ipv6:2001:db8:0:0:0:0:0:11 REJECT, ipv6:2001:db8 REJECT\n",
                "popips-db: ipv6:",
            ),
            ("lst 2001:db8::10", "", 0, f"{SIX_KEY}\tREJECT\n", ""),
            ("lst 2001:db8:0::11", "", 0, "connect:ipv6:2001:db8:0:0:0:0:0:11\tREJECT\n", ""),
            ("lst ipv6:2001:db8::10", "", 0, f"{SIX_KEY}\tREJECT\n", ""),
            ("lst ipv6:2001:db8", "", 0, "ipv6:2001:db8\tREJECT\n", ""),
            ("ins 2001:db8 REJECT", "", 64, "", "popips-db: 2001:db8: sendmail asks for IPv6 networks by another key"),
            (
                "del IPv6:2001:db8::10 connect:ipv6:2001:db8::11",
                "",
                0,
                "deleted: IPv6:2001:db8::10, connect:ipv6:2001:db8::11\n",
                "",
            ),
            ("ins 2001:db8::10", "", 0, "granted: 2001:db8::10\n", ""),
            ("del ipv6:2001:db8::10 ipv6:2001:db8", "", 0, "deleted: ipv6:2001:db8::10, ipv6:2001:db8\n", ""),
            ("lst", "", 0, "", ""),
        ],
    ),
    (
        "standard input",
        [
            (
                "ins -",
                "192.0.2.1\tERROR:550 go away\n\nexample.com REJECT\n",
                0,
                "inserted: 192.0.2.1 ERROR:550 go away, example.com REJECT\n",
                "popips-db: 192.0.2.1 ",
            ),
            ("lst 192.0.2.1", "", 0, "192.0.2.1\tERROR:550 go away\n", ""),
            (
                "ins -",
                "# two\n192.0.2.10\n\nd.example OK\n192.0.2.11\n",
                0,
                "inserted: d.example OK\ngranted: 192.0.2.10, 192.0.2.11\n",
                "popips-db: d.example: not in",
            ),
            ("del d.example", "", 0, "deleted: d.example\n", ""),
            ("lst -", "192.0.2.10\n192.0.2.11\n", 0, "192.0.2.10\tRELAY\n192.0.2.11\tRELAY\n", ""),
            ("del -", "192.0.2.10\nexample.com\n192.0.2.1\n", 0, "deleted: 192.0.2.10, example.com, 192.0.2.1\n", ""),
            ("lst", "", 0, "192.0.2.11\tRELAY\n", ""),
        ],
    ),
    (
        "grants of whom",
        [
            ("end --user bob", "", 1, "", "popips-db: bob: no grant\n"),
            ("end --all", "", 0, "", "popips-db: no grants\n"),
            ("end --orphans", "", 0, "", "popips-db: no orphans\n"),
            ("del --network 192.0.2.0/24", "", 1, "", "popips-db: 192.0.2.0/24: no grant\n"),
            ("ins 192.0.2.10 192.0.2.11 198.51.100.7", "", 0, "granted: 192.0.2.10, 192.0.2.11, 198.51.100.7\n", ""),
            ("end --network 192.0.2.11/32", "", 0, "ended: 192.0.2.11\n", ""),
            ("end 192.0.2.11 192.0.2.10", "", 1, "ended: 192.0.2.10\n", "popips-db: 192.0.2.11: no grant\n"),
            ("end --all", "", 0, "ended: 198.51.100.7\n", ""),
            (f"ins {' '.join(MANY)}", "", 0, f"granted: {', '.join(MANY[:10])} and 2 more\n", ""),
            ("deny 10.0.0.5/24 for 1w", "", 0, None, "popips-db: 10.0.0.5/24: taken for the network 10.0.0.0/24; for"),
            ("undeny 10.0.0.0/24", "", 0, "undenied: 10.0.0.0/24\n", ""),
            ("undeny 10.0.0.0/24", "", 1, "", "popips-db: 10.0.0.0/24: not denied\n"),
        ],
    ),
    (
        "mistakes",
        [
            ("", "", 64, "", "usage: popips-db"),
            ("lst --wrong", "", 64, "", "usage: popips-db"),
            ("ins", "", 64, "", "usage: popips-db"),
            ("del", "", 64, "", "popips-db: del: write keys, --user USER, --network ADDRESS/BITS, or --orphans"),
            ("del --user bob 192.0.2.1", "", 64, "", "popips-db: del: write keys, --user USER"),
            ("-m hash:/x del --user bob", "", 64, "", "popips-db: del --user, --network or --orphans: grants are in"),
            ("end", "", 64, "", "popips-db: end: write addresses, --all, --user USER, --network ADDRESS/BITS, or"),
            ("end --all --user bob", "", 64, "", "popips-db: end: write addresses, --all"),
            ("end --network 192.0.2", "", 64, "", "popips-db: 192.0.2: 192.0.2: not an address or ADDRESS/BITS; write"),
            ("ins 192.0.2.1 RELAY 192.0.2.2", "", 64, "", "popips-db: 192.0.2.2: a key without a value"),
            ("ins 192.0.2.6 192.0.2.300", "", 64, "", "popips-db: 192.0.2.300: not an IPv4 or IPv6 address"),
            ("ins 224.0.0.1", "", 64, "", "popips-db: 224.0.0.1: not a unicast address"),
            ("ins 192.0.2.1 10.0.0.0/8", "", 64, "", "popips-db: 10.0.0.0/8: not an IPv4 or IPv6 address"),
            ("ins 192.0.2.5 10.2.3.4 a.example REJECT", "", 64, "", "popips-db: 192.0.2.5 10.2.3.4: an address is no"),
            ("ins 192.0.2.0/24 RELAY", "", 64, "", "popips-db: 192.0.2.0/24: no map is asked for ADDRESS/BITS"),
            ("ins -", "192.0.2.1\nxx\n", 64, "", "popips-db: standard input:2: xx: not an IPv4 or IPv6 address"),
            ("ins -", "a OK\n192.0.2.1 10.1.1.1\n", 64, "", "popips-db: standard input:2: 192.0.2.1 10.1.1.1: an"),
            ("-m hash:/x lst --grants", "", 64, "", "popips-db: lst --grants: grants are in the map of {conf}"),
            ("lst", "", 0, "", ""),
            ("ins a@ REJECT b", "", 64, "", "popips-db: b: a key without a value"),
            ("-m dbm:/x lst", "", 64, "", "popips-db: dbm:/x: write TYPE:/PATH with one of the types hash, btree"),
            (
                "-m hash:/no/such lst",
                "",
                66,
                "",
                "popips-db: /no/such.db: there is no such file; there is no /no, either: popips-db setup",
            ),
            (
                "-m hash:{db}.db lst",
                "",
                66,
                "",
                "popips-db: {db}.db: there is no such file; is it the right path? {db} is",
            ),
            ("-m hash:{conf} lst", "", 66, "", "popips-db: {conf}.db: there is no such file"),
            ("-m btree:{db} lst", "", 65, "", "popips-db: {db}: a hash map; write hash:"),
            ("-m btree:/x ins 192.0.2.1", "", 64, "", "popips-db: 192.0.2.1: grants go to the map of {conf}"),
        ],
    ),
]


@pytest.mark.parametrize("dialogue", [turns for _, turns in DIALOGUES], ids=[name for name, _ in DIALOGUES])
def test_dialogues_with_popips_db(installed: Installed, dialogue: list[Turn]) -> None:
    names = {"db": str(installed.site.db), "conf": str(installed.site.conf), "text": str(installed.site.access)}
    for command, stdin, status, out, err in dialogue:
        done = installed.run("popips-db", *command.format(**names).split(), stdin=stdin)
        errors = "".join(line for line in done.stderr.splitlines(True) if "cannot log" not in line)
        expected = err.format(**names)
        assert (done.returncode, done.stdout) == (status, done.stdout if out is None else out), (command, done)
        assert errors.startswith(expected) if expected else not errors, (command, done)
        assert "Traceback" not in done.stderr


def test_grants_are_listed_with_user_service_last_login_and_time_left(installed: Installed) -> None:
    installed.site.now = time.time()
    installed.site.login(A, "bob", "imap")
    (installed.site.stamps / SIX).touch()
    installed.age(A, minutes=5)
    installed.age(SIX, minutes=20)
    first, second = installed.run("popips-db", "lst", "--grants").stdout.splitlines()
    name, user, service, last, left = first.split("\t")
    assert (name, user, service) == (A, "bob", "imap")
    assert (
        abs(time.time() - 300 - time.mktime(time.strptime(last + " UTC", "%Y-%m-%dT%H:%M:%SZ %Z")) + time.timezone) < 60
    )
    assert re.fullmatch(r"10m00s|9m\d\ds", left)
    assert second.split("\t")[0:3] + second.split("\t")[4:] == [SIX, "-", "-", "due"]


def test_grants_are_listed_by_what_becomes_of_them(installed: Installed) -> None:
    """One that a rebuild has dropped and a login that waits are pending, others the admin overrules or bars."""
    site = installed.site
    site.now = time.time()
    for address in (A, B, SIX):
        site.login(address)
    installed.run("popips-db", "ins", C)
    site.build(f"{A} REJECT\n{C} RELAY\n")
    site.access.write_text(f"{A} REJECT\n")
    site.configure(never=f"{B} 127.0.0.1")
    wait(site, D)
    listed = [line.split("\t")[::4] for line in installed.run("popips-db", "lst", "--grants").stdout.splitlines()]
    assert [listed[0], listed[1], *listed[3:]] == [[A, "static"], [B, "barred"], [D, "pending"], [SIX, "pending"]]
    assert listed[2][0] == C and re.fullmatch(r"15m00s|14m\d\ds", listed[2][1])
    whys = [installed.run("popips-db", "why", address) for address in (A, B, C, D, SIX, E)]
    assert [done.returncode for done in whys] == [1, 1, 0, 1, 1, 1]
    said = [done.stdout.partition(": ")[2] for done in whys]
    assert [text.removeprefix("not granted: ").partition(":")[0] for text in said[2:5]] == ["granted"] + ["pending"] * 2
    assert said[0].startswith(f"not granted: static: the admin has {A} REJECT; user=alice service=pop3 by=test last=")
    assert said[1].startswith(f"not granted: in a network of `never`: {B} ({site.conf}); user=alice ")
    assert said[5].startswith("not granted: no grant in the last 15m00s; ")
    site.db.unlink()
    gone = installed.run("popips-db", "lst", "--grants")
    assert ("there is no such file" in gone.stderr, gone.stdout.count("pending")) == (True, 3)


def wait(site: Site, address: str) -> None:
    """Let a login be waiting for somebody to deal with it."""
    (site.stamps / ".requests").mkdir(mode=0o700, exist_ok=True)
    (site.stamps / f".requests/{address}-77").write_text("dave imap popips-hook\n")


def test_nobody_but_root_is_told_so(installed: Installed) -> None:
    command = ["setpriv", "--reuid=12345", "--clear-groups", str(installed.path("popips-db")), "lst"]
    done = subprocess.run(command, env=CRON_ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (77, "popips-db: map and stamps are root's: run it as root\n")


def test_making_a_grant_permanent_ends_the_grant(installed: Installed) -> None:
    installed.site.now = time.time()
    installed.site.login(A)
    installed.run("popips-db", "ins", A, "RELAY")
    assert installed.site.names() == set()
    installed.run("popips-expire")
    assert installed.site.records() == {A: "RELAY"}


def test_another_map_can_be_listed_and_changed(installed: Installed, tmp_path: Path) -> None:
    other = tmp_path / "virtusertable"
    subprocess.run(["makemap", "btree", str(other)], input=b"info@example.com alice\n", check=True)
    spec = f"btree:{other}"
    assert installed.run("popips-db", "-m", spec, "ins", "sales@example.com", "bob").returncode == 0
    assert installed.run("popips-db", "-m", spec, "lst").stdout == "info@example.com\talice\nsales@example.com\tbob\n"
    assert installed.run("popips-db", "-m", spec, "del", "info@example.com").returncode == 0
    assert installed.run("popips-db", "-m", spec, "lst").stdout == "sales@example.com\tbob\n"
    assert installed.site.records() == {}


def test_an_ipv6_record_that_somebody_put_as_it_is_can_be_seen_and_deleted(installed: Installed) -> None:
    installed.site.build(f"{SIX} REJECT\n")
    assert installed.run("popips-db", "lst", SIX).stdout == f"{SIX}\tREJECT\n"
    assert installed.run("popips-db", "del", SIX).returncode == 0
    assert installed.site.records() == {}


def test_a_deleted_record_leaves_the_other_form_of_its_address(installed: Installed) -> None:
    installed.site.build(f"connect:{A} REJECT\n")
    installed.run("popips-db", "ins", A, "RELAY")
    installed.run("popips-db", "del", A)
    assert installed.site.records() == {f"connect:{A}": "REJECT"}


def test_a_reader_that_leaves_early_gets_no_traceback(installed: Installed) -> None:
    installed.site.build("".join(f"10.{n // 256}.{n % 256} REJECT\n" for n in range(20000)))
    command = f"{installed.path('popips-db')} -c {installed.site.conf} lst | head -n 1"
    done = subprocess.run(["sh", "-c", command], env=CRON_ENVIRONMENT, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


def test_the_grants_of_a_user_end_and_nobody_elses(installed: Installed) -> None:
    site = installed.site
    site.now = time.time()
    for address, user in ((A, "bob"), (B, "eve"), (C, "bob")):
        site.login(address, user)
    wait(site, D)  # of dave's
    done = installed.run("popips-db", "end", "--user", "bob")
    assert (done.returncode, sorted(done.stdout.split(": ")[1].strip().split(", "))) == (0, [A, C])
    assert site.names() == {B}
    assert installed.run("popips-db", "end", "--user", "dave").returncode == 1  # he never had one
    installed.run("popips-expire")
    assert site.names() == {B}  # his request is withdrawn, or he would have one now


def test_a_record_of_the_admins_stays_where_the_grants_of_a_user_go(installed: Installed) -> None:
    site = installed.site
    site.now = time.time()
    for address in (A, B):
        site.login(address, "bob")
    site.build(f"connect:{B} REJECT\n")
    site.put(B, "REJECT")
    done = installed.run("popips-db", "del", "--user", "bob")
    assert (done.returncode, done.stdout) == (0, f"ended: {A}\n")
    assert site.records() == {B: "REJECT", f"connect:{B}": "REJECT"}
    assert site.names() == set()


def test_del_takes_what_is_in_a_network_the_admins_records_too(installed: Installed) -> None:
    site = installed.site
    site.now = time.time()
    site.build(f"{B} REJECT\nconnect:{C} REJECT\n192.0.2 REJECT\n198.51.100.7 REJECT\n")
    site.login(A)
    done = installed.run("popips-db", "del", "--network", "192.0.2.77/24")
    assert "192.0.2.77/24: taken for the network 192.0.2.0/24; for the address alone write 192.0.2.77" in done.stderr
    assert (done.returncode, sorted(done.stdout.split(": ")[1].strip().split(", "))) == (0, [A, B, f"connect:{C}"])
    assert site.records() == {"192.0.2": "REJECT", "198.51.100.7": "REJECT"}
    assert site.names() == set()


def test_orphans_end_by_del_as_by_end(installed: Installed) -> None:
    installed.site.now = time.time()
    installed.site.login(A)
    (installed.site.stamps / A).unlink()
    done = installed.run("popips-db", "del", "--orphans")
    assert (done.returncode, done.stdout, installed.site.records()) == (0, f"ended: {A}\n", {})
