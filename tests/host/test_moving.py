"""Each older system, laid out as it left a host; docs/moving.md's steps are typed; what the host had still works."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.box import ROOT
from tests.host import build, readme
from tests.host.conftest import Boot
from tests.host.machine import OTHER_V4, OTHER_V6, V4, V6, Host
from tests.host.test_main_job import SENDMAIL, follow

PAGE = (ROOT / "docs/moving.md").read_text()
DOCTOR = "popips-db doctor"
# what the admin's own records say of these, before and after
STATIC_RELAY, STATIC_REJECT = V6, OTHER_V6
ACCESS = """
printf 'Connect:IPv6:2001:db8:1:0:0:0:0:10\\tRELAY\\nConnect:IPv6:2001:db8:1:0:0:0:0:11\\tREJECT\\n' >> /etc/mail/access
make -C /etc/mail
"""
POSTFIX = r"""
printf '2001:db8:1::10 OK\n2001:db8:1::11 REJECT\n' > /etc/postfix/access
postmap hash:/etc/postfix/access
install -d ${map%/*}
echo "203.0.113.11 1800000000" > $map
postmap hash:$map
rm $map
postconf -e "smtpd_recipient_restrictions = permit_mynetworks, check_client_access hash:/etc/postfix/access, \
check_client_access hash:$map, reject_unauth_destination" 'smtpd_relay_restrictions ='
postfix reload
"""
DAEMON = r"""
printf '[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n' > $name.service
mv $name.service /etc/systemd/system/
systemctl daemon-reload
systemctl enable --now $name
"""
HORN = r"""
install -d /etc/mail/popips
touch /etc/mail/popips/203.0.113.11
printf '#!/bin/sh\ncd /etc/mail/popips && find . -type f -mmin +15\n' > /etc/cron.hourly/popips
chmod +x /etc/cron.hourly/popips
{ makemap -u hash /etc/mail/access.db; printf '203.0.113.11\tRELAY\n'; } > /root/all
makemap hash /etc/mail/access.db < /root/all
"""
POPRELAYD = r"""
printf '203.0.113.11\t1800000000\n' | makemap hash /etc/mail/popip.db
cat >> /etc/mail/sendmail.mc <<'END'
LOCAL_CONFIG
Kpopip hash -a<MATCH> /etc/mail/popip.db
LOCAL_RULESETS
SLocal_check_rcpt
R$*	$: $&{client_addr}
R$+	$: $(popip $1 $)
R$*<MATCH>	$#OK
END
make -C /etc/mail
systemctl restart sendmail
"""
DRAC = r"""
printf '203.0.113.11\t1800000000\n' | makemap btree /etc/mail/drac.db
sed -i '/^FEATURE(`access_db/a FEATURE(`drac'"'"', `btree -o /etc/mail/drac.db'"'"')dnl' /etc/mail/sendmail.mc
make -C /etc/mail
systemctl restart sendmail
"""
CRONTAB = """
echo "*/10 * * * * $job" | crontab -
"""
RELAY_CTRL = r"""
install -d /etc/relay-ctrl /var/spool/relay-ctrl/allow
echo 900 > /etc/relay-ctrl/RELAY_CTRL_EXPIRY
echo 'RELAYCLIENT=' > /var/spool/relay-ctrl/allow/203.0.113.11
"""
VPOPMAIL = r"""
install -d /home/vpopmail/etc
cat > /home/vpopmail/etc/tcp.smtp <<'END'
127.:allow,RELAYCLIENT="",RBLSMTPD=""
192.168.7.:allow,RELAYCLIENT=""
10.1.2-5.:allow,RELAYCLIENT=""
203.0.113.11:deny
:allow
END
printf '203.0.113.10:allow,RELAYCLIENT="",RBLSMTPD=""\t1800000000\n' > /home/vpopmail/etc/open-smtp
"""


@dataclass(frozen=True)
class Old:
    """An old system: its section of the page, how it left the host, and what RCPT was answered to whom."""

    heading: str
    release: str
    layer: str
    left: str
    relayed: bool = True  # OTHER_V4, by the old system
    denied: str = "550"
    kept: dict[str, str] = field(default_factory=dict)  # records of access.db, as makemap reads them
    daemon: str = ""
    dropping: bool = False


CASES = [
    Old("SMTP after POP", "trixie", "sendmail", ACCESS + HORN),
    Old("poprelayd", "bookworm", "sendmail", ACCESS + POPRELAYD, daemon="poprelayd"),
    Old(
        "pop-before-smtp",
        "trixie",
        "postfix",
        "map=/var/lib/pop-before-smtp/hosts" + POSTFIX,
        denied="554",
        daemon="pop-before-smtp",
    ),
    Old("DRAC", "trixie", "sendmail", ACCESS + DRAC, daemon="dracd"),
    Old(
        "scp-before-relay",
        "bookworm",
        "postfix",
        "map=/etc/postfix/scp-before-relay" + POSTFIX + "job=/root/scp-before-relay" + CRONTAB,
        denied="554",
        dropping=True,
    ),
    Old(
        "relay-ctrl",
        "bookworm",
        "sendmail",
        ACCESS + RELAY_CTRL + "job=relay-ctrl-age" + CRONTAB,
        relayed=False,
    ),
    Old(
        "vpopmail's roaming users",
        "trixie",
        "sendmail",
        ACCESS + VPOPMAIL + "job=/home/vpopmail/bin/clearopensmtp" + CRONTAB,
        relayed=False,
        kept={"connect:127": "RELAY", "connect:192.168.7": "RELAY", f"connect:{OTHER_V4}": "REJECT"},
    ),
]


def test_each_section_of_the_page_is_tried() -> None:
    headings = [line[3:] for line in PAGE.splitlines() if line.startswith("## ")]
    assert [case.heading for case in CASES] == headings[:-1], "the last one has no steps"


@pytest.mark.parametrize(
    ("release", "case"),
    [(case.release, case) for case in CASES],
    indirect=["release"],
    ids=[case.heading for case in CASES],
)
def test_what_the_old_system_had_still_works(boot: Boot, release: str, shared: Path, case: Old) -> None:
    *steps, back, rest = readme.blocks(case.heading)
    with boot(case.layer) as host:
        host.copy(build.package(release, shared), "/root/popips/build/popips_0_all.deb")
        follow(host, ["apt-get install -y ./build/popips_*_all.deb"])
        if case.layer == "sendmail":
            follow(host, readme.commands(SENDMAIL))
        host.do(*([f"name={case.daemon}{DAEMON}"] if case.daemon else []), f"set -e\n{case.left}")
        before = {source: host.rcpt(source) for source in (V4, OTHER_V4, STATIC_RELAY, STATIC_REJECT)}
        assert before[V4] == case.denied and (before[OTHER_V4] == "250") == case.relayed, (before, host.said())
        assert before[STATIC_RELAY] == "250" and before[STATIC_REJECT] in ("550", "554")
        for line in (line for block in steps for line in block):
            type_(host, line)
        verdicts = {source: host.rcpt(source) for source in (V4, OTHER_V4, STATIC_RELAY, STATIC_REJECT)}
        assert verdicts[OTHER_V4][0] == "5" and verdicts[V4] == case.denied, verdicts
        assert {k: verdicts[k] for k in (V6, OTHER_V6)} == {k: before[k] for k in (V6, OTHER_V6)}
        if case.kept:
            records = dict(line.split("\t") for line in host.do("makemap -u hash /etc/mail/access.db").splitlines())
            assert case.kept.items() <= records.items()
        if case.daemon:
            assert host.run(f"systemctl is-active {case.daemon}").stdout != "active\n"
        logins_grant(host, case, before)
        follow(host, back)
        gone = {source: host.rcpt(source) for source in before}
        wanted = before | ({OTHER_V4: case.denied} if case.heading == "SMTP after POP" else {})
        assert gone == wanted, host.said()
        follow(host, rest)


def type_(host: Host, line: str) -> None:
    """Type a line of the page; doctor has to find the host open to logins, and the log to name the leftovers."""
    done = host.run(line)
    if line == DOCTOR:
        assert done.stdout.startswith("open to logins"), done.stdout
        return
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    if line.startswith("journalctl"):
        assert f"orphan: address={OTHER_V4} " in done.stdout


def logins_grant(host: Host, case: Old, before: dict[str, str]) -> None:
    """A login opens the relay for its address, and for none that the admin rejects."""
    if case.dropping:
        host.do(f"runuser -u alice -- sh -c 'echo {V4} > /var/lib/popips/drop/alice/here'", "popips-expire")
    else:
        assert host.login("pop3s", V4) == "ok"
    assert host.login("imaps", STATIC_REJECT) == "ok"
    assert (host.rcpt(V4), host.rcpt(STATIC_REJECT)) == ("250", before[STATIC_REJECT]), host.said()
