"""popips-postlogin, as Dovecot runs it in front of its server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from popips.maps.errors import NO_BINDING
from tests.conftest import Installed, exec_with

A = "192.0.2.10"
SHOW = "import os, sys; os.write(1, open('/proc/self/environ', 'rb').read() + repr(sys.argv[1:]).encode())"


def postlogin(installed: Installed, environment: list[str], *server: str) -> subprocess.CompletedProcess[str]:
    return exec_with(environment, str(installed.path("popips-postlogin")), "-c", str(installed.site.conf), *server)


@pytest.mark.parametrize(
    "odd",
    [
        [],
        ["USERDB_KEYS=NAMESPACE/INBOX/LIST", "NAMESPACE/INBOX/LIST=yes"],
        ["PWD=/nowhere"],
        ["PS1=a\nb", "IFS=:"],
        ["NOTE=a\nb|c", "IFS=:"],
        ["entry=x"],
        ["USERDB_KEYS=IFS UID ", "IFS=:", "UID=1000"],
        ["USERDB_KEYS=UID HOME ", "UID=1000", "HOME=/home/a b", "LOCAL_IP=192.0.2.1"],
        ["conf=/x", "key=y"],
    ],
)
def test_postlogin_becomes_the_server_with_environment_and_arguments_untouched(
    installed: Installed, odd: list[str]
) -> None:
    environment = [f"IP={A}", "USER=alice", "AUTH_TOKEN=secret", "ODD=\x01 = x", "EMPTY=", *odd]
    done = postlogin(installed, environment, sys.executable, "-c", SHOW, "-c", "x y", "")
    handed_on, arguments = done.stdout.rsplit("\0", 1)
    assert (sorted(handed_on.split("\0")), arguments) == (sorted(environment), "['-c', 'x y', '']")
    assert installed.site.records() == {A: "RELAY"}
    assert (installed.site.stamps / A).read_text() == "alice imap popips-postlogin\n"
    assert "secret" not in done.stderr


def test_postlogin_leaves_the_server_no_child(installed: Installed) -> None:
    """It would be there, dead, for as long as the session lasts: no server waits for a child that it has not made."""
    done = postlogin(installed, [f"IP={A}", "USER=alice"], sys.executable, "-c", "import os; os.wait()")
    assert "ChildProcessError" in done.stderr
    assert installed.site.names() == {A}


@pytest.mark.parametrize("ip", ["", "mx.example.test", "127.0.0.1"])
def test_postlogin_becomes_the_server_also_when_nothing_was_granted(installed: Installed, ip: str) -> None:
    done = postlogin(installed, [f"IP={ip}", "USER=alice"], "/bin/echo", "here")
    assert (done.returncode, done.stdout) == (0, "here\n")
    assert "refused: " in done.stderr


def test_what_each_login_needs_is_run_without_the_import_system(installed: Installed) -> None:
    """A module that pack.py does not know to be needed makes each login slower."""
    launcher = installed.programs / "lib/popips/popips-hook"
    python = launcher.read_text().split()[0].removeprefix("#!")
    conf = str(installed.site.conf)
    command = [python, "-X", "importtime", "-IS", f"{launcher}.pyc", "grant", "0", "-", "-c", conf]
    env = {"PAM_TYPE": "account", "PAM_RHOST": A, "PAM_USER": "alice", "PAM_SERVICE": "pop3"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    ours = {name for name in imported if name.partition(".")[0] in ("popips", "pam_hook", "__future__")}
    assert ours == {"popips.maps.database", "popips.maps.in_place", "popips.maps.libdb"}
    assert installed.site.records() == {A: "RELAY"}


def test_postlogin_finds_a_server_by_name_without_a_path(installed: Installed) -> None:
    assert postlogin(installed, [f"IP={A}"], "echo", "here").stdout == "here\n"


def test_postlogin_becomes_the_server_even_if_the_binding_to_berkeley_db_is_gone(
    installed: Installed, tmp_path: Path
) -> None:
    """As after an upgrade of Python that left the binding behind."""
    lib = installed.programs / "lib/popips"
    broken = tmp_path / "popips-postlogin"
    text = (lib / broken.name).read_text().replace("/dist-packages", "/nowhere")
    assert text != (lib / broken.name).read_text()
    broken.write_text(text)
    program = tmp_path / "program"
    program.write_text(installed.path("popips-postlogin").read_text().replace(f"lib={lib}", f"lib={tmp_path}"))
    program.chmod(0o755)
    done = exec_with([f"IP={A}"], str(program), "-c", str(installed.site.conf), "/bin/echo", "here")
    assert (done.returncode, done.stdout) == (0, "here\n")
    assert NO_BINDING in done.stderr


def test_postlogin_hands_on_signals_and_descriptors_as_they_were(installed: Installed) -> None:
    program = "grep -E 'Sig(Ign|Blk)' /proc/self/status; ls -l /proc/self/fd | wc -l"
    plain = exec_with([], "/bin/sh", "-c", program).stdout
    assert postlogin(installed, [f"IP={A}"], "/bin/sh", "-c", program).stdout == plain


def test_postlogin_without_a_server_tells_its_usage(installed: Installed) -> None:
    done = postlogin(installed, [f"IP={A}"])
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr.startswith("usage: popips-postlogin")
