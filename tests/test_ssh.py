"""ssh instead of POP3, on a real sshd: members of a group get a grant when they log in, or push their address."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.box import ROOT, Box
from tests.host import readme
from tests.ssh import authorize, edit, in_client, options, scp, ssh, start_sshd

V4, OTHER, V6 = "192.0.2.10", "192.0.2.11", "2001:db8::10"
V6_KEY = "ipv6:2001:db8:0:0:0:0:0:10"


def test_members_of_the_group_get_a_grant_by_logging_in(box: Box) -> None:
    start_sshd(box)
    box.start_sendmail()
    assert ssh(box, V4, "bob", "echo", "in").stdout == "in\n"
    assert ssh(box, V4, "carol", "echo", "in").returncode == 255  # her account has expired
    assert (box.records(), box.rcpt(V4)) == ({}, "550")
    for source in (V4, V6):
        assert ssh(box, source, "alice", "echo", "in").stdout == "in\n"
        assert box.rcpt(source) == "250"
    assert box.logged() == [
        f"granted: address={source} user=alice service=sshd map=hash:{box.access}.db" for source in (V4, V6)
    ]


@pytest.mark.parametrize("trouble", ["", "#!/bin/sh\nexit 1\n", "#!/nowhere\n"])
def test_a_login_by_ssh_passes_whatever_happens_to_the_hook(box: Box, trouble: str) -> None:
    hook = box.scratch / "hook"
    if trouble:
        hook.write_text(trouble)
        hook.chmod(0o755)
    start_sshd(box)
    stack = box.scratch / "etc" / "pam.d" / "sshd"
    stack.write_text(stack.read_text().replace(str(box.path("popips-hook")), str(hook)))
    for user in ("alice", "bob"):
        assert ssh(box, V4, user, "echo", "in").stdout == "in\n"


def test_nobody_is_granted_while_the_host_lets_nobody_in(box: Box) -> None:
    start_sshd(box)
    box.run(["touch", "/run/nologin"])
    assert ssh(box, V4, "alice", "echo", "in").returncode == 255
    box.run(["rm", "/run/nologin"])
    edit(box.scratch / "etc" / "shadow", "alice", 7, "1")  # expired since
    assert ssh(box, V4, "alice", "echo", "in").returncode == 255
    assert box.records() == {}


# ---- the drop folder


JAIL = "/run/drop"  # the drop folder in the box: all folders above it are root's alone, as sshd wants it


@pytest.fixture
def dropping(box: Box) -> Box:
    """A host with a drop folder, in which alice has hers."""
    box.configure(drop=JAIL)
    box.run(["install", "-d", "-m", "0711", JAIL])
    start_sshd(box, more=drops(box, "ssh/sshd_config"))
    with (box.scratch / "etc" / "group").open("a") as group:
        group.write("popips-drop:x:999998:alice\n")
    box.run(["install", "-d", "-o", "alice", "-m", "0700", f"{JAIL}/alice"])
    no_hook(box)
    return box


def drops(box: Box, name: str) -> str:
    """A file of contrib/, with this host's drop folder."""
    return box.contrib(name).replace("/var/lib/popips/drop", JAIL)


def force(box: Box) -> None:
    """Give alice's key the forced command, instead of the group that may use scp."""
    lines = drops(box, "ssh/authorized_keys").splitlines()
    (line,) = (line for line in lines if line and not line.startswith("#"))
    authorize(box, "alice", line.partition(" ssh-ed25519")[0])
    group = box.scratch / "etc" / "group"
    group.write_text(group.read_text().replace("popips-drop:x:999998:alice", "popips-drop:x:999998:"))


def granted(box: Box) -> set[str]:
    (box.stamps / ".lane").unlink(missing_ok=True)
    done = box.popips("popips-expire")
    assert (done.returncode, done.stderr) == (0, "")
    return set(box.records())


@pytest.mark.parametrize(("source", "key"), [(V4, V4), (V6, V6_KEY)])
def test_a_forced_command_drops_the_address_that_sshd_sees(dropping: Box, source: str, key: str) -> None:
    force(dropping)
    assert ssh(dropping, source, "alice", "echo", "203.0.113.1").stdout == ""  # not what the client says
    assert granted(dropping) == {key}


@pytest.mark.parametrize("source", [V4, V6])
def test_a_file_that_comes_by_scp_is_taken_up(dropping: Box, source: str) -> None:
    local = dropping.scratch / "address"
    for text, expected in ((OTHER, {OTHER}), ("127.0.0.1", {OTHER}), (V4, {V4})):
        local.write_text(f"{text}\n")
        assert scp(dropping, source, "alice", local, "here").returncode == 0
        assert granted(dropping) == expected
    assert [re.sub(" map=.*", "", line) for line in dropping.logged()] == [
        f"granted: address={OTHER} user=alice service=drop",
        "refused: address=127.0.0.1 user=alice service=drop",
        f"granted: address={V4} user=alice service=drop",
    ]


def test_who_may_drop_by_scp_can_do_nothing_else(dropping: Box) -> None:
    local = dropping.scratch / "key"
    local.write_text("a key of somebody else\n")
    home = dropping.scratch / "mail" / "alice"
    assert scp(dropping, V4, "alice", local, f"{home}/.ssh/authorized_keys").returncode != 0
    assert scp(dropping, V4, "alice", local, "/bob/here").returncode != 0
    assert ssh(dropping, V4, "alice", "echo", "in").stdout != "in\n"


@pytest.mark.parametrize("words", [[], ["."]])
@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "mail"])
def test_the_clients_script_pushes_its_address(dropping: Box, words: list[str], host: str) -> None:
    if not words:
        force(dropping)
    with (dropping.scratch / "etc" / "hosts").open("a") as hosts:
        hosts.write("192.0.2.1 mail\n")
    script = ROOT / "contrib" / "ssh" / "popips-push"
    push: list[str | Path] = ["env", f"POPIPS_SSH={' '.join(options(dropping, 'alice'))}", script]
    assert in_client(dropping, *push, f"alice@{host}", *words).stderr == ""
    (key,) = granted(dropping)
    assert key.startswith("ipv6:2001:db8:" if ":" in host else "192.0.2.1")


def test_the_quick_start_leads_to_a_grant(box: Box) -> None:
    """docs/quick-ssh.md, block by block, with this host's folders."""
    start_sshd(box)
    no_hook(box)
    on_host = readme.commands("On the mail host")
    make_key, try_it, (every_5,) = readme.blocks("On the client")
    for line in on_host:
        here = line.replace("/var/lib/popips/drop", JAIL).replace("/etc/popips.conf", str(box.conf))
        here = here.replace("popips-expire", f"{box.path('popips-expire')} -c {box.conf}")
        done = box.run(["sh", "-c", here])
        assert (done.returncode, done.stderr) == (0, ""), line
    home = box.scratch / "client"
    (home / ".ssh").mkdir(parents=True)
    at_client: list[str | Path] = ["env", f"HOME={home}", "PATH=/usr/bin:/bin", "sh", "-c"]  # as cron has it
    shutil.copy(ROOT / "contrib/ssh/popips-push", home)
    assert in_client(box, *at_client, make_key[0]).returncode == 0
    shutil.copy(home / ".ssh/popips.pub", box.scratch / "ssh/alice.pub")
    force(box)
    assert in_client(box, *at_client, try_it[0].replace("HOST", "192.0.2.1")).returncode == 255  # knows no such host
    known = "-o UserKnownHostsFile=" + str(box.scratch / "ssh/known_hosts")
    for line in (try_it[0], every_5.split(None, 5)[5]):
        command = line.replace("/.ssh/popips", f"/.ssh/popips {known}").replace("HOST", "192.0.2.1")
        assert in_client(box, *at_client, command).stderr == ""
        assert granted(box) != set()
        box.popips("popips-db", "end", "--all")


@pytest.mark.parametrize("words", [[], ["-x"], ["host", "folder", "more"], ["no.such.host.example"]])
def test_the_clients_script_says_what_is_wrong(box: Box, words: list[str]) -> None:
    done = in_client(box, ROOT / "contrib" / "ssh" / "popips-push", *words)
    is_name = words == ["no.such.host.example"]
    expected = (1, "popips-push: no.such.host.example: no address") if is_name else (64, "usage: ")
    assert (done.returncode, done.stderr[: len(expected[1])]) == expected


def no_hook(box: Box) -> None:
    """Leave the hook out: what is granted comes from the drop folder."""
    stack = box.scratch / "etc" / "pam.d" / "sshd"
    stack.write_text("".join(line for line in stack.read_text().splitlines(True) if "popips-hook" not in line))
