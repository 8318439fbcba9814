"""The main job on freshly installed Debians, set up as README says: log in, relay, be closed again, reboot."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.host import readme
from tests.host.conftest import Boot
from tests.host.machine import OTHER_V4, OTHER_V6, V4, V6, Host

STAMPS = "/var/lib/popips/stamps"
INSTALL = [*readme.blocks("1. popips")[0], *readme.blocks("1. popips")[1]]
SENDMAIL, EXPIRER, HOOK = "2. sendmail", "3. The expirer", "4. A hook at each login"
DROP_IN = "dovecot.service.d"


@dataclass(frozen=True)
class SetUp:
    """How README has it: the commands, who relays then, and how its admin keeps an address out."""

    layer: str
    commands: list[str]
    hook: str = "popips-postlogin"
    denied: str = "550"
    reject: list[str] = field(
        default_factory=lambda: [
            f"printf 'Connect:{OTHER_V4}\\tREJECT\\n' >> /etc/mail/access",
            # after many changes within seconds the map's mtime is ahead of the clock: popips(7), CAVEATS
            "until [ /etc/mail/access -nt /etc/mail/access.db ]; do sleep 0.1; touch /etc/mail/access; done",
            "make -C /etc/mail",
        ]
    )


WITH_POSTFIX = [
    f"echo '{OTHER_V4} REJECT' > /etc/postfix/access",
    "postmap hash:/etc/postfix/access",
    'postconf -e "smtpd_relay_restrictions = check_client_access hash:/etc/postfix/access,'
    ' $(postconf -xh smtpd_relay_restrictions)"',
    "postfix reload",
]
SETUPS = {
    "access": SetUp("sendmail", [*readme.commands(SENDMAIL), *readme.commands(EXPIRER), *readme.commands(HOOK)]),
    # without the drop-in that lets Dovecot write below /etc
    "own": SetUp(
        "sendmail",
        [
            *readme.commands(SENDMAIL),
            *readme.commands("A map of its own"),
            *readme.commands(EXPIRER),
            *readme.commands(HOOK, leave_out=DROP_IN),
        ],
    ),
    "pam": SetUp(
        "sendmail",
        [*readme.commands(SENDMAIL), *readme.commands(EXPIRER), *readme.blocks("PAM")[0]],
        hook="popips-hook",
    ),
    "postfix": SetUp(
        "postfix",
        [*readme.commands("Postfix"), *readme.commands(EXPIRER), *readme.commands(HOOK, leave_out=DROP_IN)],
        denied="554",
        reject=WITH_POSTFIX,
    ),
}


@pytest.mark.parametrize("name", SETUPS)
def test_a_stock_host_does_the_main_job(boot: Boot, name: str) -> None:
    setup = SETUPS[name]
    with boot(setup.layer) as host:
        follow(host, [*INSTALL, *setup.commands])
        logins_open_the_relay(host, setup)
        rebuild_and_expiry(host, setup)
        reboot(host, setup)


def follow(host: Host, commands: list[str]) -> None:
    """Type the commands of README in the clone, one after the other."""
    host.do(*(f"cd /root/popips && {command}" for command in commands))


def logins_open_the_relay(host: Host, setup: SetUp) -> None:
    for protocol, source, other in (("pop3s", V4, OTHER_V4), ("imaps", V6, OTHER_V6)):
        assert host.rcpt(source) == setup.denied, host.said()
        assert host.login(protocol, source, password="wrong") != "ok"
        assert host.rcpt(source) == setup.denied
        assert host.login(protocol, source) == "ok"
        assert host.rcpt(source) == "250", host.said()
        assert host.rcpt(other) == setup.denied
    for protocol, source in (("imaps", V4), ("pop3s", V6)):  # renewed
        assert host.login(protocol, source) == "ok"
    assert [line.split()[0] for line in host.logged(setup.hook)] == ["granted:", "granted:"], host.logged()
    listed = host.do("popips-db lst --grants").splitlines()
    assert [line.split()[0] for line in listed] == [V6, V4]


def rebuild_and_expiry(host: Host, setup: SetUp) -> None:
    """The admin's edit holds, and the next run of the timer puts back what it cost, and closes what is over."""
    assert host.login("imaps", OTHER_V6) == "ok"
    host.do(*setup.reject)
    assert host.login("pop3s", OTHER_V4) == "ok"
    assert host.rcpt(OTHER_V4) == setup.denied
    let_the_window_pass(host, OTHER_V6)
    host.until("run of the timer", lambda: not host.path(f"{STAMPS}/{OTHER_V6}").exists())
    host.until("end of its run", lambda: host.run("systemctl is-active popips-expire").stdout == "inactive\n")
    verdicts = [host.rcpt(source) for source in (V4, V6, OTHER_V4, OTHER_V6)]
    assert verdicts == ["250", "250", setup.denied, setup.denied], host.said()


def reboot(host: Host, setup: SetUp) -> None:
    """What is live is open after a reboot, and what is over is closed by the first run."""
    let_the_window_pass(host, V6)
    host.reboot()
    host.until("MTA", lambda: host.rcpt(V4) == "250")
    host.until("run of the timer", lambda: not host.path(f"{STAMPS}/{V6}").exists())
    assert (host.rcpt(V4), host.rcpt(V6), host.rcpt(OTHER_V4)) == ("250", setup.denied, setup.denied)
    assert host.do("systemctl --failed --no-legend") == ""


def let_the_window_pass(host: Host, address: str) -> None:
    """Make a stamp as old as if its window had gone by."""
    host.do(f"touch -d '1 hour ago' {STAMPS}/{address}")
