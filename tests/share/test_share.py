"""popips-share as it is installed, by a real server: a login on one host is live on the others, and ends as there."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import time

import pytest
import redis

from popips.login import unpack
from tests.share import LIMIT, STREAM, V6, A, B, C, Cut, Host, Server, wait
from tests.share.conftest import Hosts, Servers


@pytest.mark.parametrize("address", [A, V6])
def test_a_login_here_is_live_there(pair: list[Host], server: Server, address: str) -> None:
    one, two = pair
    then = one.login(address, "alice smith")
    wait(lambda: two.hears(address) == "live")
    login = unpack((two.told / address).read_bytes())
    assert login and (login.user, login.service, login.writer) == ("alice smith", "pop3", "pop1")
    assert abs(two.time(address) - then) < 1
    assert two.time(address) <= time.time()
    assert server.lines() == [f"+ {address} alice%20smith pop3 pop1"]
    assert one.hears(address) == ""  # its own stamp says so
    wait(lambda: two.fleet["hosts"].get("pop1", {}).get("live") == 1)
    fleet = two.fleet
    assert (fleet["schema"], fleet["name"], fleet["engine"], fleet["error"]) == (1, "pop2", server.url, "")
    assert stat.S_IMODE(two.told.stat().st_mode) == 0o755


def test_a_grant_that_is_ended_here_ends_there_and_a_new_login_is_live_again(pair: list[Host]) -> None:
    one, two = pair
    one.login(A)
    wait(lambda: two.hears(A) == "live")
    one.end_grant(A)
    wait(lambda: two.hears(A) == "ended")
    one.login(A)
    wait(lambda: two.hears(A) == "live")


def test_what_is_ended_where_it_was_told_ends_where_it_was_made(pair: list[Host]) -> None:
    """A run has made a stamp of what was told, for a map in a file, and the admin ends that there."""
    one, two = pair
    one.login(A)
    wait(lambda: two.hears(A) == "live")
    two.login(A, writer="@pop1")
    two.login(B)
    wait(lambda: one.hears(B) == "live")
    two.end_grant(A)
    wait(lambda: (one.hears(A), two.hears(A)) == ("ended", "ended"))


def test_a_stamp_that_was_told_is_not_told_again(pair: list[Host], server: Server) -> None:
    one, two = pair
    one.login(A, writer="@pop3")
    one.login(B)
    wait(lambda: two.hears(B) == "live")
    assert server.lines() == [f"+ {B} alice pop3 pop1"]


def test_a_stamp_that_is_due_goes_without_a_word(pair: list[Host], server: Server) -> None:
    one, two = pair
    one.login(A, age=901)
    one.end_grant(A)
    one.login(B)
    wait(lambda: two.hears(B) == "live")
    assert server.lines() == [f"+ {B} alice pop3 pop1"]


def test_denials_are_told_and_lifted(pair: list[Host]) -> None:
    one, two = pair
    one.deny(A)
    one.deny("198.51.100.0/24", time.time() + 3600)
    one.deny(B, time.time() - 1)
    wait(lambda: len(two.denied()) == 2)
    for_ever, for_an_hour = sorted(two.denied())
    assert for_ever == f"{A} - root@pop1"
    text, until, by = for_an_hour.split(" ")
    assert (text, by) == ("198.51.100.0/24", "root@pop1")
    assert abs(int(until) - time.time() - 3600) < 60
    one.lift(A)
    wait(lambda: len(two.denied()) == 1)
    assert one.denied() == []


def test_who_comes_later_hears_of_all(server: Server, hosts: Hosts) -> None:
    (one,) = hosts(server.url, "pop1")
    then = [one.login(f"198.51.{number // 250}.{1 + number % 250}", age=number % 600) for number in range(2000)]
    one.deny(A)
    wait(lambda: len(server.lines()) == 2000)
    (two,) = hosts(server.url, "pop2")
    wait(lambda: two.fleet["hosts"].get("pop1", {}).get("live") == 2000)
    assert all(abs(two.time(f"198.51.{n // 250}.{1 + n % 250}") - then[n]) < 1 for n in range(2000))
    wait(lambda: len(two.denied()) == 1)


def test_max_per_user_holds_on_all_hosts_together(server: Server, hosts: Hosts) -> None:
    found = hosts(server.url, "pop1", "pop2", "pop3", max_per_user="2")
    for age, host, address in zip((30, 20, 10), found, (A, B, C)):
        host.login(address, age=age)
    wait(lambda: {host.hears(A) for host in found} == {"ended"})
    one, two, three = found
    assert [two.hears(C), three.hears(B), one.hears(B), one.hears(C)] == ["live"] * 4
    assert one.time(A) >= os.stat(one.stamps / A).st_mtime  # so that it ends the stamp's login, too
    one.login("192.0.2.99", "bob")
    wait(lambda: three.hears("192.0.2.99") == "live")


def test_what_was_ended_while_nobody_looked_is_ended_there(pair: list[Host]) -> None:
    one, two = pair
    one.login(A)
    one.login(B)
    wait(lambda: two.hears(A) == two.hears(B) == "live")
    assert one.end() == 0
    one.end_grant(A)
    one.start()
    wait(lambda: two.hears(A) == "ended")
    assert two.hears(B) == "live"


def test_what_was_told_in_another_name_is_ended_in_the_new_one(pair: list[Host], server: Server) -> None:
    one, two = pair
    one.login(A)
    wait(lambda: two.hears(A) == "live")
    one.configure(share_name="pop9")
    wait(lambda: one.fleet["name"] == "pop9" and one.fleet["connected"])
    one.login(B)
    wait(lambda: two.hears(B) == "live")
    assert server.lines() == [f"+ {A} alice pop3 pop1", f"+ {B} alice pop3 pop9"]
    assert one.hears(A) == ""  # its own stamp says so
    one.end_grant(A)
    wait(lambda: two.hears(A) == "ended")


def test_sigterm_ends_it_and_what_was_told_stays(pair: list[Host], server: Server) -> None:
    one, two = pair
    one.login(A)
    wait(lambda: two.hears(A) == "live")
    assert two.end() == 0
    assert (two.hears(A), two.fleet["connected"], two.error) == ("live", False, "popips-share was ended")
    server.end()
    wait(lambda: one.error)
    assert one.end() == 0
    two.start()
    wait(lambda: "does it run" in two.error)
    assert two.hears(A) == "live"
    assert two.end() == 0


# ---- the server goes, and comes again


def is_together(one: Host, two: Host) -> bool:
    return bool(one.fleet["connected"] and two.fleet["connected"])


@pytest.mark.parametrize("aof", [False, True], ids=["without AOF", "with AOF"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_that_is_started_again_has_all_again(
    servers: Servers, hosts: Hosts, aof: bool, number: signal.Signals
) -> None:
    server = servers("--appendonly", "yes", "--appendfsync", "always") if aof else servers()
    one, two = hosts(server.url, "pop1", "pop2")
    one.login(A)
    two.login(B)
    one.deny(C)
    wait(lambda: (two.hears(A), one.hears(B), len(two.denied())) == ("live", "live", 1))
    server.end(number)
    wait(lambda: "does it run" in one.error and "does it run" in two.error)
    one.login(V6)  # stays here meanwhile
    one.end_grant(A)
    assert (two.hears(A), one.hears(B), len(two.denied())) == ("live", "live", 1)
    server.start()
    wait(lambda: (two.hears(V6), two.hears(A), one.hears(B)) == ("live", "ended", "live"))
    wait(lambda: is_together(one, two))
    wait(lambda: {f"+ {B} alice pop3 pop2", f"- {A} alice pop3 pop1"} <= set(server.lines()))
    assert server.lines().count(f"+ {B} alice pop3 pop2") == 1  # told again only where it was lost
    assert server.client.hgetall(f"{STREAM}:denied") == {"pop1": f"{C} - root\n", "pop2": ""}


def test_a_host_that_was_cut_off_hears_of_all_and_tells_all(server: Server, hosts: Hosts) -> None:
    way = Cut(server.port)
    try:
        (one,) = hosts(server.url, "pop1")
        (two,) = hosts(way.url, "pop2")
        one.login(A)
        two.login(B)
        wait(lambda: (two.hears(A), one.hears(B)) == ("live", "live"))
        way.cut()
        wait(lambda: two.error and not two.fleet["connected"] and one.fleet["connected"])
        one.login(C)
        one.end_grant(A)
        two.login(V6)
        two.end_grant(B)
        one.deny("198.51.100.7")
        wait(lambda: "- " + A in " ".join(server.lines()))
        assert (two.hears(A), two.hears(C), one.hears(B), one.hears(V6)) == ("live", "", "live", "")
        way.heal()
        wait(lambda: (two.hears(A), two.hears(C)) == ("ended", "live"))
        wait(lambda: (one.hears(B), one.hears(V6)) == ("ended", "live"))
        wait(lambda: len(two.denied()) == 1)
        wait(lambda: two.fleet["connected"] and not two.error)
    finally:
        way.close()


def test_an_address_that_moves_to_another_master_is_followed(servers: Servers, hosts: Hosts) -> None:
    """As Sentinel makes one, and has the address in share lead to it; the one before goes on as its replica."""
    old, new = servers(), servers()
    way = Cut(old.port)
    try:
        (one,) = hosts(way.url, "pop1")
        wait(lambda: one.fleet["connected"])
        way.to = new.port
        old.client.replicaof("127.0.0.1", new.port)
        one.login(A)
        wait(lambda: new.lines() == [f"+ {A} alice pop3 pop1"])
        wait(lambda: one.fleet["connected"] and not one.error)
    finally:
        way.close()


def test_a_stream_that_is_emptied_is_filled_again(pair: list[Host], server: Server) -> None:
    """By hand, for instance: no connection is lost."""
    one, two = pair
    one.login(A)
    wait(lambda: two.hears(A) == "live")
    server.client.flushall()
    wait(lambda: server.client.exists(STREAM) and server.lines() == [f"+ {A} alice pop3 pop1"])


# ---- what is wrong is named with its cure


def test_a_wrong_password_is_named_and_tried_again(servers: Servers, hosts: Hosts) -> None:
    server = servers("--requirepass", "right")
    (one,) = hosts(server.url, "pop1")
    wait(lambda: "share_password_file" in one.error)
    password = one.folder / "password"
    password.write_text("wrong\n")
    password.chmod(0o600)
    one.configure(share_password_file=str(password))
    wait(lambda: "share_password_file must hold its password" in one.error)
    assert "wrong" not in one.error.replace("WRONGPASS", "")
    password.write_text("right\n")
    wait(lambda: one.fleet["connected"] and not one.error)
    password.chmod(0o644)
    one.configure(share_password_file=str(password), window="10m")
    wait(lambda: f"chmod o= {password}" in one.error)
    one.configure(share_password_file=str(one.folder / "missing"))
    wait(lambda: "missing: cannot be read" in one.error)
    assert one.end() == 0


def test_a_user_of_the_acl_is_enough(servers: Servers, hosts: Hosts) -> None:
    """The line is that of popips-share(8)."""
    server = servers()
    rule = [
        "on",
        ">secret",
        "~popips:*",
        "+xadd",
        "+xread",
        "+xrange",
        "+hset",
        "+hgetall",
        "+memory|usage",
        "+time",
        "+del",
    ]
    server.client.execute_command("ACL", "SETUSER", "popips", *rule)
    password = server.folder / "password"
    password.write_text("secret")
    password.chmod(0o600)
    url = server.url.replace("//", "//popips@")
    one, two = hosts(url, "pop1", "pop2", share_password_file=str(password))
    one.login(A)
    one.deny(B)
    wait(lambda: (two.hears(A), len(two.denied())) == ("live", 1))
    server.client.execute_command("ACL", "SETUSER", "popips", "-xadd")
    one.login(C)
    wait(lambda: "ACL keeps this user from it" in one.error)
    server.client.execute_command("ACL", "SETUSER", "popips", "+xadd")
    wait(lambda: two.hears(C) == "live")


WRONG = {
    "redis://127.0.0.1:1": "does it run",
    "redis://no-such-host.invalid:6379": "does it run",
    "rediss://127.0.0.1:{port}": "write redis:// in share",
}


@pytest.mark.parametrize("url", WRONG)
def test_a_wrong_place_is_named(server: Server, hosts: Hosts, url: str) -> None:
    (one,) = hosts(url.format(port=server.port), "pop1")
    wait(lambda: one.error)
    assert WRONG[url] in one.error
    assert not one.fleet["connected"]
    one.url = server.url
    one.configure()
    wait(lambda: one.fleet["connected"])


def test_a_server_whose_memory_or_disk_is_full_is_named_and_what_is_new_is_told_later(
    servers: Servers, hosts: Hosts
) -> None:
    server = servers("--enable-protected-configs", "yes")
    one, two = hosts(server.url, "pop1", "pop2")
    wait(lambda: is_together(one, two))
    server.client.config_set("maxmemory", "1")
    one.login(A)
    wait(lambda: "maxmemory" in one.error)
    assert one.fleet["connected"]
    server.client.config_set("maxmemory", "0")
    wait(lambda: two.hears(A) == "live" and not one.error)
    gone = server.folder / "gone"
    gone.mkdir()
    server.client.config_set("dir", str(gone))
    gone.rmdir()
    server.client.config_set("save", "1 1")
    with contextlib.suppress(redis.ResponseError):  # it has begun by itself
        server.client.bgsave()
    wait(lambda: server.client.info("persistence")["rdb_last_bgsave_status"] == "err")
    one.login(B)
    wait(lambda: "cannot write to its disk" in one.error)
    server.client.config_set("save", "")
    wait(lambda: two.hears(B) == "live" and not one.error)


def test_another_key_of_that_name_is_named(server: Server, hosts: Hosts) -> None:
    server.client.set(STREAM, "a string")
    (one,) = hosts(server.url, "pop1")
    wait(lambda: "share_stream" in one.error)


HOSTILE = [
    {"x": "+ 192.0.2.66 0.000 eve pop3 pop9"},
    {"e": "+ 192.0.2.66 0.000 eve pop3 pop9", "x": ""},
    {"e": ""},
    {"e": "* 192.0.2.66 0.000 eve pop3 pop9"},
    {"e": "+ 192.0.2.66 0.000 eve pop3"},
    {"e": "+ 192.0.2.66 0.000 eve pop3 pop9 more"},
    {"e": "+ 192.0.2.0/24 0.000 eve pop3 pop9"},
    {"e": "+ 192.0.2.66 -5.000 eve pop3 pop9"},
    {"e": "+ 192.0.2.66 nan eve pop3 pop9"},
    {"e": "+ 192.0.2.66 1e9 eve pop3 pop9"},
    {"e": "+ 192.0.2.66 5 eve pop3 pop9"},
    {"e": "+ 192.0.2.066 0.000 eve pop3 pop9"},
    {"e": "+ 0.0.0.0 0.000 eve pop3 pop9"},
    {"e": "+ 2001:DB8::66 0.000 eve pop3 pop9"},
    {"e": "+ ../../etc/passwd 0.000 eve pop3 pop9"},
    {"e": "+ .denied 0.000 eve pop3 pop9"},
    {"e": "+ - 0.000 eve pop3 pop9"},
    {"e": "! 192.0.2.66 0.000 eve pop3 pop9"},
    {"e": "+ 192.0.2.66 0.000 e\nve pop3 pop9"},
    {"e": "+ 192.0.2.66 0.000 e\x1bve pop3 pop9"},
    {"e": "+ 192.0.2.66 0.000 \xe9ve pop3 pop9"},
    {"e": "+ 192.0.2.66 0.000 eve pop3 @pop9"},
    {"e": "+ 192.0.2.66 0.000 eve pop3 " + "p" * 101},
    {"e": "+ 192.0.2.66 0.000 eve pop3 /Aa0-"},
    {"e": "+ 192.0.2.66 0.000 eve pop3 pop9/Aa0-_"},
    {"e": "+ 192.0.2.66 0.000 eve pop3 pop9/Aa0:"},
    {"e": "+ 192.0.2.66 0.000 " + "e" * 3000 + " pop3 pop9"},
    {"e": "x" * 5_000_000},
    {"e": b"\x00\xff\xfe"},
]


def test_what_no_host_has_written_is_ignored(pair: list[Host], server: Server) -> None:
    one, two = pair
    for fields in HOSTILE:
        server.client.xadd(STREAM, fields)
    denied = f"{STREAM}:denied"
    server.client.hset(denied, "pop9", f"nonsense\n192.0.2.0/99 - x\n{B} 1e5 x\n{C} - root\n{A} {10**400} x\n")
    server.client.hset(denied, b"\xff\n", f"{A} - x\n")
    server.client.xadd(STREAM, {"e": "! - 0.000 - - pop9"})
    one.login(A)
    wait(lambda: two.hears(A) == "live")
    wait(lambda: two.denied() == [f"{C} - root@pop9"])
    assert sorted(os.listdir(two.told)) == [".denied", ".fleet", ".id", A]


def of_the_future(server: Server, ahead: str) -> str:
    number = f"{int(time.time() + 3600) * 1000}-0" if ahead == "an hour" else f"{2**64 - 1}-{2**64 - 1}"
    server.client.xadd(STREAM, {"e": f"+ {B} 0.000 eve pop3 pop9"}, id=number)
    return number


@pytest.mark.parametrize("ahead", ["an hour", "for ever"])
def test_a_stream_whose_last_entry_is_of_the_future_is_begun_anew(pair: list[Host], server: Server, ahead: str) -> None:
    """The server's clock was ahead, and what is behind that entry is of that time, too; or no other ID is left."""
    one, two = pair
    one.login(A)
    wait(lambda: two.hears(A) == "live")
    of_the_future(server, ahead)
    one.login(V6)
    one.end_grant(A)
    two.deny(C)
    wait(lambda: (two.hears(A), two.hears(V6), len(one.denied())) == ("ended", "live", 1))
    wait(lambda: is_together(one, two))
    now = 1000 * (time.time() + 60)
    assert all(int(its.partition("-")[0]) < now for its, _ in server.client.xrange(STREAM))
    assert two.hears(B) == ""


@pytest.mark.parametrize("ahead", ["an hour", "for ever"])
def test_a_stream_that_has_given_ids_of_the_future_is_begun_anew(server: Server, hosts: Hosts, ahead: str) -> None:
    """The entry itself is gone: it was too many, or somebody has removed it."""
    server.client.xdel(STREAM, of_the_future(server, ahead))
    one, two = hosts(server.url, "pop1", "pop2")
    one.login(A)
    wait(lambda: two.hears(A) == "live")


# ---- how it starts


def test_it_does_not_start_where_it_cannot_work(server: Server, hosts: Hosts) -> None:
    (one,) = hosts(server.url, "pop1")
    assert one.end() == 0
    (one.told / ".fleet").unlink()
    one.told.chmod(0o777)
    one.start()
    assert one.process
    assert one.process.wait(LIMIT) == os.EX_CANTCREAT
    one.configure(share="none")
    one.start()
    assert one.process.wait(LIMIT) == os.EX_CONFIG
    assert one.process.stderr
    assert b"share is not set" in one.process.stderr.read()
    one.process = None


def test_systemd_hears_when_it_is_ready(server: Server, hosts: Hosts) -> None:
    (one,) = hosts(server.url, "pop1")
    one.end()
    path = str(one.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as its:
        its.bind(path)
        its.settimeout(60)
        one.start(NOTIFY_SOCKET=path)
        assert its.recv(100) == b"READY=1"
        one.end()
        said = b""
        while said != b"STOPPING=1":
            said = its.recv(100)
