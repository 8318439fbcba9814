"""ssh instead of POP3, on a real sshd: members of a group get a grant when they log in, or push their address."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.box import ROOT, Box
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


@pytest.fixture
def dropping(box: Box) -> Box:
    """A host with a drop folder, in which alice has hers."""
    drop = box.scratch / "drop"
    drop.mkdir(mode=0o711)
    box.configure(drop=str(drop))
    start_sshd(box)
    box.run(["install", "-d", "-o", "alice", "-m", "0700", drop / "alice"])
    return box


def key_line(box: Box, program: str) -> str:
    """The options of a line in contrib/ssh/authorized_keys."""
    text = box.contrib("ssh/authorized_keys").replace("/var/lib/popips/drop", f"{box.scratch}/drop")
    (line,) = (line for line in text.splitlines() if program in line and not line.startswith("#"))
    return line.partition(" ssh-ed25519")[0]


def granted(box: Box) -> set[str]:
    (box.stamps / ".lane").unlink(missing_ok=True)
    done = box.popips("popips-expire")
    assert (done.returncode, done.stderr) == (0, "")
    return set(box.records())


@pytest.mark.parametrize(("source", "key"), [(V4, V4), (V6, V6_KEY)])
def test_a_forced_command_drops_the_address_that_sshd_sees(dropping: Box, source: str, key: str) -> None:
    authorize(dropping, "alice", key_line(dropping, "SSH_CONNECTION"))
    no_hook(dropping)
    assert ssh(dropping, source, "alice", "echo", "203.0.113.1").stdout == ""  # not what the client says
    assert granted(dropping) == {key}


@pytest.mark.parametrize("source", [V4, V6])
def test_a_file_that_comes_by_scp_is_taken_up(dropping: Box, tmp_path: Path, source: str) -> None:
    authorize(dropping, "alice", key_line(dropping, "internal-sftp"))
    no_hook(dropping)
    for text, expected in ((OTHER, {OTHER}), ("127.0.0.1", {OTHER}), (V4, {V4})):
        local = dropping.scratch / "address"
        local.write_text(f"{text}\n")
        assert scp(dropping, source, "alice", local, "here").returncode == 0
        assert granted(dropping) == expected
    assert [re.sub(" map=.*", "", line) for line in dropping.logged()] == [
        f"granted: address={OTHER} user=alice service=drop",
        "refused: address=127.0.0.1 user=alice service=drop",
        f"granted: address={V4} user=alice service=drop",
    ]


@pytest.mark.parametrize(("program", "words"), [("SSH_CONNECTION", []), ("internal-sftp", ["."])])
@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "mail"])
def test_the_clients_script_pushes_its_address(dropping: Box, program: str, words: list[str], host: str) -> None:
    authorize(dropping, "alice", key_line(dropping, program))
    no_hook(dropping)
    with (dropping.scratch / "etc" / "hosts").open("a") as hosts:
        hosts.write("192.0.2.1 mail\n")
    script = ROOT / "contrib" / "ssh" / "popips-push"
    push: list[str | Path] = [
        "env",
        f"POPIPS_SSH={' '.join(options(dropping, 'alice'))}",
        script,
        f"alice@{host}",
        *words,
    ]
    assert in_client(dropping, *push).stderr == ""
    (key,) = granted(dropping)
    assert key.startswith("ipv6:2001:db8:" if ":" in host else "192.0.2.1")


@pytest.mark.parametrize("words", [[], ["-x"], ["host", "folder", "more"], ["no.such.host.example"]])
def test_the_clients_script_says_what_is_wrong(box: Box, words: list[str]) -> None:
    done = in_client(box, ROOT / "contrib" / "ssh" / "popips-push", *words)
    expected = (
        (1, "popips-push: no.such.host.example: no address")
        if words[:1] == ["no.such.host.example"]
        else (64, "usage: ")
    )
    assert (done.returncode, done.stderr[: len(expected[1])]) == expected


def no_hook(box: Box) -> None:
    """Leave the hook out: what is granted comes from the drop folder."""
    stack = box.scratch / "etc" / "pam.d" / "sshd"
    stack.write_text("".join(line for line in stack.read_text().splitlines(True) if "popips-hook" not in line))
