"""The installed programs, as cron, pam_exec, Dovecot and the admin run them."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.box import CRON_ENVIRONMENT
from tests.conftest import Installed

A, SIX, SIX_KEY = "192.0.2.10", "2001:db8::10", "ipv6:2001:db8:0:0:0:0:0:10"
PROGRAMS = ("popips-db", "popips-expire", "popips-hook", "popips-postlogin")


def age(installed: Installed, name: str = A, minutes: float = 60) -> None:
    """Let a stamp be as old as that."""
    then = time.time() - 60 * minutes
    os.utime(installed.site.stamps / name, (then, then))


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_tells_its_usage_and_version(installed: Installed, program: str) -> None:
    told = installed.run(program, "--help", conf=False)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith(f"usage: {program} [")
    assert "-c FILE" in told.stdout
    version = installed.run(program, "--version", conf=False)
    assert (version.returncode, version.stdout) == (0, f"{program} 0.1.0\n")


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_are_roots_and_run_isolated(installed: Installed, program: str) -> None:
    path = installed.path(program)
    assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (0, 0o755)
    in_sh = program in ("popips-hook", "popips-postlogin")
    assert path.read_text().startswith("#!/bin/sh\n" if in_sh else "#!/usr/bin/python3 -IS\n")


def test_all_that_was_installed_is_roots_and_for_no_other_to_write(installed: Installed) -> None:
    for path in installed.programs.rglob("*"):
        assert path.stat().st_uid == 0
        assert not path.stat().st_mode & 0o022, path
    assert (installed.programs / "popips").stat().st_mode & 0o777 == 0o700


# ---- popips-hook


# the option, the phase of PAM, and whether it grants: to the auth phase wrong passwords come, too
PHASES = [
    ("", "auth", False),
    ("", "account", True),
    ("", "open_session", True),
    ("auth", "auth", True),
    ("auth", "account", False),
    ("account", "account", True),
    ("account", "auth", False),
    ("account", "open_session", False),
    ("session", "open_session", True),
    ("session", "close_session", False),
]


@pytest.mark.parametrize(("option", "kind", "acts"), PHASES)
def test_the_hook_acts_in_the_phases_that_only_right_logins_come_to_and_in_the_one_it_is_told(
    installed: Installed, option: str, kind: str, acts: bool
) -> None:
    env = {"PAM_RHOST": A, "PAM_USER": "alice", "PAM_SERVICE": "pop3", "PAM_TYPE": kind}
    done = installed.run("popips-hook", *(["--phase", option] if option else []), env=env)
    assert (done.returncode, done.stdout) == (0, "")
    assert installed.site.records() == ({A: "RELAY"} if acts else {})


def test_a_line_in_the_auth_phase_is_told_once_an_hour(installed: Installed) -> None:
    first = installed.pam(A, PAM_TYPE="auth").stderr
    assert "error: nothing is granted in the auth phase of PAM's service pop3: move its line to the account" in first
    assert "--phase auth" in first
    assert installed.pam(A, PAM_TYPE="auth").stderr == ""
    hour_ago = time.time() - 3601
    os.utime(installed.site.stamps / ".told-phase", (hour_ago, hour_ago))
    assert installed.pam(A, PAM_TYPE="auth").stderr == first
    assert installed.site.names() == set()


@pytest.mark.parametrize("kind", ["close_session", "password", "", "AUTH"])
def test_the_hook_does_nothing_at_other_times(installed: Installed, kind: str) -> None:
    done = installed.pam(A, PAM_TYPE=kind)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert installed.site.names() == set()


@pytest.mark.parametrize("doubled", ["PAM_RHOST", "PAM_TYPE", "PAM_USER"])
def test_the_hook_refuses_a_doubled_variable(installed: Installed, doubled: str) -> None:
    """As pam_env with user_readenv=1 lets a user make it; execve with a list is the only way to have one."""
    environment = ["PAM_RHOST=192.0.2.66", f"PAM_RHOST={A}"] if doubled == "PAM_RHOST" else [f"PAM_RHOST={A}"]
    environment += ["PAM_TYPE=account"] * (1 + (doubled == "PAM_TYPE"))
    environment += ["PAM_USER=alice"] * (1 + (doubled == "PAM_USER"))
    done = exec_with(environment, str(installed.path("popips-hook")), "-c", str(installed.site.conf))
    assert done.returncode == 0
    assert f'reason="{doubled} is there twice"' in done.stderr
    assert (installed.site.names(), installed.site.records()) == (set(), {})


def exec_with(environment: list[str], *argv: str) -> subprocess.CompletedProcess[str]:
    """Run a program with that environment, doubled names and all, which Python's own functions cannot do."""
    program = (
        "import ctypes, signal, sys; signal.signal(signal.SIGPIPE, signal.SIG_DFL);"
        "signal.signal(signal.SIGXFSZ, signal.SIG_DFL); n = sys.argv.index('--');"
        "strings = lambda l: (ctypes.c_char_p * (len(l) + 1))"
        "(*[s.encode() for s in l], None); argv = sys.argv[n + 1:];"
        "ctypes.CDLL(None).execve(argv[0].encode(), strings(argv), strings(sys.argv[1:n]))"
    )
    return subprocess.run([sys.executable, "-c", program, *environment, "--", *argv], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("conf", "told"),
    [
        ("unknown = key\n", "refused: "),
        ("window = 15\n", "refused: "),
        ("\xff\xfe", "refused: "),
        ("map = hash:/no/such/map\n", "deferred: "),
    ],
)
def test_the_hook_lets_a_login_pass_with_a_bad_configuration(installed: Installed, conf: str, told: str) -> None:
    installed.site.conf.write_text(f"stamps = {installed.site.stamps}\n{conf}")
    done = installed.pam(A)
    assert (done.returncode, done.stdout) == (0, "")
    assert told in done.stderr
    assert (str(installed.site.conf) if told == "refused: " else "/no/such/map.db") in done.stderr


def test_the_hook_takes_wrong_arguments_amiss_on_a_terminal_only(installed: Installed) -> None:
    command = [str(installed.path("popips-hook")), "--wrong"]
    for words in (command, [*command[:1], "--phase"], [*command[:1], "--phase", "password"], [*command[:1], "-c"]):
        done = subprocess.run(words, env={"PAM_TYPE": "account", "PAM_RHOST": A}, capture_output=True, text=True)
        assert (done.returncode, "called with wrong arguments" in done.stderr) == (0, True)
    master, slave = pty.openpty()
    try:
        assert subprocess.run(command, env={}, stderr=slave).returncode == 64
        assert os.read(master, 9999).startswith(b"usage: popips-hook")
    finally:
        os.close(master)
        os.close(slave)


def test_the_hook_waits_two_seconds_at_most_for_a_lock(installed: Installed) -> None:
    """A real wait: what is tested is the wait."""
    with installed.site.db.open("r+b") as db:
        fcntl.flock(db, fcntl.LOCK_EX)
        start = time.monotonic()
        done = installed.pam(A)
        assert 1.0 < time.monotonic() - start < 2.0
    assert done.returncode == 0
    assert installed.site.names() == {A}


def test_a_hook_that_hangs_is_left_behind(installed: Installed) -> None:
    """A fifo as the text of popips.conf keeps its reader for ever; the login goes on."""
    settings = installed.site.conf.read_text()
    installed.site.conf.unlink()
    os.mkfifo(installed.site.conf)
    command = [str(installed.path("popips-hook")), "-c", str(installed.site.conf)]
    assert subprocess.run(command, env={"PAM_TYPE": "account"}, timeout=60).returncode == 0
    with installed.site.conf.open("w") as conf:  # let it go
        conf.write(settings)


@pytest.mark.parametrize("right", [True, False])
def test_the_hook_signals_nobody_but_its_own_shell(installed: Installed, right: bool) -> None:
    """Its parent is a server of logins: a SIGUSR1 might end it."""
    parent = ["/bin/sh", "-c", "trap 'echo signalled' USR1; \"$@\"; echo $?", "sh", str(installed.path("popips-hook"))]
    words = ["-c", str(installed.site.conf)] if right else ["--wrong"]
    env = {"PAM_RHOST": A, "PAM_USER": "alice", "PAM_SERVICE": "pop3", "PAM_TYPE": "account"}
    assert subprocess.run([*parent, *words], env=env, capture_output=True, text=True).stdout == "0\n"
    assert installed.site.names() == ({A} if right else set())


def test_the_byte_code_of_another_python_is_no_harm(installed: Installed, tmp_path: Path) -> None:
    """As after an upgrade of Python, until the next `make install`."""
    lib = installed.programs / "lib/popips"
    byte_code = (lib / "popips-hook.pyc").read_bytes()
    (tmp_path / "popips-hook.pyc").write_bytes(b"\0\0" + byte_code[2:])
    (tmp_path / "popips-hook").write_text((lib / "popips-hook").read_text())
    program = tmp_path / "program"
    program.write_text(installed.path("popips-hook").read_text().replace(f"lib={lib}", f"lib={tmp_path}"))
    environment = [f"PAM_RHOST={A}", "PAM_USER=alice", "PAM_TYPE=account"]
    done = exec_with(environment, "/bin/sh", str(program), "-c", str(installed.site.conf))
    assert done.returncode == 0
    assert installed.site.records() == {A: "RELAY"}


# ---- popips-postlogin

SHOW = "import os, sys; os.write(1, open('/proc/self/environ', 'rb').read() + repr(sys.argv[1:]).encode())"


def postlogin(installed: Installed, environment: list[str], *server: str) -> subprocess.CompletedProcess[str]:
    return exec_with(environment, str(installed.path("popips-postlogin")), "-c", str(installed.site.conf), *server)


@pytest.mark.parametrize(
    "odd",
    [
        [],
        ["USERDB_KEYS=NAMESPACE/INBOX/LIST", "NAMESPACE/INBOX/LIST=yes"],
        ["PWD=/nowhere"],
        ["PS1=a\n\nb\n", "IFS=:", "A/B=\n*"],
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
    assert (installed.site.stamps / A).read_text() == f"{A} RELAY\nalice imap popips-postlogin\n"
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
    command = [python, "-X", "importtime", "-IS", f"{launcher}.pyc", "grant", "0", "self", "-c", conf]
    env = {"PAM_TYPE": "account", "PAM_RHOST": A, "PAM_USER": "alice", "PAM_SERVICE": "pop3"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    ours = {name for name in imported if name.partition(".")[0] in ("popips", "pam_hook", "__future__")}
    assert ours == {"pam_hook.hook", "popips.maps.berkeley", "popips.maps.libdb"}
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
    assert "No module named" in done.stderr


def test_postlogin_hands_on_signals_and_descriptors_as_they_were(installed: Installed) -> None:
    program = "grep -E 'Sig(Ign|Blk)' /proc/self/status; ls -l /proc/self/fd | wc -l"
    plain = exec_with([], "/bin/sh", "-c", program).stdout
    assert postlogin(installed, [f"IP={A}"], "/bin/sh", "-c", program).stdout == plain


def test_postlogin_without_a_server_tells_its_usage(installed: Installed) -> None:
    done = postlogin(installed, [f"IP={A}"])
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr.startswith("usage: popips-postlogin")


# ---- popips-expire


def test_expire_is_quiet_and_takes_out_what_is_due(installed: Installed) -> None:
    installed.pam(A)
    installed.pam(SIX)
    age(installed)
    done = installed.run("popips-expire")
    assert (done.returncode, done.stdout) == (0, "")
    assert installed.site.records() == {SIX_KEY: "RELAY"}


def test_expire_tells_what_it_does_or_would_do(installed: Installed) -> None:
    installed.pam(A)
    age(installed)
    where = f"map=hash:{installed.site.db}"
    assert installed.run("popips-expire", "-n").stdout == f"would be removed: address={A} {where}\n"
    assert installed.site.records() == {A: "RELAY"}
    told = installed.run("popips-expire", "-v").stdout
    assert told == f"removed: address={A} {where}\n0 live, 1 due\n"


def test_expire_takes_a_window_of_its_own(installed: Installed) -> None:
    installed.pam(A)
    age(installed, minutes=10)
    installed.run("popips-expire")
    assert installed.site.names() == {A}
    installed.run("popips-expire", "--window", "9m")
    assert installed.site.names() == set()
    wrong = installed.run("popips-expire", "--window", "9")
    assert (wrong.returncode, "s m h or d" in wrong.stderr) == (64, True)


def test_a_second_expirer_leaves_quietly(installed: Installed) -> None:
    installed.pam(A)
    age(installed)
    with (installed.site.stamps / ".expire").open("w") as run:
        fcntl.flock(run, fcntl.LOCK_EX)
        done = installed.run("popips-expire", "-v")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert installed.site.names() == {A}


# ---- popips-db: dialogues, a command and what it must answer

DIALOGUES: list[tuple[str, list[tuple[str, str, int, str, str]]]] = [
    (
        "permanent records",
        [
            ("ins 192.0.2.1 RELAY Example.COM REJECT", "", 0, "", ""),
            ("lst 192.0.2.1 EXAMPLE.com", "", 0, "192.0.2.1\tRELAY\nexample.com\tREJECT\n", ""),
            ("lst --grants", "", 0, "", ""),
            ("lst nix", "", 1, "", "popips-db: nix: no such record in hash:{db}\n"),
            ("del 192.0.2.1 nix", "", 1, "", "popips-db: nix: no such record in hash:{db}\n"),
            ("lst", "", 0, "example.com\tREJECT\n", ""),
        ],
    ),
    (
        "grants",
        [
            ("ins 192.0.2.10 2001:DB8::10", "", 0, "", ""),
            ("lst 2001:db8::10", "", 0, f"{SIX_KEY}\tRELAY\n", ""),
            ("del 2001:db8::10", "", 0, "", ""),
            ("lst", "", 0, "192.0.2.10\tRELAY\n", ""),
            ("ins 127.0.0.1", "", 1, "", "popips-db: 127.0.0.1: refused: in a network of `never`\n"),
            ("lst --grants 2001:db8::10", "", 1, "", "popips-db: 2001:db8::10: no grant\n"),
        ],
    ),
    (
        "IPv6, in whatever form, is put as sendmail asks for it",
        [
            ("ins 2001:DB8::10 REJECT connect:IPv6:2001:db8::11 REJECT ipv6:2001:db8 REJECT", "", 0, "", ""),
            ("lst 2001:db8::10", "", 0, f"{SIX_KEY}\tREJECT\n", ""),
            ("lst 2001:db8:0::11", "", 0, "connect:ipv6:2001:db8:0:0:0:0:0:11\tREJECT\n", ""),
            ("lst ipv6:2001:db8::10", "", 0, f"{SIX_KEY}\tREJECT\n", ""),
            ("lst ipv6:2001:db8", "", 0, "ipv6:2001:db8\tREJECT\n", ""),
            ("ins 2001:db8 REJECT", "", 64, "", "popips-db: 2001:db8: sendmail asks for IPv6 networks by another key"),
            ("del IPv6:2001:db8::10 connect:ipv6:2001:db8::11", "", 0, "", ""),
            ("ins 2001:db8::10", "", 0, "", ""),
            ("del ipv6:2001:db8::10 ipv6:2001:db8", "", 0, "", ""),
            ("lst", "", 0, "", ""),
        ],
    ),
    (
        "standard input",
        [
            ("ins -", "192.0.2.1\tERROR:550 go away\n\nexample.com REJECT\n", 0, "", ""),
            ("lst 192.0.2.1", "", 0, "192.0.2.1\tERROR:550 go away\n", ""),
            ("ins -", "# two\n192.0.2.10\n\nd.example OK\n192.0.2.11\n", 0, "", ""),
            ("del d.example", "", 0, "", ""),
            ("lst -", "192.0.2.10\n192.0.2.11\n", 0, "192.0.2.10\tRELAY\n192.0.2.11\tRELAY\n", ""),
            ("del -", "192.0.2.10\nexample.com\n192.0.2.1\n", 0, "", ""),
            ("lst", "", 0, "192.0.2.11\tRELAY\n", ""),
        ],
    ),
    (
        "mistakes",
        [
            ("", "", 64, "", "usage: popips-db"),
            ("lst --wrong", "", 64, "", "usage: popips-db"),
            ("ins", "", 64, "", "usage: popips-db"),
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
                "popips-db: /no/such.db: there is no such file; is it the right path?",
            ),
            (
                "-m hash:{db}.db lst",
                "",
                66,
                "",
                "popips-db: {db}.db: there is no such file; is it the right path? {db} is",
            ),
            ("-m hash:{conf} lst", "", 66, "", "popips-db: {conf}.db: there is no such file"),
            ("-m btree:{db} lst", "", 65, "", "popips-db: {db}: not a btree file of Berkeley DB; make it: makemap"),
            ("-m btree:/x ins 192.0.2.1", "", 64, "", "popips-db: 192.0.2.1: grants go to the map of {conf}"),
        ],
    ),
]


@pytest.mark.parametrize("dialogue", [turns for _, turns in DIALOGUES], ids=[name for name, _ in DIALOGUES])
def test_dialogues_with_popips_db(installed: Installed, dialogue: list[tuple[str, str, int, str, str]]) -> None:
    names = {"db": str(installed.site.db), "conf": str(installed.site.conf)}
    for command, stdin, status, out, err in dialogue:
        done = installed.run("popips-db", *command.format(**names).split(), stdin=stdin)
        errors = "".join(line for line in done.stderr.splitlines(True) if "cannot log" not in line)
        expected = err.format(**names)
        assert (done.returncode, done.stdout) == (status, out), (command, done)
        assert errors.startswith(expected) if expected else not errors, (command, done)
        assert "Traceback" not in done.stderr


def test_grants_are_listed_with_user_service_last_login_and_time_left(installed: Installed) -> None:
    installed.pam(A, PAM_USER="bob", PAM_SERVICE="imap")
    (installed.site.stamps / SIX).touch()
    age(installed, A, 5)
    age(installed, SIX, 20)
    first, second = installed.run("popips-db", "lst", "--grants").stdout.splitlines()
    name, user, service, last, left = first.split("\t")
    assert (name, user, service) == (A, "bob", "imap")
    assert (
        abs(time.time() - 300 - time.mktime(time.strptime(last + " UTC", "%Y-%m-%dT%H:%M:%SZ %Z")) + time.timezone) < 60
    )
    assert left in ("10m00s", "9m59s", "9m58s", "9m57s", "9m56s", "9m55s")
    assert second.split("\t")[0:3] + second.split("\t")[4:] == [SIX, "-", "-", "due"]


def test_grants_are_listed_as_the_map_has_them(installed: Installed) -> None:
    """One that a rebuild has dropped is pending, and one that the admin overrules is static."""
    installed.pam(A)
    installed.pam(SIX)
    installed.site.build(f"{A} REJECT\n")
    listed = installed.run("popips-db", "lst", "--grants").stdout.splitlines()
    assert [line.split("\t")[::4] for line in listed] == [[A, "static"], [SIX, "pending"]]
    installed.site.db.unlink()
    gone = installed.run("popips-db", "lst", "--grants")
    assert ("there is no such file" in gone.stderr, gone.stdout.count("pending")) == (True, 1)


def test_nobody_but_root_is_told_so(installed: Installed) -> None:
    command = ["setpriv", "--reuid=12345", "--clear-groups", str(installed.path("popips-db")), "lst"]
    done = subprocess.run(command, env=CRON_ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (77, "popips-db: map and stamps are root's: run it as root\n")


def test_making_a_grant_permanent_ends_the_grant(installed: Installed) -> None:
    installed.pam(A)
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


@pytest.mark.parametrize(
    ("program", "words"), [("popips-expire", ()), ("popips-db", ("lst",)), ("popips-db", ("ins", "a", "b"))]
)
def test_a_bad_configuration_is_an_error_with_file_line_and_cure(
    installed: Installed, program: str, words: tuple[str, ...]
) -> None:
    installed.site.conf.write_text("window = 15m\nwindw = 15m\n")
    done = installed.run(program, *words)
    assert done.returncode == 78
    assert f"{program}: {installed.site.conf}:2: unknown key 'windw': the keys are mta, map, stamps, " in done.stderr


@pytest.mark.parametrize("words", [["popips-db", "lst"], ["popips-expire"], ["popips-follow", "--format", "own"]])
def test_a_configuration_that_is_named_must_be_there(installed: Installed, words: list[str]) -> None:
    installed.site.conf.unlink()
    done = installed.run(*words)
    assert (done.returncode, f"{installed.site.conf}: there is no such file" in done.stderr) == (78, True)


def test_a_reader_that_leaves_early_gets_no_traceback(installed: Installed) -> None:
    installed.site.build("".join(f"10.{n // 256}.{n % 256} REJECT\n" for n in range(20000)))
    command = f"{installed.path('popips-db')} -c {installed.site.conf} lst | head -n 1"
    done = subprocess.run(["sh", "-c", command], env=CRON_ENVIRONMENT, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


RENAMES = ("rename", "renameat", "renameat2")
MAKE = ["make", "-s", "-C", str(Path(__file__).parent.parent)]


def test_make_install_stages_into_destdir_and_make_uninstall_leaves_map_and_stamps(tmp_path: Path) -> None:
    make = [*MAKE, f"DESTDIR={tmp_path}", "PREFIX=/usr"]
    shared = {tmp_path / "etc/mail": 0o2755, tmp_path / "usr/sbin": 0o2775}  # as Debian has the first
    for folder, mode in shared.items():
        folder.mkdir(parents=True)
        folder.chmod(mode)
    subprocess.run([*make, "install"], check=True)
    assert {folder: folder.stat().st_mode & 0o7777 for folder in shared} == shared
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert {"usr/sbin/popips-db", "usr/libexec/popips/popips-hook", "usr/share/man/man8/popips-db.8"} <= files
    assert "/usr/lib/popips" in (tmp_path / "usr/sbin/popips-db").read_text()
    assert str(tmp_path) not in (tmp_path / "usr/sbin/popips-db").read_text()
    stack = tmp_path / "etc/pam.d/pop3"
    stack.parent.mkdir(parents=True)
    stack.write_text("account optional pam_exec.so quiet /usr/libexec/popips/popips-hook\n")
    stack.with_suffix(".bak").write_text(stack.read_text())
    cron = tmp_path / "etc/cron.d/popips"
    cron.parent.mkdir()
    cron.write_text("* * * * * root /usr/sbin/popips-expire\n")
    refused = subprocess.run([*make, "uninstall"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert f"refuses every login, and cron has nothing to run: {cron} {stack}\n" in refused.stderr
    stack.write_text("# /usr/libexec/popips/popips-hook was here\n")
    cron.unlink()
    subprocess.run([*make, "uninstall"], check=True)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if "popips" in path.name}
    assert left == {"var/lib/popips"}
    assert (tmp_path / "var/lib/popips/stamps").stat().st_mode & 0o777 == 0o700


def test_all_that_is_installed_names_the_prefix_that_it_was_installed_with(tmp_path: Path) -> None:
    subprocess.run([*MAKE, f"DESTDIR={tmp_path}", "PREFIX=/opt/mail", "install"], check=True)
    texts = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    naming = {path: set(re.findall(r"[\w/.]*/(?:libexec/popips/|sbin/popips-)", path.read_text())) for path in texts}
    assert set().union(*naming.values()) == {"/opt/mail/libexec/popips/", "/opt/mail/sbin/popips-"}
    pages = {path.name for path, names in naming.items() if names}
    assert {"popips-hook.8", "popips-expire.8", "hook.py", "postlogin.py", "popips-expire.service"} <= pages


def test_make_install_renames_each_file_over_the_one_before(tmp_path: Path) -> None:
    """A login that comes meanwhile must never find a program that is missing, empty or half written."""
    make = [*MAKE, f"DESTDIR={tmp_path}", "PREFIX=/usr", "install"]
    subprocess.run(make, check=True)
    traced = ["strace", "-ff", "-qq", "-s", "999", "-e", "trace=/^open|^unlink|^link|trunc|^rename", "-o"]
    subprocess.run([*traced, str(tmp_path / "log"), *make], check=True)
    log = "".join(path.read_text() for path in tmp_path.glob("log.*"))
    calls = re.findall(rf'^(\w+)\((.*"{tmp_path}/.*)\) += \d', log, re.MULTILINE)
    changed = [words for name, words in calls if name not in RENAMES and re.search("O_WRONLY|O_RDWR", words)]
    changed += [words for name, words in calls if "link" in name or "trunc" in name]
    assert [words for words in changed if "/popips" in words and '.new"' not in words] == []
    renamed = {re.findall('"(.*?)"', words)[-1] for name, words in calls if name in RENAMES}
    installed = {str(path) for path in (tmp_path / "usr").rglob("*") if path.is_file()}
    assert {os.path.normpath(path) for path in renamed} == installed
