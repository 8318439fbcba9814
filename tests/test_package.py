"""The Debian package, as far as it needs no booted host: built, looked at, installed and removed in a root."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import popips
from tests.box import ROOT
from tests.host import roots
from tests.host.build import Root, build, package

SCRIPTS = ("postinst", "prerm", "postrm")


@pytest.fixture(scope="module", params=roots.RELEASES)
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Iterator[Root]:
    """A root that has the package as /popips.deb."""
    with Root(request.param, tmp_path_factory.mktemp("package")) as made:
        shutil.copy(package(request.param, shared), made.inside("/popips.deb"))
        yield made


MAKE_MAP = """
mkdir -p /etc/mail
python3 -c 'import bsddb3; bsddb3.hashopen("/etc/mail/access.db", "n")[b"192.0.2"] = b"REJECT"'
"""
INSTALL = f"""
export DEBIAN_FRONTEND=noninteractive
apt-get -q -y --no-download install python3-bsddb3
{MAKE_MAP}
dpkg -i /popips.deb
"""
KEYS = """
python3 -c 'import bsddb3, sys
for path in sys.argv[1:]:
    print(*map(bytes.decode, bsddb3.hashopen(path, "r").keys()))' $(find /etc/mail /var/lib/popips -name '*.db')
"""
ALL_FILES = (
    "find /etc /usr /var /opt /srv -not -path '/var/lib/dpkg*' -not -path '/var/log*' -not -path '/var/cache*' | sort"
)


@pytest.fixture
def installed(root: Root) -> Iterator[Root]:
    """Return that root with the package installed, and a map."""
    root.do(INSTALL)
    yield root
    root.do("dpkg -P popips; rm -rf /etc/mail")


# ---- what is built


def test_the_same_files_make_the_same_package_wherever_and_whenever(root: Root) -> None:
    other = "/tmp/an other folder"
    root.do(
        f"mkdir '{other}'; cp -R /src '{other}/src'; cd '{other}/src'\n"
        "chmod -R go= .; find . -exec touch -d 2001-02-03 '{}' +\n"
        "umask 077; export TZ=Pacific/Auckland LC_ALL=C.UTF-8; make -s deb; cmp build/popips_*.deb /popips.deb"
    )


def test_lintian_finds_nothing(root: Root) -> None:
    build(root)
    said = root.run("lintian --info --fail-on none /tmp/popips/build/deb/*.changes").stdout
    found = re.findall(r"^[EW]: .*$", said, re.MULTILINE)
    assert [line for line in found if "initial-upload-closes-no-bugs" not in line] == []


MODES = {
    "etc/popips.conf": "-rw-r--r--",
    "etc/cron.d/popips": "-rw-r--r--",
    "usr/sbin/popips-db": "-rwxr-xr-x",
    "usr/sbin/popips-expire": "-rwxr-xr-x",
    "usr/sbin/popips-follow": "-rwxr-xr-x",
    "usr/sbin/popips-mapd": "-rwxr-xr-x",
    "usr/sbin/popips-share": "-rwxr-xr-x",
    "usr/libexec/popips/popips-hook": "-rwxr-xr-x",
    "usr/libexec/popips/popips-postlogin": "-rwxr-xr-x",
    "usr/lib/popips/popips-hook": "-rwxr-xr-x",
    "usr/lib/popips/popips-postlogin": "-rwxr-xr-x",
    "usr/share/python3/runtime.d/popips.rtupdate": "-rwxr-xr-x",
}


def test_it_holds_its_own_files_and_nobody_elses(root: Root) -> None:
    listed = [line.split(None, 5) for line in root.do("dpkg-deb -c /popips.deb").splitlines()]
    assert {owner for _, owner, *_ in listed} == {"root/root"}
    modes = {path.removeprefix("./"): mode for mode, *_, path in listed if mode[0] != "d"}
    executable = {path: mode for path, mode in modes.items() if "x" in mode}
    assert executable | {path: "-rw-r--r--" for path in modes if path not in executable} == modes
    assert {path: modes.get(path) for path in MODES} == MODES
    assert set(executable) <= set(MODES)
    own = r"etc/popips\.conf|etc/cron\.d/popips"
    own += r"|(usr/)?lib/systemd/system/popips-(expire|mapd(-postfix)?|share)\.(service|socket|timer)"
    own += r"|usr/lib/sysusers\.d/popips-share\.conf"
    own += r"|usr/sbin/popips-\w+|usr/(lib|libexec|share/doc)/popips/.*|usr/share/man/man\d/popips[\w.-]*\.gz"
    own += r"|usr/share/(bash-completion/completions/|zsh/vendor-completions/_)popips-\w+"
    own += r"|usr/share/(python3/runtime\.d/popips\.rtupdate|lintian/overrides/popips)"
    assert [path for path in modes if not re.fullmatch(own, path)] == []
    assert [path for path in modes if path.endswith(".pyc")] == []


def test_its_files_name_the_programs_where_they_are(root: Root) -> None:
    root.do("rm -rf /tmp/unpacked; dpkg-deb -x /popips.deb /tmp/unpacked; gunzip -r /tmp/unpacked/usr/share")
    assert root.run("grep -rE '/usr/local/(s?bin|lib|libexec)/popips' /tmp/unpacked").stdout == ""
    line = root.do("tail -n 1 /tmp/unpacked/etc/cron.d/popips")
    guard = "[ -d /run/systemd/system ] || [ ! -x /usr/sbin/popips-expire ] || /usr/sbin/popips-expire\n"
    assert line == f"* * * * * root {guard}"
    unit = root.do("cat $(find /tmp/unpacked -name popips-expire.service)")
    assert "\nExecStart=/usr/sbin/popips-expire\n" in unit


def test_its_version_is_that_of_the_programs() -> None:
    changelog = (ROOT / "debian/changelog").read_text()
    assert changelog.startswith(f"popips ({popips.__version__}) ")


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_maintainer_scripts_are_plain_sh(script: str) -> None:
    path = ROOT / f"debian/popips.{script}"
    assert path.read_text().startswith("#!/bin/sh\nset -e\n")
    assert subprocess.run(["sh", "-n", path], capture_output=True).stderr == b""


# ---- what its scripts do


def test_an_installation_is_ready_for_the_first_login(installed: Root) -> None:
    made = {
        "/var/lib/popips": "drwxr-xr-x",
        "/var/lib/popips/stamps": "drwx------",
        "/etc/popips.conf.lane": "lrwxrwxrwx",
    }
    for path, mode in made.items():
        assert installed.do(f"stat -c '%A %U:%G' {path}") == f"{mode} root:root\n"
    assert installed.do("readlink /etc/popips.conf.lane") == "/var/lib/popips/stamps/.lane\n"
    installed.do("test -s /etc/popips.conf.lane; test -e /var/lib/popips/stamps/.alive")  # the first run was
    version = popips.__version__
    for program in ("popips-hook", "popips-postlogin"):
        pack = f"/usr/lib/popips/{program}.pyc"
        assert installed.do(f"stat -c '%A %U:%G' {pack}") == "-rw-r--r-- root:root\n"
        assert installed.do(f"/usr/bin/python3 -IS {pack} usage --version") == f"{program} {version}\n"


def test_another_python_gets_byte_code_of_its_own(installed: Root) -> None:
    pack = "/usr/lib/popips/popips-hook.pyc"
    installed.do(f"echo old > {pack}; dpkg-trigger --by-package=dpkg /usr/bin/python3; dpkg --triggers-only --pending")
    installed.do(f"/usr/bin/python3 -IS {pack} usage --version")


def test_it_can_be_installed_before_there_is_any_map(installed: Root) -> None:
    installed.do("dpkg -P popips; rm -r /etc/mail; dpkg -i /popips.deb; test -L /etc/popips.conf.lane")


PROGRAMS = ("libexec/popips/popips-hook", "libexec/popips/popips-postlogin", "sbin/popips-follow")
OWN = "own_map = yes\\nmap = hash:/var/lib/popips/popips"
HOOK = "executable = script-login /usr/libexec/popips/popips-postlogin"
# what keeps the package, and what does not: a file, a line in it, and what popips.conf says
IN_USE = [
    ("/etc/dovecot/conf.d/99-popips.conf", HOOK, ""),
    ("/etc/pam.d/dovecot", "account optional pam_exec.so quiet /usr/libexec/popips/popips-hook", ""),
    ("/etc/systemd/system/popips-follow.service", "ExecStart=/usr/sbin/popips-follow --format courier", ""),
    ("/etc/cron.d/second", "* * * * * root /usr/sbin/popips-expire -c /etc/second.conf", ""),
    ("/etc/postfix/main.cf", "    check_client_access hash:/var/lib/popips/popips,", OWN),
    ("/etc/mail/sendmail.mc", "FEATURE(`drac', `hash -o /var/lib/popips/popips.db')dnl", OWN),
    ("/etc/mail/sendmail.cf", "Kpopips hash -o /var/lib/popips/popips.db", OWN),
    ("/etc/popips.conf", "window = ever", ""),
]
NOT_IN_USE = [
    ("/etc/dovecot/conf.d/99-popips.conf", f"# {HOOK}", ""),
    ("/etc/dovecot/conf.d/99-popips.conf.bak", HOOK, ""),
    ("/etc/postfix/main.cf", "# check_client_access hash:/var/lib/popips/popips,", OWN),
    ("/etc/postfix/main.cf", "    check_client_access hash:/var/lib/other/popips,", OWN),
    ("/etc/mail/sendmail.mc", "dnl FEATURE(`drac', `hash -o /var/lib/popips/popips.db')dnl", OWN),
    ("/etc/mail/sendmail.mc", "FEATURE(`access_db', `hash -T<TMPF> /etc/mail/access.db')dnl", ""),
]


def write(root: Root, path: str, line: str, conf: str) -> None:
    root.do(f"printf '{conf}\\n' > /etc/popips.conf; mkdir -p {Path(path).parent}")
    with root.inside(path).open("a") as file:
        file.write(f"{line}\n")


def test_it_is_not_removed_while_it_is_in_use(installed: Root) -> None:
    installed.do("popips-db ins 203.0.113.10")
    for path, line, conf in IN_USE:
        write(installed, path, line, conf)
        refused = installed.run("dpkg -r popips")
        assert refused.returncode == 1, path
        assert "popips: not removed: " in refused.stderr and path in refused.stderr, (path, refused.stderr)
        installed.do(f"rm {path}; : > /etc/popips.conf; popips-expire; popips-db why 203.0.113.10")  # its grant goes on


# lines for the programs of `make install`, as they stand in the clone's contrib
OF_USR_LOCAL = [
    ("/etc/dovecot/conf.d/99-popips.conf", HOOK.replace("/usr/", "/usr/local/")),
    ("/etc/pam.d/dovecot", "account optional pam_exec.so quiet /usr/local/libexec/popips/popips-hook"),
    ("/etc/systemd/system/popips-follow.service", "ExecStart=/usr/local/sbin/popips-follow --format courier"),
]


def test_a_line_for_a_program_that_was_never_installed_keeps_it(installed: Root) -> None:
    for path, line in OF_USR_LOCAL:
        write(installed, path, line, "")
        refused = installed.run("dpkg -r popips")
        assert refused.returncode == 1, path
        assert "take its lines out of these" in refused.stderr and path in refused.stderr, (path, refused.stderr)
        installed.do(f"rm {path}")


def test_a_line_for_a_program_of_make_install_does_not_keep_it(installed: Root) -> None:
    programs = " ".join(f"/usr/local/{program}" for program in PROGRAMS)
    installed.do(f"mkdir -p /usr/local/libexec/popips; touch {programs}")
    for path, line in OF_USR_LOCAL:
        write(installed, path, line, "")
        done = installed.run(f"dpkg -r popips; rm {path}; dpkg -i /popips.deb")
        assert done.returncode == 0, (path, done)
    installed.do(f"rm {programs}; rmdir /usr/local/libexec/popips")


def test_it_is_not_removed_while_a_follower_grants(installed: Root) -> None:
    refused = installed.run(
        "mkfifo /tmp/log; popips-follow --format courier < /tmp/log & exec 3> /tmp/log; dpkg -r popips"
    )
    assert refused.returncode == 1
    assert "popips-follow still grants: stop process" in refused.stderr


def test_a_purge_keeps_what_is_not_its_own(installed: Root) -> None:
    text = "/etc/mail/popips"
    installed.do(
        f"echo 192.0.2.1 REJECT > {text}; printf '{OWN.replace('/var/lib/popips', '/etc/mail')}\\n' > /etc/popips.conf"
    )
    installed.do(
        "mkdir -p /usr/local/sbin; touch /usr/local/sbin/popips-expire; dpkg -P popips"
    )  # by make install, too
    kept = installed.do(
        f"cat {text}; ls -d /var/lib/popips/stamps; rm -r /usr/local/sbin/popips-expire /var/lib/popips"
    )
    assert kept == "192.0.2.1 REJECT\n/var/lib/popips/stamps\n"


def test_it_is_removed_where_it_is_not_in_use(installed: Root) -> None:
    for path, line, conf in NOT_IN_USE:
        write(installed, path, line, conf)
        done = installed.run(f"dpkg -r popips; rm {path}; dpkg -i /popips.deb")
        assert done.returncode == 0, (path, done)


SAYS_MAKEMAP = {  # where the package is installed, and whether it names sendmail's map and how to make it
    "nothing is set": ("true", False),
    "sendmail and its map": (MAKE_MAP, False),
    "sendmail": ("mkdir -p /etc/mail; touch /etc/mail/sendmail.cf", True),
    "settings": ("mkdir -p /etc/mail; echo 'window = 5m' > /etc/popips.conf", True),
    "settings, and no folder for the map": ("echo 'window = 5m' > /etc/popips.conf", False),
}


@pytest.mark.parametrize("where", SAYS_MAKEMAP)
def test_the_install_speaks_of_sendmails_map_only_where_that_is_asked(root: Root, where: str) -> None:
    make, says = SAYS_MAKEMAP[where]
    root.do(f"apt-get -q -y --no-download install python3-bsddb3; {make}")
    said = root.run("dpkg -i --force-confold /popips.deb").stderr
    root.do("dpkg -P popips; rm -rf /etc/mail /etc/popips.conf")
    assert ("makemap" in said, "popips-db setup says" in said) == (says, True), said


def test_a_run_is_silent_until_somebody_sets_something_up(root: Root) -> None:
    root.do("apt-get -q -y --no-download install python3-bsddb3; dpkg -i /popips.deb")
    stamp = "/var/lib/popips/stamps/203.0.113.10"
    lines = ("popips-expire", f"touch {stamp}; popips-expire", f"rm {stamp}; popips-expire")
    runs = [root.run(line) for line in lines]
    root.do("dpkg -P popips")
    assert [done.returncode for done in runs] == [66] * 3
    assert "/etc/mail/access.db" in runs[1].stderr
    assert runs[0].stderr + runs[2].stderr == ""


def test_a_purge_takes_the_journals_of_maps_that_were_named_once(installed: Root) -> None:
    installed.do(
        "mkdir /srv/map; cp /etc/mail/access.db /srv/map/old.db; echo map = hash:/srv/map/old > /etc/popips.conf\n"
        "popips-expire; popips-db ins 203.0.113.10; ls /srv/map/old.db.popips; : > /etc/popips.conf; popips-expire\n"
        "dpkg -P popips"
    )
    assert installed.do("ls /srv/map; rm -r /srv/map") == "old.db\n"


@pytest.mark.parametrize("conf", ["", OWN, OWN.replace("/var/lib/popips", "/etc/mail")], ids=["access", "own", "else"])
def test_removal_ends_all_grants_and_purge_leaves_nothing(installed: Root, conf: str) -> None:
    installed.do("dpkg -P popips")
    before = installed.do(ALL_FILES)
    assert "/popips" not in before
    installed.do(f"dpkg -i /popips.deb; printf '{conf}\\n' > /etc/popips.conf; popips-expire")
    installed.do("popips-db ins 203.0.113.10 2001:db8::10")
    assert "203.0.113.10" in installed.do(KEYS)
    installed.do("dpkg -r popips")
    assert installed.do(KEYS).split() == ["192.0.2"]
    left = installed.do("find /var/lib/popips/stamps /usr -type f -path '*popips*' -not -path '*/.*'")
    assert left == ""
    installed.do("eval \"$(sed -n 's/^\\* \\* \\* \\* \\* root //p' /etc/cron.d/popips)\"")  # which cron still has
    installed.do("dpkg -P popips")
    assert installed.do(ALL_FILES) == before
