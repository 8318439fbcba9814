"""doctor on booted hosts: each mistake on the way of a login is found, and what doctor says to paste mends it."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from popips.doctor.login import CLIENTS, IDS
from tests.host.conftest import Boot
from tests.host.machine import PASSWORD, SERVER_V4, SERVER_V6, Host
from tests.host.test_main_job import INSTALL, SETUPS, follow

CONFD = "/etc/dovecot/conf.d"
OLD_AUTH = f"{CONFD}/auth-system.conf.ext"
RESTART = "systemctl restart dovecot"
DROP_IN = "/etc/systemd/system/dovecot.service.d/popips.conf"


@dataclass(frozen=True)
class Mistake:
    """What an admin does wrong, by commands, and how doctor's check of that id calls it."""

    id: str
    commands: str
    status: str = "fail"
    only: str = ""  # a release
    after: str = ""  # brings back what the mistake took away besides


LINE = "optional pam_exec.so quiet /usr/local/libexec/popips/popips-hook"
PAM = "/etc/pam.d/dovecot"
ADD = f"echo 'account {LINE}' >> {PAM}"
CACHE = f"echo 'auth_cache_size = 1M' > {CONFD}/50-cache.conf; {RESTART}"
NETS = "userdb {\\n  driver = static\\n  default_fields = allow_nets=192.0.2.0/24\\n}\\n"
AFTER_POSTLOGIN = [
    Mistake("dovecot.sandbox", f"rm /etc/systemd/system/dovecot.service.d/*; systemctl daemon-reload; {RESTART}"),
    Mistake(
        "dovecot.sandbox", f"mv {DROP_IN} /root; systemctl daemon-reload; {RESTART}; mv /root/popips.conf {DROP_IN}"
    ),
    Mistake("dovecot.hook", "systemctl stop dovecot"),
    Mistake("dovecot.hook", f"rm {CONFD}/99-popips.conf; {RESTART}"),
    Mistake("dovecot.hook", f"sed -i 's/imap imap-postlogin/imap/' {CONFD}/99-popips.conf; {RESTART}"),
    Mistake("dovecot.hook", f"sed -i '/user = root/d' {CONFD}/99-popips.conf; {RESTART}"),
    Mistake("dovecot.hook", f"echo 'account {LINE}' >> {PAM}", "warn"),
    Mistake("dovecot.hook", f"echo 'service imap {{' > {CONFD}/98-broken.conf", after=f"rm {CONFD}/98-broken.conf"),
    Mistake("dovecot.anonymous", f"echo 'auth_mechanisms = plain anonymous' > {CONFD}/50-a.conf; {RESTART}", "warn"),
    Mistake("dovecot.proxies", f"echo 'login_trusted_networks = 0.0.0.0/0' > {CONFD}/50-t.conf; {RESTART}"),
    Mistake("dovecot.services", "echo 'only_services = pop3' >> /etc/popips.conf", "warn"),
]
SECOND = "passdb {\\n  driver = pam\\n  args = %%s\\n}\\n"  # of two passdbs of PAM the first one has the last word
BY_PROTOCOL = "passdb pam {\\n  service_name = %%{protocol}\\n}\\n"  # services that have no file here, and so no hook
NEW_NETS = "passdb pam {\\n  fields {\\n    allow_nets = 192.0.2.0/24\\n  }\\n}\\n"
NOLOGIN = "  default_fields = nologin=yes"
AFTER_PAM = [
    Mistake("pam.dovecot", f"sed -i '/popips-hook/d; 1i auth {LINE}' {PAM}"),
    Mistake("pam.dovecot", f"sed -i '/popips-hook/d; 1i auth {LINE} --phase auth' {PAM}"),
    Mistake("pam.dovecot", f"sed -i '/popips-hook/d; 1i account {LINE}' {PAM}"),
    Mistake(
        "pam.dovecot", f"sed -i '/popips-hook/d; s/^@include common-account/account required pam_unix.so/' {PAM}; {ADD}"
    ),
    Mistake("pam.dovecot", f"sed -i '/popips-hook/d' {PAM}; echo 'session {LINE}' >> {PAM}"),
    Mistake("pam.dovecot", f"sed -i '1i @include not-there' {PAM}"),
    Mistake("dovecot.cache", CACHE, only="trixie"),
    Mistake("dovecot.cache", f"sed -i 's/#args = d/args = cache_key=%u d/' {OLD_AUTH}; {CACHE}", only="bookworm"),
    Mistake("dovecot.services", "echo 'only_services = pop3 imap' >> /etc/popips.conf"),
    Mistake("dovecot.services", f"printf '{SECOND}' > {CONFD}/50-second.conf; {RESTART}", "warn", only="bookworm"),
]
# What only the post-login script is a cure for, so each of these has a host of its own.
AFTER_PAM_FOR_GOOD = {
    "nets": [
        Mistake("dovecot.allow_nets", f"printf '{NETS}' >> {OLD_AUTH}; {RESTART}", only="bookworm"),
        Mistake("dovecot.allow_nets", f"printf '{NEW_NETS}' > {CONFD}/50-nets.conf; {RESTART}", only="trixie"),
    ],
    "nologin": [
        Mistake(
            "dovecot.allow_nets", f"sed -i '0,/driver = pam/s//&\\n{NOLOGIN}/' {OLD_AUTH}; {RESTART}", only="bookworm"
        ),
        Mistake("dovecot.hook", f"printf '{BY_PROTOCOL}' > {CONFD}/50-service.conf; {RESTART}", only="trixie"),
    ],
}


@pytest.mark.parametrize(
    ("setup", "mistakes"),
    [("access", AFTER_POSTLOGIN), ("pam", AFTER_PAM), *(("pam", each) for each in AFTER_PAM_FOR_GOOD.values())],
    ids=["postlogin", "pam", *AFTER_PAM_FOR_GOOD],
)
def test_each_mistake_is_found_and_mended_by_what_is_pasted(
    boot: Boot, release: str, setup: str, mistakes: list[Mistake]
) -> None:
    with boot("sendmail") as host:
        follow(host, [*INSTALL, *SETUPS[setup].commands])
        host.do("touch /etc/popips.conf")
        bad = {id: check for id, check in told(host).items() if check["status"] in ("fail", "warn")}
        assert not {id for id in bad if id.startswith(("dovecot", "pam"))}, bad
        for one in mistakes:
            if one.only in ("", release):
                host.do("systemctl reset-failed dovecot", one.commands)  # it counts how often it was started
                check = told(host)[one.id]
                assert check["status"] == one.status, (one, check)
                host.do(one.after or check["fix"])
                assert told(host)[one.id]["status"] == "ok", (one, check, told(host)[one.id])


LOGIN = "popips-db doctor --json --only login --login alice"


@pytest.mark.parametrize("setup", ["access", "pam"])
def test_a_real_login_shows_that_all_of_it_works(boot: Boot, setup: str) -> None:
    with boot("sendmail") as host:
        follow(host, [*INSTALL, *SETUPS[setup].commands])
        done = host.run(LOGIN, stdin=f"{PASSWORD}\n")
        assert PASSWORD not in done.stdout + done.stderr
        checks = {check["id"]: check for check in json.loads(done.stdout)["checks"]}
        assert {id: check["status"] for id, check in checks.items()} == dict.fromkeys(IDS, "ok"), checks
        assert host.do("popips-db lst --grants") == ""
        wrong = json.loads(host.run(LOGIN, stdin="no such password\n").stdout)
        assert {check["id"] for check in wrong["checks"] if check["status"] == "fail"} >= {"login.right", "login.grant"}
        assert PASSWORD not in host.said()


ODD = 'grün "und" \\ 5 % $x'


@pytest.mark.parametrize("setup", ["access", "pam"])
def test_an_odd_password_is_taken_and_the_records_of_others_are_left_alone(boot: Boot, setup: str) -> None:
    with boot("sendmail") as host:
        follow(host, [*INSTALL, *SETUPS[setup].commands])
        host.run("chpasswd", stdin=f"alice:{ODD}\n")
        taken = SERVER_V4 if setup == "access" else CLIENTS[0]
        host.do(f"popips-db ins {taken} REJECT")  # a record of the admin's, which no login overwrites
        checks = {check["id"]: check for check in json.loads(host.run(LOGIN, stdin=f"{ODD}\n").stdout)["checks"]}
        assert {id: check["status"] for id, check in checks.items()} == dict.fromkeys(IDS, "ok"), checks
        assert taken not in checks["login.right"]["found"]
        assert host.do(f"popips-db lst {taken}") != ""
        others = [SERVER_V6] if setup == "access" else CLIENTS[1:]
        host.do(f"popips-db ins {' '.join(f'{other} REJECT' for other in others)}")
        done = host.run(LOGIN, stdin=f"{ODD}\n")
        assert done.returncode == 64 and "would get no new grant" in done.stderr + done.stdout, done


def told(host: Host) -> dict[str, dict[str, str]]:
    """Return doctor's checks by their ids."""
    done = host.run("popips-db doctor --json")
    assert done.stdout, done.stderr
    return {check["id"]: check for check in json.loads(done.stdout)["checks"]}
