"""What doctor says of Dovecot's files, of a host that is not running: its fixes are pasted on hosts that are."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from popips.doctor import dovecot as doctor_dovecot
from popips.doctor.check import FAIL, OK, SKIP, WARN, Check, Patient
from popips.maps import Place
from popips.probe import dovecot
from popips.probe.machine import Machine
from popips.settings import Settings
from tests.box import ROOT

POSTLOGIN = (ROOT / "contrib/dovecot/postlogin.conf").read_text()
HOOK = "auth requisite pam_unix.so\naccount requisite pam_unix.so\naccount optional pam_exec.so /x/popips-hook\n"
OLD_PAM = "passdb {\n  driver = pam\n  args = %sdovecot\n}\nuserdb {\n  driver = passwd\n}\n"
NEW = "dovecot_config_version = 2.4.1\ndovecot_storage_version = 2.4.1\n"
NEW_PAM = NEW + "passdb pam {\n%s}\nuserdb passwd {\n}\n"
UNIT = "[Service]\nType=notify\nProtectSystem=full\n"
OPENED = "[Service]\nReadWritePaths=/etc/mail -/etc/postfix\n"
OWN = {"map": Place("hash", "/var/lib/popips/popips.db")}
DROP_IN = "systemd/system/dovecot.service.d/popips.conf"


@dataclass(frozen=True)
class Case:
    """A host: conf.d/10.conf behind dovecot.conf's include, PAM's file, other files; and what is found."""

    conf: str
    pam: str = ""
    files: dict[str, str] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=lambda: dict(OWN))
    bad: dict[str, str] = field(default_factory=dict)  # all others are ok
    told: str = ""  # is in what the worst one found


CASES = {
    "post-login in both": Case(POSTLOGIN),
    "post-login of one protocol of two": Case(POSTLOGIN.replace("imap imap-", "imap # imap-"), bad={"hook": FAIL}),
    "post-login of the one protocol that there is": Case(
        "protocols = pop3\n" + POSTLOGIN.replace("imap imap-", "imap # imap-"), settings={**OWN}
    ),
    "protocols as 2.4 has them": Case(
        NEW + "protocols {\n  imap = yes\n  lmtp = yes\n}\n" + POSTLOGIN.replace("pop3 pop3-", "pop3 # pop3-")
    ),
    "post-login without root": Case(POSTLOGIN.replace("  user = root\n", ""), bad={"hook": FAIL}, told="runs as"),
    "nothing": Case("", bad={"hook": FAIL}, told="pop3 and imap"),
    "PAM, 2.3": Case(OLD_PAM % "", HOOK),
    "PAM, 2.4": Case(NEW_PAM % "", HOOK),
    "PAM of another service": Case(
        OLD_PAM % "session=yes %s ", HOOK.replace("/popips-hook", "/true"), bad={"hook": FAIL}
    ),
    "both": Case(OLD_PAM % "" + POSTLOGIN, HOOK, bad={"hook": WARN}, told="twice"),
    "a second passdb": Case(OLD_PAM % "" + "passdb {\n  driver = pam\n  args = %s\n}\n", HOOK, bad={"services": WARN}),
    "the sandbox": Case(
        POSTLOGIN,
        files={"/lib/systemd/system/dovecot.service": UNIT},
        settings={},
        bad={"sandbox": FAIL},
        told="/etc/mail",
    ),
    "the sandbox, opened": Case(
        POSTLOGIN, files={"/lib/systemd/system/dovecot.service": UNIT, f"/etc/{DROP_IN}": OPENED}, settings={}
    ),
    "the sandbox, opened by a package": Case(
        POSTLOGIN, files={"/lib/systemd/system/dovecot.service": UNIT, f"/usr/lib/{DROP_IN}": OPENED}, settings={}
    ),
    "the sandbox, opened, and closed by another file of that name": Case(
        POSTLOGIN,
        files={
            "/lib/systemd/system/dovecot.service": UNIT,
            f"/usr/lib/{DROP_IN}": OPENED,
            f"/etc/{DROP_IN}": "[Service]\n",
        },
        settings={},
        bad={"sandbox": FAIL},
    ),
    "the sandbox, and a map of its own": Case(POSTLOGIN, files={"/lib/systemd/system/dovecot.service": UNIT}),
    "a strict sandbox": Case(
        POSTLOGIN,
        files={"/usr/lib/systemd/system/dovecot.service": UNIT.replace("full", "strict")},
        bad={"sandbox": FAIL},
        told="/var/lib/popips",
    ),
    "a cache, 2.3": Case("auth_cache_size = 1M\n" + OLD_PAM % "cache_key=%u%r ", HOOK, bad={"cache": FAIL}),
    "a cache without a key, 2.3": Case("auth_cache_size = 1M\n" + OLD_PAM % "", HOOK),
    "a cache, 2.4": Case(NEW_PAM % "" + "auth_cache_size = 1M\n", HOOK, bad={"cache": FAIL}),
    "a cache that PAM does not use, 2.4": Case(NEW_PAM % "  use_cache = no\n" + "auth_cache_size = 1M\n", HOOK),
    "a cache, and post-login": Case(NEW_PAM % "" + "auth_cache_size = 1M\n" + POSTLOGIN),
    "anonymous": Case("auth_mechanisms = plain anonymous\n" + POSTLOGIN, bad={"anonymous": WARN}),
    "anonymous, 2.4": Case(
        NEW + "auth_mechanisms {\n  plain = yes\n  anonymous = yes\n}\n" + POSTLOGIN, bad={"anonymous": WARN}
    ),
    "allow_nets": Case(
        OLD_PAM % "" + "passdb {\n  driver = static\n  args = password=secret1 allow_nets=192.0.2.0/24\n}\n",
        HOOK,
        bad={"allow_nets": FAIL},
        told="allow_nets=192.0.2.0/24: it refuses",
    ),
    "nologin": Case(
        OLD_PAM % "  nologin=yes " + "userdb {\n default_fields = nologin=yes\n}\n", HOOK, bad={"allow_nets": FAIL}
    ),
    "allow_nets, 2.4": Case(
        NEW_PAM % "  fields {\n    allow_nets = 192.0.2.0/24\n  }\n", HOOK, bad={"allow_nets": FAIL}
    ),
    "allow_nets, and post-login": Case("passdb {\n  args = allow_nets=192.0.2.0/24\n}\n" + POSTLOGIN),
    "trusted, all": Case("login_trusted_networks = 0.0.0.0/0\n" + POSTLOGIN, bad={"proxies": FAIL}),
    "trusted, some": Case("login_trusted_networks = 10.1.2.0/24\n" + POSTLOGIN, bad={"proxies": WARN}),
    "haproxy, all": Case("haproxy_trusted_networks = 10.0.0.0/8, ::/0\n" + POSTLOGIN, bad={"proxies": FAIL}),
    "only_services without PAM's": Case(
        OLD_PAM % "",
        HOOK,
        settings={**OWN, "only_services": frozenset({"pop3"})},
        bad={"services": FAIL},
        told="dovecot",
    ),
    "only_services of one protocol": Case(
        POSTLOGIN, settings={**OWN, "only_services": frozenset({"pop3"})}, bad={"services": WARN}, told="imap"
    ),
    "only_services of a PAM service for each protocol": Case(
        NEW_PAM % "  service_name = %{protocol}\n",
        files={"/etc/pam.d/pop3": HOOK, "/etc/pam.d/imap": HOOK},
        settings={**OWN, "only_services": frozenset({"pop3", "imap"})},
    ),
}


def look(folder: Path, case: Case) -> dict[str, Check]:
    files = {
        "/etc/dovecot/dovecot.conf": "!include conf.d/*.conf\n!include_try local.conf\n",
        "/etc/dovecot/conf.d/10.conf": case.conf,
        "/var/lib/dpkg/status": "Package: dovecot-core\nStatus: install ok installed\nVersion: 1:2.3.19\n\n",
        **({"/etc/pam.d/dovecot": case.pam} if case.pam else {}),
        **case.files,
    }
    for path, text in files.items():
        where = folder / path.lstrip("/")
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(text)
    settings = Settings().replace(**case.settings)
    patient = Patient(Machine(str(folder)), "/etc/popips.conf", settings, 0.0)
    return {check.id.removeprefix("dovecot."): check for check in doctor_dovecot.look(patient)}


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_told_and_nothing_else(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    checks = look(tmp_path, case)
    assert tuple(checks) == doctor_dovecot.IDS
    bad = {id: check.status for id, check in checks.items() if check.status != OK}
    assert bad == {"fresh": SKIP, **case.bad}
    assert not [check for check in checks.values() if check.status == OK and check.found in ("", check.wanted)]
    for id in case.bad:
        assert case.told in checks[id].found
    said = "".join(text for check in checks.values() for text in vars(check).values())
    assert "secret1" not in said


def test_a_host_without_dovecot_is_not_asked_for_it(tmp_path: Path) -> None:
    patient = Patient(Machine(str(tmp_path)), "/etc/popips.conf", Settings(), 0.0)
    assert {check.status for check in doctor_dovecot.look(patient)} == {SKIP}


READ_AT = {  # a Dovecot that has read its files: when, by the clock; what it listens for; what is found
    "after they were changed": ("1 hour", ("config",), OK, ""),
    "before that": ("1 hour ago", ("config", "pop3-postlogin", "imap-postlogin"), WARN, "conf.d/10.conf as it is now"),
    "before the script came": ("1 hour ago", ("config", "pop3-postlogin"), FAIL, "no service imap-postlogin"),
    "before that, in a network of its own": ("1 hour ago", (), WARN, "conf.d/10.conf as it is now"),
    "nobody knows when": ("", ("config",), OK, ""),
}


@pytest.mark.parametrize("name", READ_AT)
def test_a_dovecot_that_has_not_read_its_files_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    moment, services, status, told = READ_AT[name]
    monkeypatch.setattr(dovecot, "master", lambda machine: 1)
    for folder in ("run/dovecot", "proc/net"):
        (tmp_path / folder).mkdir(parents=True)
    if moment:
        subprocess.run(["touch", "-d", moment, tmp_path / "run/dovecot/config"], check=True)
    lines = (f"0000000000000000: 2 0 00010000 0001 01 1234 /run/dovecot/{service}\n" for service in services)
    (tmp_path / "proc/net/unix").write_text("".join(lines))
    fresh = look(tmp_path, CASES["post-login in both"])["fresh"]
    assert (fresh.status, told in fresh.found) == (status, True), fresh
    assert fresh.fix == ("" if status == OK else "doveadm reload")


MOUNTS = """21 1 0:1 / / rw,relatime shared:1 - overlay o rw
22 21 0:1 /etc /etc ro,relatime shared:2 - overlay o rw
23 22 0:1 /etc/mail /etc/mail rw,relatime shared:3 - overlay o rw
24 21 0:1 /a /srv/a\\040b ro,relatime - ext4 /dev/a rw
25 21 0:1 /v /var rw,relatime - ext4 /dev/a rw
26 21 0:1 /v /var ro,relatime - ext4 /dev/a rw
"""


@pytest.mark.parametrize(
    ("folder", "closed"),
    [
        ("/etc/mail", False),
        ("/etc/mail/sub", False),
        ("/etc/mailman", True),
        ("/etc", True),
        ("/srv/a b/c", True),
        ("/srv/a", False),
        ("/var/lib", True),  # the mount on top is the one that counts
    ],
)
def test_the_innermost_mount_tells_who_may_write(tmp_path: Path, folder: str, closed: bool) -> None:
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/7/mountinfo").write_text(MOUNTS)
    assert dovecot.is_read_only(Machine(str(tmp_path)), 7, folder) == closed
