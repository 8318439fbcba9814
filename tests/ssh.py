"""A real sshd with PAM in a box, and real ssh and scp clients in its clients' network."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.box import Box, server_for

GROUP, MEMBERS = "popips", ("alice", "carol")  # carol's account has expired, bob is no member
SSHD = """\
ListenAddress 192.0.2.1
ListenAddress 2001:db8::1
HostKey {folder}/host
PidFile none
UsePAM yes
PasswordAuthentication no
KbdInteractiveAuthentication no
Subsystem sftp internal-sftp
"""
CLIENT = {"BatchMode": "yes", "IdentitiesOnly": "yes", "IdentityAgent": "none", "GlobalKnownHostsFile": "/dev/null"}


def start_sshd(box: Box, more: str = "") -> None:
    """Start sshd with the account phase of contrib/, for users with a key each; more: lines for sshd_config."""
    folder = box.scratch / "ssh"
    folder.mkdir()
    for name in ("host", "alice", "bob", "carol"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name], check=True)
    host_key = (folder / "host.pub").read_text().rpartition(" ")[0]
    (folder / "known_hosts").write_text(f"192.0.2.1,2001:db8::1,mail {host_key}\n")
    etc = box.scratch / "etc"
    for user in ("alice", "bob", "carol"):
        edit(etc / "passwd", user, 6, "/bin/sh")
        authorize(box, user)
    with (etc / "group").open("a") as group:
        group.write(f"{GROUP}:x:999999:{','.join(MEMBERS)}\n")
    write_stack(box)
    (folder / "sshd_config").write_text(SSHD.format(folder=folder) + more)
    box.run(["mkdir", "-p", "-m", "0755", "/run/sshd"])
    box.daemon(["/usr/sbin/sshd", "-D", "-f", folder / "sshd_config"])
    box.until("sshd", lambda: box.listens(22))


def write_stack(box: Box) -> None:
    """Write Debian's own /etc/pam.d/sshd, with the account phase of contrib/."""
    ours = [line for line in box.contrib("pam.d/sshd").splitlines() if not line.startswith("#")]
    kept = [line for line in Path("/etc/pam.d/sshd").read_text().splitlines() if "account" not in line.split("#")[0]]
    pam = box.scratch / "etc" / "pam.d"
    for phase in ("auth", "account", "session", "password"):
        (pam / f"common-{phase}").write_text(Path(f"/etc/pam.d/common-{phase}").read_text())
    (pam / "sshd").write_text("\n".join([*ours, *kept, ""]))


def authorize(box: Box, user: str, options: str = "") -> None:
    """Let the user's key in, with these options in front of it."""
    keys = box.scratch / "mail" / user / ".ssh" / "authorized_keys"
    keys.parent.mkdir(exist_ok=True)
    keys.write_text(f"{options} {(box.scratch / 'ssh' / f'{user}.pub').read_text()}".lstrip())


def ssh(box: Box, source: str, user: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ssh from that address of the clients' network, as the user at the mail host."""
    return in_client(box, "ssh", *options(box, user), "-b", source, f"{user}@{server_for(source)}", *words)


def scp(box: Box, source: str, user: str, local: Path, remote: str) -> subprocess.CompletedProcess[str]:
    there = f"{user}@[{server_for(source)}]:{remote}"
    return in_client(box, "scp", *options(box, user), "-o", f"BindAddress={source}", str(local), there)


def in_client(box: Box, *command: str | Path) -> subprocess.CompletedProcess[str]:
    return box.run(["ip", "netns", "exec", "cli", *command])


def options(box: Box, user: str) -> list[str]:
    """Return the options by which no file of the host's own root is read or written."""
    folder = box.scratch / "ssh"
    settings = CLIENT | {"UserKnownHostsFile": str(folder / "known_hosts")}
    return ["-q", "-F", "none", "-i", str(folder / user), *(f"-o{key}={value}" for key, value in settings.items())]


def edit(path: Path, name: str, field: int, value: str) -> None:
    """Set a field of a line of passwd or shadow, in the same file: a new one would not be seen in the box."""
    lines = [line.split(":") for line in path.read_text().splitlines()]
    for words in lines:
        if words[0] == name:
            words[field] = value
    path.write_text("".join(":".join(words) + "\n" for words in lines))
