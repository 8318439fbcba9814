"""popips-mapd on freshly installed Debians, by its units and its page: both MTAs ask the stamps, to the second."""

from __future__ import annotations

import json
import os
import re
import textwrap
import time
from dataclasses import dataclass

import pytest

from popips.settings import Settings
from tests.box import ROOT
from tests.host import readme
from tests.host.conftest import Boot
from tests.host.machine import V4, V6, Host
from tests.host.test_main_job import DROP_IN, EXPIRER, HOOK, INSTALL, SENDMAIL, STAMPS, follow
from tests.host.test_setup import Case, logins_open_the_relay

PAGE = (ROOT / "man/popips-mapd.8").read_text().partition("\n.SH SETTING IT UP\n")[2]
CONF, UNITS = [
    textwrap.dedent(block).strip().splitlines() for block in re.findall(r"^\.nf\n(.*?)^\.fi$", PAGE, re.M | re.S)[:2]
]
EXAMPLES, POLICY = re.findall(r"^\.nf\n(.*?)^\.fi$", (ROOT / "man/popips-mapd.8").read_text(), re.M | re.S)[:2]
ASKED = dict(zip(("sendmail", "postfix"), EXAMPLES.replace("\\-", "-").strip().splitlines(), strict=True))
MOST = 15  # of exposure, in tenths, as systemd-analyze counts it
WINDOW = Settings().window


@dataclass(frozen=True)
class Mta:
    """How an MTA comes to ask it, which socket is its own, and what a client without a grant hears."""

    conf: list[str]
    lines: list[str]
    socket: str
    denied: str


MTAS = {
    "sendmail": Mta(
        [*readme.commands(SENDMAIL), *CONF],
        ["cat contrib/sendmail/mapd.mc >> /etc/mail/sendmail.mc", "make -C /etc/mail", "systemctl restart sendmail"],
        "popips-mapd.socket",
        "550",
    ),
    "postfix": Mta(
        ["echo 'mta = postfix' >> /etc/popips.conf", *CONF],
        [
            "postconf -# smtpd_relay_restrictions",
            "cat contrib/postfix/mapd.cf >> /etc/postfix/main.cf",
            "postfix reload",
        ],
        "popips-mapd-postfix.socket",
        "554",
    ),
}


@pytest.mark.parametrize("name", MTAS)
def test_the_mta_asks_the_stamps(boot: Boot, name: str) -> None:
    mta = MTAS[name]
    units = [line.replace("popips-mapd.socket", mta.socket) for line in UNITS]
    with boot(name) as host:
        hook = readme.commands(HOOK, leave_out=DROP_IN)
        follow(host, [*INSTALL, *mta.conf, *readme.commands(EXPIRER), *hook, *units, *mta.lines])
        host.do(f"systemd-analyze security --offline=true --threshold={MOST} /etc/systemd/system/popips-mapd.service")
        logins_open_the_relay(host, Case(name, denied=mta.denied))
        judged = {one["id"]: one["status"] for one in json.loads(host.run("popips-db doctor --json").stdout)["checks"]}
        assert (judged["map.there"], judged["mta.asks"]) == ("ok", "ok"), judged
        over_to_the_second(host, mta)
        told_by_the_log(host)
        host.do(f"popips-db deny {V6}")
        assert host.rcpt(V6) == mta.denied
        host.do(f"popips-db undeny {V6}", f"systemctl stop {mta.socket} popips-mapd.service")
        assert host.login("imaps", V6) == "ok"
        assert host.rcpt(V6) == mta.denied
        host.do(f"systemctl start {mta.socket}")
        assert host.rcpt(V6) == "250", host.said()
        host.reboot()
        assert host.rcpt(V6) == "250", host.said()
        assert host.do("systemctl --failed --no-legend") == ""
        if name == "postfix":
            asked = POLICY.replace("\\-", "-").strip()
            for address, action in ((V4, "OK"), ("192.0.2.10", "DUNNO")):
                assert host.do(asked.replace("192.0.2.10", address)) == f"action={action}\n\n"
            # the page's socket map is at the socket that sendmail has
            follow(host, [UNITS[0], UNITS[1], "systemctl stop popips-mapd.service", UNITS[3]])
        told = host.do(ASKED[name].strip().replace("192.0.2.10", V4))
        assert told == "OK\n" if name == "postfix" else f"popips ({V4}) returns RELAY" in told, told


def over_to_the_second(host: Host, mta: Mta) -> None:
    """No run of popips-expire is waited for: the stamp's time alone says when its grant ends."""
    stamp, now = host.path(f"{STAMPS}/{V4}"), time.time()
    os.utime(stamp, (now - WINDOW - 1, now - WINDOW - 1))
    assert host.rcpt(V4) == mta.denied
    assert host.login("pop3s", V4) == "ok"
    assert host.rcpt(V4) == "250"


def told_by_the_log(host: Host) -> None:
    """status counts what popips-mapd logs, which is not root, but not what others log in its name."""
    host.do("systemctl stop popips-expire.timer", "cp /etc/popips.conf /root/kept")
    before = events(host)
    host.do("setpriv --reuid=nobody --clear-groups logger -t popips-mapd 'error: by somebody else'")
    host.do("echo 'window = 2x' >> /etc/popips.conf")
    assert host.rcpt(V4) == "250"
    host.do("cp /root/kept /etc/popips.conf")
    host.until("line in the journal", lambda: events(host) > before)
    assert events(host) == before + 1
    host.do("systemctl start popips-expire.timer")


def events(host: Host) -> int:
    """How many errors status tells of."""
    return int(json.loads(host.run("popips-db status --json").stdout)["log"]["events"].get("error", 0))
