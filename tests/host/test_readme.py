"""What the docs say beside the main job: seen by hand, cron, PAM services, removal, and what the commands show."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.host import readme
from tests.host.conftest import Boot
from tests.host.machine import OTHER_V4, PASSWORD, SERVER_V4, USER, V4, V6, Host
from tests.host.test_main_job import EXPIRER, HOOK, INSTALL, SENDMAIL, SETUPS, STAMPS, follow, let_the_window_pass

(LOGIN, ASK), LOOK = readme.blocks("See it work")
PAM, PAM_SERVICES, PAM_2_4, PAM_2_3 = readme.blocks("PAM")
ASKS_SERVICES = {"bookworm": PAM_2_3, "trixie": PAM_2_4}
NO_POSTLOGIN, NO_PAM, NO_PAM_SERVICES, DOVECOT = readme.blocks("Out of Dovecot")
NO_SENDMAIL, NO_POSTFIX = readme.blocks("Out of the MTA")
_, NO_TIMER, NO_CRON, PROGRAMS, LEFT = readme.blocks("Out of the system")
KACCESS, LISTENS, RESTRICTIONS = "grep '^Kaccess' ", "ss -ltn ", "postconf smtpd_relay_restrictions"
SHOWN = {  # what README says that a command shows
    KACCESS: "Kaccess hash -T<TMPF> /etc/mail/access",
    LISTENS: "*:25",
    RESTRICTIONS: "permit_mynetworks permit_sasl_authenticated defer_unauth_destination",
}
SERVERS = "/etc/mail/sendmail.cf /etc/postfix/main.cf /etc/dovecot /etc/pam.d /etc/cron.d"
NAMING = f"grep -rlE '^[^#]*(/var/lib/popips|popips-)' {SERVERS}"
UNREAD = "systemctl show -p NeedDaemonReload dovecot"
FILES = "find /etc /usr /var -path '*popips*' -not -path '/var/log/*'"


def test_cron_takes_the_place_of_the_timer(boot: Boot) -> None:
    with boot("sendmail") as host:
        follow(host, [*INSTALL, *readme.commands(SENDMAIL), *readme.commands("cron"), *readme.commands(HOOK)])
        assert (host.login("pop3s", V4), host.login("imaps", V6)) == ("ok", "ok")
        let_the_window_pass(host, V4)
        host.until("run of cron", lambda: not host.path(f"{STAMPS}/{V4}").exists())
        assert (host.rcpt(V4), host.rcpt(V6)) == ("550", "250")


def test_it_is_seen_to_work_by_hand_from_another_host(boot: Boot) -> None:
    with boot("sendmail") as host:
        follow(host, [*INSTALL, *SETUPS["access"].commands])
        shows(host, readme.commands(SENDMAIL), KACCESS, LISTENS)
        refused = host.client("pop3", V4, SERVER_V4, USER, PASSWORD)
        assert "TLS" in refused  # without it no password is taken
        assert host.outside(ASK.replace("HOST", SERVER_V4)).startswith("(550, ")
        said = host.outside(LOGIN.replace("HOST", SERVER_V4), f"USER {USER}\nPASS {PASSWORD}\nQUIT\n")
        assert "+OK Logged in" in said
        assert host.outside(ASK.replace("HOST", SERVER_V4)).startswith("(250, ")
        listed = host.do(*(f"cd /root/popips && {line}" for line in LOOK))
        assert f"{V4}\t" in listed and f"granted: address={V4} " in listed


def test_pop3_and_imap_have_pam_services_of_their_own(boot: Boot, release: str) -> None:
    with boot("sendmail") as host:
        services = [*PAM_SERVICES, *ASKS_SERVICES[release], *PAM[1:]]
        follow(host, [*INSTALL, *readme.commands(SENDMAIL), *readme.commands(EXPIRER), *services])
        assert (host.login("pop3s", V4), host.login("imaps", V6)) == ("ok", "ok")
        host.do(f"echo '{PASSWORD}' | doveadm auth test -x service=smtp -x rip={OTHER_V4} {USER}")
        assert [host.rcpt(source) for source in (V4, V6, OTHER_V4)] == ["250", "250", "550"], host.said()
        follow(host, [*NO_PAM_SERVICES, *DOVECOT])
        assert host.login("imaps", OTHER_V4) == "ok"
        assert host.rcpt(OTHER_V4) == "550"


@dataclass(frozen=True)
class Removal:
    """A set-up of README's, the lines that take it out again, and what RCPT is answered without it."""

    layer: str
    commands: list[str]
    remove: list[str]
    shown: str
    denied: str = "550"


REMOVALS = {
    "access": Removal("sendmail", SETUPS["access"].commands, [*NO_POSTLOGIN, *DOVECOT, *NO_TIMER], KACCESS),
    "own-pam-cron": Removal(
        "sendmail",
        [
            *readme.commands(SENDMAIL),
            *readme.commands("A map of its own"),
            *readme.commands("cron"),
            *PAM,
        ],
        [*NO_PAM, *DOVECOT, *NO_SENDMAIL, *NO_CRON],
        KACCESS,
    ),
    "postfix": Removal(
        "postfix",
        SETUPS["postfix"].commands,
        [*NO_POSTLOGIN, *DOVECOT, *NO_POSTFIX, *NO_TIMER],
        RESTRICTIONS,
        denied="454",
    ),
}


@pytest.mark.parametrize("name", REMOVALS)
def test_it_is_removed_as_readme_says(boot: Boot, name: str) -> None:
    case = REMOVALS[name]
    with boot(case.layer) as host:
        shows(host, case.commands, case.shown)
        follow(host, [*INSTALL, *case.commands])
        assert host.login("pop3s", V4) == "ok"
        assert host.rcpt(V4) == "250"
        kept = host.run(f"cd /root/popips && {PROGRAMS[-1]}")
        assert kept.returncode != 0
        assert "/etc/dovecot/conf.d/99-popips.conf" in kept.stderr or "/etc/pam.d/dovecot" in kept.stderr
        follow(host, [*case.remove, *PROGRAMS])
        assert host.rcpt(V4) == case.denied
        assert host.login("pop3s", V4) == "ok"
        left = host.do(FILES).split()
        assert [path for path in left if not path.startswith(tuple(LEFT[0].split()[2:]))] == []
        follow(host, LEFT)
        assert host.do(FILES) == ""
        assert host.run(NAMING).stdout == ""
        assert host.do(UNREAD) == "NeedDaemonReload=no\n"
        shows(host, case.commands, case.shown)  # as before
        assert host.rcpt(V4) == case.denied
        assert host.do("systemctl --failed --no-legend") == ""


def shows(host: Host, commands: list[str], *starts: str) -> None:
    """Type those of the commands that begin so, and see that they show what the docs say."""
    for start in starts:
        (command,) = (line for line in commands if line.startswith(start))
        assert f"`{SHOWN[start]}`" in readme.text()
        assert SHOWN[start] in host.do(command)
