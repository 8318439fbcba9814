"""popips-db setup on freshly installed Debians: a login opens the relay, and undo brings /etc back to the byte."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.host import build, readme
from tests.host.conftest import Boot
from tests.host.machine import ENVIRONMENT, OTHER_V4, V4, V6, Host
from tests.host.test_main_job import INSTALL, SENDMAIL, STAMPS, follow, let_the_window_pass

PACKAGE, (DRY, APPLY), (DOCTOR,) = readme.blocks("Quick start")
UNDO, PURGE = readme.commands("Remove it")
SETUP = DRY
# Not access.db, which make has built, and in which logins and their ends have moved the records about: what it says is
# looked at by makemap.
FILES = r"""
cd /etc
find . -not -path ./mail/access.db -printf '%p %y %m %u:%g %l\n'
find . -type f -not -path ./mail/access.db -exec sha256sum {} +
[ ! -e mail/access.db ] || makemap -u hash mail/access.db
"""
VAR = "cd /var/lib; find . -path '*popips*' -printf '%p %m %T@\\n'"
UNTIL_FREE = "until flock -n /var/lib/popips/setup/lock true; do sleep 0.1; done"


@dataclass(frozen=True)
class Case:
    layer: str
    options: str = ""
    denied: str = "550"
    hook: str = "popips-postlogin"


CASES = {
    "access": Case("sendmail"),
    "own": Case("sendmail", "--map own"),
    "pam": Case("sendmail", "--hook pam", hook="popips-hook"),
    "postfix": Case("postfix", denied="454"),
    "sendmail-mapd": Case("sendmail", "--map mapd"),
    "postfix-mapd": Case("postfix", "--map mapd", denied="454"),
}
ASKED = "postconf smtpd_relay_restrictions"
LISTED = {  # what the plan names, beside what it says of each file
    "sendmail": ("write /etc/systemd/system/popips-expire.timer", "run systemctl restart dovecot"),
    "postfix": ("write /etc/postfix/main.cf", "run postfix reload", "run systemctl restart dovecot"),
}
KILLED = [CASES["own"], CASES["postfix"]]


def etc(host: Host) -> set[str]:
    """Return all that /etc holds, as lines: kind, mode, owner, and content or where a link leads."""
    return set(host.do(FILES).splitlines())


def everything(host: Host) -> set[str]:
    """Return what /etc and /var/lib hold."""
    return etc(host) | set(host.do(VAR).splitlines())


@contextmanager
def installed(boot: Boot, layer: str) -> Iterator[Host]:
    """Boot a host whose admin has installed popips, and lets others than the host itself talk to sendmail."""
    with boot(layer) as host:
        follow(host, [*INSTALL, *(readme.commands(SENDMAIL) if layer == "sendmail" else [])])
        yield host


@pytest.mark.parametrize("name", CASES)
def test_a_stock_host_is_set_up_and_put_back(boot: Boot, name: str) -> None:
    case = CASES[name]
    with installed(boot, case.layer) as host:
        before = etc(host)
        all_before = everything(host)
        planned = host.do(f"{SETUP} {case.options}")
        assert all(f"\n{line}" in f"\n{planned}" for line in LISTED[case.layer])
        assert everything(host) ^ all_before == set()
        host.do(f"{APPLY} {case.options}")
        logins_open_the_relay(host, case)
        let_the_window_pass(host, V4)
        host.until("run of the timer", lambda: not host.path(f"{STAMPS}/{V4}").exists())
        assert (host.rcpt(V4), host.rcpt(V6)) == (case.denied, "250")
        host.until("end of its run", lambda: host.run("systemctl is-active popips-expire").stdout == "inactive\n")
        done = etc(host)
        assert "nothing to do" in host.do(APPLY)  # it goes by what is there
        assert etc(host) ^ done == set()
        host.do(UNDO)
        assert etc(host) ^ before == set()
        assert host.login("pop3s", V4) == "ok"
        assert (host.rcpt(V4), host.rcpt(V6)) == (case.denied, case.denied)
        assert "nothing to undo" in host.do(UNDO)
        assert host.do("systemctl --failed --no-legend") == ""
        assert host.do("systemctl show -p NeedDaemonReload dovecot") == "NeedDaemonReload=no\n"
        assert not host.path("/var/lib/popips/setup").exists()


@pytest.mark.parametrize("layer", ["sendmail", "postfix"])
def test_the_packages_mapd_has_the_socket_of_this_mta_alone(boot: Boot, release: str, shared: Path, layer: str) -> None:
    """The other one's unit is there as well: a user that it needs is not, and undo knows nothing of it."""
    case = CASES[f"{layer}-mapd"]
    with boot(layer) as host:
        host.copy(build.package(release, shared), "/root/popips/build/popips_0_all.deb")
        follow(host, [line for line in PACKAGE if line != "make deb"])
        follow(host, readme.commands(SENDMAIL) if layer == "sendmail" else [])
        host.run(f"{APPLY} {case.options}")
        logins_open_the_relay(host, case)
        sockets = "systemctl list-units --all --no-legend --plain --state=active,failed 'popips-mapd*'"
        its = "popips-mapd" if layer == "sendmail" else "popips-mapd-postfix"
        assert {line.split()[0] for line in host.do(sockets).splitlines()} == {f"{its}.socket", "popips-mapd.service"}
        host.do(UNDO)
        assert host.do(sockets) == ""


def logins_open_the_relay(host: Host, case: Case) -> None:
    for protocol, source in (("pop3s", V4), ("imaps", V6)):
        assert host.rcpt(source) == case.denied, host.said()
        assert host.login(protocol, source, password="wrong") != "ok"
        assert host.rcpt(source) == case.denied
        assert host.login(protocol, source) == "ok"
        assert host.rcpt(source) == "250", host.said()
    assert host.rcpt(OTHER_V4) == case.denied
    assert [line.split()[0] for line in host.logged(case.hook)] == ["granted:", "granted:"], host.logged()


@pytest.mark.parametrize("layer", ["sendmail", "postfix"])
def test_the_package_is_set_up_and_put_back(boot: Boot, release: str, shared: Path, layer: str) -> None:
    """README alone takes a stock host to a granted login. Its timer is the package's, and is there before and after."""
    deb = build.package(release, shared)
    with boot(layer) as host:
        host.copy(deb, "/root/popips/build/popips_0_all.deb")
        follow(host, [line for line in PACKAGE if line != "make deb"])
        assert host.run("systemctl start popips-expire").returncode == 0
        assert host.logged("popips-expire") == [], "nothing is set up yet"
        before = etc(host)
        assert "enable --now popips-expire.timer" not in host.run(APPLY).stdout
        told = json.loads(host.run(f"{DOCTOR} --json").stdout)["checks"]
        fixes = [
            check["fix"] for check in told if check["id"].startswith("mta.") and check["status"] in ("warn", "fail")
        ]
        assert bool(fixes) == (layer == "sendmail")
        done = etc(host)
        host.do(*fixes)
        mended = etc(host) ^ done
        assert host.do(DOCTOR).startswith("open to logins")
        for source in (V4, V6):  # what Dovecot listens on, the MTA does, too
            assert host.login("imaps", source) == "ok"
            assert host.rcpt(source) == "250", host.said()
        refused = host.run(PURGE)
        assert (refused.returncode, "popips-db setup --undo" in refused.stdout + refused.stderr) == (100, True)
        assert host.login("imaps", V4) == "ok"
        host.do(UNDO)
        # the package has made its settings' file; the journal beside access.db is its timer's
        assert [line for line in (etc(host) ^ before) - mended if ".db.popips" not in line] == []
        assert host.do("systemctl is-enabled popips-expire.timer") == "enabled\n"
        assert host.rcpt(V4) in ("454", "550")
        host.do(PURGE)
        assert host.login("imaps", V4) == "ok"


@pytest.mark.parametrize("case", KILLED, ids=lambda case: case.layer)
def test_a_killed_set_up_is_undone_to_the_byte_or_continued(boot: Boot, case: Case) -> None:
    """At each of its steps, as it says that it begins with it; make, say, goes on after that."""
    with installed(boot, case.layer) as host:
        apply = f"{APPLY} {case.options}"
        before = etc(host)
        steps = host.do(apply).splitlines()
        steps = steps[: max(number for number, line in enumerate(steps) if line.startswith("run ")) + 1]
        whole = etc(host)
        host.do(UNDO)
        assert len(steps) > 8
        for number, step in enumerate(steps):
            killed(host, apply, number)
            host.do(UNTIL_FREE)
            if number % 2:
                host.do(apply)
                assert same(etc(host), whole), step
                assert host.login("pop3s", V4) == "ok"
                host.until("MTA that was restarted again and again", lambda: host.rcpt(V4) == "250")
            host.do(UNDO)
            assert etc(host) ^ before == set(), step
        assert host.login("imaps", V6) == "ok"
        assert host.rcpt(V6) == case.denied


def same(now: set[str], then: set[str]) -> bool:
    """Whether /etc is what a set-up leaves, but for the dates in what sendmail's make has made."""
    dated = ("/mail/sendmail.cf", "/mail/Makefile", "/mail/databases", ".popips")
    return all(line.split()[-1].endswith(dated) for line in now ^ then)


def killed(host: Host, command: str, number: int) -> None:
    """Run a command, and kill it and its children as soon as it has printed so many lines and one."""
    words = ["nsenter", "--target", str(host.pid), "--all", "--wdns=/root", "--", "env", "-i"]
    words += [*(f"{name}={value}" for name, value in ENVIRONMENT.items()), "sh", "-c", f"echo $$; exec {command}"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as its:
        assert its.stdout
        pid = its.stdout.readline().strip()
        for _ in range(number + 1):
            assert its.stdout.readline()
        host.run(f"kill -9 {pid} $(cat /proc/{pid}/task/{pid}/children)")


IN_THE_WAY = """
unit=/etc/systemd/system/popips-expire.service.d  # as popips-expire says, for the timer may run it at any moment
mkdir -p $unit; printf '[Service]\\nReadWritePaths=/etc/stamps\\n' > $unit/stamps.conf; systemctl daemon-reload
install -d -m 0700 /etc/stamps; echo 'stamps = /etc/stamps' >> /etc/popips.conf; popips-expire
"""


@pytest.mark.parametrize("name", ["access", "own", "postfix"])
def test_cures_that_were_pasted_do_not_keep_undo_from_its_work(boot: Boot, name: str) -> None:
    """The lines of the cures stay: where sendmail listens, which folder Dovecot's hooks may write to."""
    case = CASES[name]
    with boot(case.layer) as host:
        follow(host, INSTALL)
        asked = host.do(ASKED) if case.layer == "postfix" else ""
        host.run(f"{APPLY} {case.options}")
        host.do(IN_THE_WAY)
        host.do(f"postconf -e '{asked.strip()}'; postfix reload" if asked else "true")
        cured = paste(host)
        wanted = "mta.asks" if asked else "mta.listens"
        assert {"dovecot.sandbox", wanted} <= cured
        assert host.do(DOCTOR).startswith("open to logins")
        assert host.login("imaps", V4) == "ok"
        assert host.rcpt(V4) == "250"
        told = host.do(UNDO)
        assert ("keep in /etc/mail/sendmail.mc" in told) == (name == "own")
        assert "ReadWritePaths=-/etc/stamps" in host.read("/etc/systemd/system/dovecot.service.d/popips.conf")
        assert not host.path("/etc/dovecot/conf.d/99-popips.conf").exists()
        assert (
            host.run("grep -rl 'drac\\|hash:/var/lib/popips' /etc/mail/sendmail.mc /etc/postfix/main.cf").stdout == ""
        )
        assert asked == (host.do(ASKED) if asked else "")
        assert host.login("imaps", V6) == "ok"
        assert (host.rcpt(V4), host.rcpt(V6)) == (case.denied, case.denied)


def paste(host: Host) -> set[str]:
    """Paste what doctor says until nothing fails; return the ids of the checks that had a cure."""
    cured: set[str] = set()
    for _ in range(3):
        checks = json.loads(host.run(f"{DOCTOR} --json").stdout)["checks"]
        failed = [check for check in checks if check["status"] == "fail"]
        cured |= {check["id"] for check in failed}
        for check in failed:
            host.run(check["fix"])
    return cured


def test_what_somebody_else_has_added_stays(boot: Boot) -> None:
    with installed(boot, "postfix") as host:
        host.do(APPLY, "postconf -e 'message_size_limit = 12345678'", "echo 'window = 20m' >> /etc/popips.conf")
        host.do(UNDO)
        assert host.do("postconf -n message_size_limit", "cat /etc/popips.conf").endswith("= 12345678\nwindow = 20m\n")
        assert "popips" not in host.read("/etc/postfix/main.cf")
        assert (host.login("imaps", V4), host.rcpt(V4)) == ("ok", "454")


def test_a_map_that_gives_way_to_popips_mapd_is_asked_no_more(boot: Boot) -> None:
    with installed(boot, "postfix") as host:
        before = etc(host)
        assert "has not read" not in host.do(APPLY), "doctor looks at once at what was started anew"
        host.do("sed -i -e 's/^ *map *=.*/map = mapd/' -e '/^ *own_map *=/d' /etc/popips.conf", f"{APPLY} --map mapd")
        said = host.do(ASKED)
        assert ("check_client_access" in said, "unix:popips/policy" in said) == (False, True), said
        host.do(f"{UNDO} --force")
        assert etc(host) ^ before == set()


def test_what_somebody_else_has_changed_is_left_to_him(boot: Boot) -> None:
    with installed(boot, "postfix") as host:
        before = etc(host)
        host.do(APPLY, f"postconf -e \"$({ASKED} | sed 's/^/ /; s/permit_mynetworks,* *//; s/^ //')\"; postfix reload")
        changed = etc(host)
        refused = host.run(f"{UNDO} --json")
        assert refused.returncode == 1
        assert "/etc/postfix/main.cf" in refused.stderr
        assert json.loads(refused.stdout)["ok"] is False
        assert etc(host) ^ changed == set()
        assert host.login("imaps", V4) == "ok"
        assert host.rcpt(V4) == "250"
        host.do(f"{UNDO} --force")
        assert etc(host) ^ before == set()
        kept = host.do("cat /var/backups/popips/etc-postfix-main.cf.*")
        assert "\nsmtpd_relay_restrictions = permit_sasl_authenticated" in kept
        assert host.rcpt(V4) == "454"


# what one change has made of /etc
PUT_BACK = """sh -c 'cp -a "$0/." /etc; cd /etc
find . | while read -r path; do [ -e "$0/$path" ] || [ -L "$0/$path" ] || rm -rf "$path"; done'"""
OTHER_SCRIPT = """
service imap {
  executable = imap imap-theirs
}
service imap-theirs {
  executable = script-login /usr/bin/env
  unix_listener imap-theirs {
  }
}
"""
BY_HAND = {  # a host that setup cannot be sure of: how it is made, and what is said
    "sendmail": [
        ("", "--mta postfix", "by hand"),
        ("", "--map own --force", "--force goes with --undo"),
        ("echo 'own_map = yes' >> /etc/popips.conf; echo map = hash:/var/lib/popips/p >> /etc/popips.conf",
         "--map access", "/etc/popips.conf says map"),
        ("echo 'map = hash:/etc/mail/relays' >> /etc/popips.conf", "", "has no map hash:/etc/mail/relays.db"),
        ("echo '# mine' >> /etc/mail/sendmail.cf; echo Kmine hash /etc/mine >> /etc/mail/sendmail.cf", "--map own",
         "is not what /etc/mail/sendmail.mc makes"),
        ("echo 'dnl half an edit' >> /etc/mail/submit.mc", "--map own", "your last edit of /etc/mail/submit.mc"),
        ("echo 'Connect:10.1 REJECT' >> /etc/mail/access", "--map own", "your last edit of /etc/mail/access"),
        ("echo \"define(\\`confLOG_LEVEL', \\`3')dnl\" >> /etc/mail/sendmail.mc", "--map own",
         "is not what /etc/mail/sendmail.mc makes"),
        ("sed -i \"/^MAILER_DEF/i FEATURE(\\`drac', \\`hash /etc/mail/drac')dnl\" /etc/mail/sendmail.mc; "
         "make -C /etc/mail", "--map own", "has another FEATURE(`drac')"),
        ("cp /tmp/other /etc/dovecot/conf.d/95-other.conf", "", "another post-login script for imap"),
        ("echo broken >> /etc/dovecot/dovecot.conf", "", "doveconf"),
        ("sed -i /conf.d/d /etc/dovecot/dovecot.conf", "", "does not include conf.d"),
        ("echo '# theirs' > /etc/dovecot/conf.d/99-popips.conf", "", "not as setup writes it"),
        ("echo 'account required pam_access.so' >> /etc/pam.d/dovecot", "--hook pam", "is not Debian's"),
        ("sed -i 's/^@include common-account/&\\naccount optional pam_exec.so popips-hook/' /etc/pam.d/dovecot",
         "--hook postlogin", "one is enough"),
        ("ln -s /dev/null /etc/systemd/system/popips-expire.timer", "", "masked"),
    ],
    "postfix": [
        ("", "--mta sendmail", "by hand"),
        ("", "--map access", "which map does Postfix ask"),
        ("postmulti -e init; postmulti -I postfix-two -e create", "", "2 instances"),
        ("postconf -e 'smtpd_relay_restrictions = $mine' 'mine = permit_mynetworks, reject_unauth_destination'", "",
         "in front of what refuses strangers"),
        ("postconf -P 'smtp/inet/smtpd_relay_restrictions=permit_mynetworks,reject'", "", "for port 25"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("layer", BY_HAND)
def test_where_it_cannot_be_sure_it_changes_nothing(boot: Boot, layer: str) -> None:
    with installed(boot, layer) as host:
        host.write("/tmp/other", OTHER_SCRIPT)
        for number, (change, options, said) in enumerate(BY_HAND[layer]):
            host.do(f"rm -rf /tmp/kept{number}; cp -a /etc /tmp/kept{number}")
            host.do(change)
            changed = everything(host)
            done = host.run(f"{APPLY} {options}")
            assert said in done.stdout + done.stderr, (change, options, done.stdout, done.stderr)
            assert done.returncode in (1, 64)
            assert everything(host) ^ changed == set()
            host.do(f"{PUT_BACK} /tmp/kept{number}")
        host.do(APPLY)
        assert host.login("imaps", V4) == "ok"
        assert host.rcpt(V4) == "250", host.said()


def test_a_dovecot_that_does_not_come_up_is_put_back_and_started(boot: Boot) -> None:
    """Such a set-up leaves nothing, and logins go on."""
    with installed(boot, "sendmail") as host:
        host.do(
            "mkdir -p /etc/systemd/system/dovecot.service.d",
            # no more than this hook's file keeps it from starting
            "printf '[Service]\nExecStartPre=sh -c \"! grep -r popips- /etc/dovecot\"\n' > "
            "/etc/systemd/system/dovecot.service.d/mine.conf",
            "systemctl daemon-reload",
        )
        before = etc(host)
        for _ in range(3):
            failed = host.run(APPLY)
            assert failed.returncode == 1
            assert "systemctl restart dovecot: status 1" in failed.stderr
            assert etc(host) ^ before == set()
            assert host.login("imaps", V4) == "ok"
            assert host.rcpt(V4) == "550"


def test_a_set_up_by_hand_needs_nothing_more(boot: Boot) -> None:
    with installed(boot, "sendmail") as host:
        follow(host, [*readme.commands("3. The expirer"), *readme.commands("4. A hook at each login")])
        host.do("systemctl start popips-expire")  # its first run, else at any moment by the timer, seals the map
        done = etc(host)
        assert "nothing to do" in host.do(APPLY)
        assert etc(host) ^ done == set()


def test_a_sendmail_for_its_own_host_only_is_named(boot: Boot, release: str) -> None:
    with boot("sendmail") as host:
        follow(host, INSTALL)
        said = json.loads(host.do(f"{SETUP} --json"))
        assert said["schema"] == 1 and said["ok"]
        done = host.run(APPLY)
        assert done.returncode == 1  # doctor has the last word
        assert ("NOT open to logins: " in done.stdout, "mta.listens: sendmail listens on" in done.stdout) == (
            True,
            True,
        )
        assert ("mta.fresh: sendmail does not run" in done.stdout) == (release == "trixie")
        assert host.do("ss -ltnH 'sport = :25'").split()[3:4] == ([] if release == "trixie" else ["127.0.0.1:25"])
