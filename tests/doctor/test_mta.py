"""Whether the MTA asks the map, as its files say: each configuration, what doctor says of it, and the fix."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from popips.db import asks
from popips.doctor import ask_sendmail, tables
from popips.doctor.ask_postfix import _Postfix
from popips.doctor.check import FAIL, OK, STRANGERS, WARN, Patient
from popips.maps import Place
from popips.probe import postfix, sendmail
from popips.probe.machine import Answer, Machine
from popips.settings import Settings
from tests.doctor.hosts import ASKS, DRAC_CF, OWN, OWN_CONF, SENDMAIL_CF, WITH_POSTFIX, WITH_SENDMAIL, Files, Host


@dataclass(frozen=True)
class Case:
    """files: what is changed of a healthy host; the status of a check, and words of what it found and of its fix."""

    name: str
    files: Files
    status: str
    found: str = ""
    fix: str = ""
    id: str = "mta.asks"
    without: tuple[str, ...] = field(default=())


def cf(text: str, **files: str) -> Files:
    return {"/etc/mail/sendmail.cf": text, **{f"/etc/{name}.conf": text for name, text in files.items()}}


OLD_RULES = DRAC_CF.split("Kdrac", maxsplit=1)[0] + (
    "Kpopips hash -o /var/lib/popips/popips.db\nSLocal_check_rcpt\n"
    "R$*\t$: $(popips $&{client_addr} $: NONE $)\nRRELAY\t$#OK\n"
)
AT_CONNECT = OLD_RULES.replace("$>checkrelay $&{client_name}", "")  # no FEATURE(`delay_checks')
CURED = OLD_RULES.replace("RRELAY\t$#OK", "RRELAY\t$: RELAY $| $>Basic_check_relay $1\nRRELAY $| $*\t$#OK")
SEQUENCE = SENDMAIL_CF.replace(
    "Kaccess hash -T<TMPF> /etc/mail/access",
    "Kstatic hash /etc/mail/access\nKpopips hash -o /var/lib/popips/popips\nKaccess sequence static popips",
)
DNSBL = (
    "Kdnsbl dns -R A -T<TMP>\nSBasic_check_relay\nR$-.$-.$-.$-\t\t$: <?> $(dnsbl $4.$3.$2.$1.dnsbl.example. $: OK $)\n"
)
CDB_CF = DRAC_CF.replace("hash -o /var/lib/popips/popips.db", "cdb -o /var/lib/popips/popips")
LISTENS = "mta.listens"
IN_ACCESS = "in access.db a grant goes before a DNSBL"
SENDMAIL = [
    Case("the access map", {}, OK),
    Case("with .db", cf(SENDMAIL_CF.replace("mail/access\n", "mail/access.db\n")), OK),
    Case(
        "no such map",
        cf(SENDMAIL_CF, popips="map = hash:/etc/mail/other\n"),
        FAIL,
        "no map of its .cf",
        "map = hash:/etc/mail/access",
    ),
    Case("a map that no rule asks", cf(SENDMAIL_CF.split("SA\n")[0]), FAIL, "no rule asks it", "FEATURE(`access_db'"),
    Case("no access map", cf(SENDMAIL_CF.replace("Kaccess", "#")), FAIL, "no map of its .cf", "FEATURE(`access_db'"),
    Case(
        "another type",
        cf(SENDMAIL_CF.replace("Kaccess hash", "Kaccess btree")),
        FAIL,
        "for btree",
        "map = btree:/etc/mail/access",
    ),
    Case("an own map", cf(DRAC_CF, popips=OWN_CONF), OK),
    Case(
        "an own map that is not asked",
        cf(SENDMAIL_CF, popips=OWN_CONF),
        FAIL,
        "no map of its .cf",
        "/^FEATURE(`access_db/a FEATURE(`drac",
    ),
    Case(
        "an own map, make forgotten",
        cf(SENDMAIL_CF, popips=OWN_CONF)
        | {"/etc/mail/sendmail.mc": "FEATURE(`drac', `hash -o /var/lib/popips/popips.db')dnl\n"},
        FAIL,
        "",
        "touch /etc/mail/sendmail.mc && make",
    ),
    Case(
        "an own map, a sendmail without drac",
        cf(SENDMAIL_CF, popips=OWN_CONF),
        FAIL,
        "",
        "own-check-rcpt.mc",
        without=("/usr/share/sendmail/cf/feature/drac.m4",),
    ),
    Case(
        "an own map that fails open",
        cf(DRAC_CF.replace("Kdrac hash -o", "Kdrac hash -T<TMPF>"), popips=OWN_CONF),
        FAIL,
        "for everybody",
        "s/-T<TMPF>",
    ),
    Case("a cdb", cf(CDB_CF, popips=OWN_CONF.replace("hash", "cdb")), OK),
    Case("a sequence", cf(SEQUENCE, popips=OWN_CONF), OK),
    Case(
        "this host only",
        cf(SENDMAIL_CF.replace("Port=smtp\n", "Port=smtp, Addr=127.0.0.1\n")),
        FAIL,
        "listens on loopback only",
        "sed -i -E",
        LISTENS,
    ),
    Case(
        "an old rule", cf(OLD_RULES, popips=OWN_CONF), FAIL, "in spite of your REJECT", "Basic_check_relay", "mta.order"
    ),
    Case("an old rule, the client judged at connect", cf(AT_CONNECT, popips=OWN_CONF), OK, id="mta.order"),
    Case("the rule, cured", cf(CURED, popips=OWN_CONF), OK, id="mta.order"),
    Case("a DNSBL", cf(DRAC_CF + DNSBL, popips=OWN_CONF), WARN, "dnsbl.example", "own_map", "mta.order"),
    Case("a DNSBL, a sequence", cf(SEQUENCE + DNSBL, popips=OWN_CONF), OK, id="mta.order"),
    Case("a DNSBL, the access map", cf(SENDMAIL_CF + DNSBL), OK, id="mta.order"),
    Case(
        "compressed",
        cf(SENDMAIL_CF + "O UseCompressedIPv6Addresses=true\n"),
        FAIL,
        "compressed",
        "compressed_ipv6 = yes",
        "map.key",
    ),
    Case(
        "both compressed",
        cf(SENDMAIL_CF + "O UseCompressedIPv6Addresses=true\n", popips="compressed_ipv6 = yes\n"),
        OK,
        id="map.key",
    ),
    Case(
        "in full", cf(SENDMAIL_CF, popips="compressed_ipv6 = yes\n"), FAIL, "in full", "compressed_ipv6 = no", "map.key"
    ),
    Case("OK in access.db", cf(SENDMAIL_CF, popips="value = OK\n"), FAIL, "does not relay", "value = RELAY", "map.key"),
    Case("OK in an own map", cf(DRAC_CF, popips=f"{OWN_CONF}value = OK\n"), OK, id="map.key"),
    Case("connect: in access.db", cf(SENDMAIL_CF, popips="key = connect\n"), OK, id="map.key"),
    Case(
        "connect: in an own map",
        cf(DRAC_CF, popips=f"{OWN_CONF}key = connect\n"),
        FAIL,
        "connect:ADDRESS",
        "key = bare",
        "map.key",
    ),
    Case(
        "Postfix's settings",
        {"/etc/popips.conf": f"mta = postfix\n{OWN_CONF}"},
        FAIL,
        "sendmail is the MTA here",
        "mta|map|own_map",
    ),
]


@pytest.mark.parametrize("case", SENDMAIL, ids=lambda case: case.name)
def test_sendmail(tmp_path: Path, case: Case) -> None:
    judge(Host(tmp_path, WITH_SENDMAIL | case.files, case.without), case)


def judge(host: Host, case: Case) -> None:
    check = host.checks()[case.id]
    assert (check.status, case.found in check.found, case.fix in check.fix) == (case.status, True, True), check
    assert bool(check.fix) == (case.status in (WARN, FAIL)), check
    assert str(host.folder) not in str(check), "paths are as the host has them"


RELAY, RECIPIENT, CLIENT = (f"smtpd_{name}_restrictions" for name in ("relay", "recipient", "client"))
CLASS = "smtpd_restriction_classes = other, mine\n"
MY, CLOSE = "permit_mynetworks", "reject_unauth_destination"


def main_cf(relay: str = f"{MY}, {ASKS}, {CLOSE}", recipient: str = "", client: str = "", more: str = "") -> Files:
    lines = {RELAY: relay, RECIPIENT: recipient, CLIENT: client}
    return {"/etc/postfix/main.cf": "".join(f"{name} = {value}\n" for name, value in lines.items()) + more}


ORDER = "mta.order"
POSTFIX = [
    Case("contrib's", main_cf(), OK),
    Case("with blanks", main_cf(f"{MY}\n  {ASKS}\n# not this\n  {CLOSE}"), OK),
    Case("by proxymap", main_cf(f"{ASKS.replace(' ', ' proxy:')}, {CLOSE}"), OK),
    Case("behind the admin's own", main_cf(f"{MY}, check_client_access hash:/etc/postfix/access, {ASKS}, {CLOSE}"), OK),
    Case("a policy server", main_cf(f"{MY}, check_policy_service {{ unix:x, timeout=2s }}, {ASKS}, {CLOSE}"), OK),
    Case("not asked", main_cf(f"{MY}, {CLOSE}"), FAIL, "does not ask the map", f"{MY}, {ASKS}, {CLOSE}'"),
    Case(
        "Debian's",
        main_cf(f"{MY} permit_sasl_authenticated defer_unauth_destination"),
        FAIL,
        "does not ask the map",
        f"permit_sasl_authenticated {ASKS} defer_unauth_destination'",
    ),
    Case("behind", main_cf(f"{MY}, {CLOSE}, {ASKS}"), FAIL, f"behind {CLOSE}", f"{MY}, {ASKS}, {CLOSE}'"),
    Case("behind reject", main_cf(f"{MY}, reject, {ASKS}"), FAIL, "behind reject", f"{MY}, {ASKS}, reject'"),
    Case(
        "another map",
        main_cf(f"check_client_access hash:/etc/postfix/popips, {CLOSE}"),
        FAIL,
        "does not ask the map",
        f"hash:/etc/postfix/popips, {ASKS}, {CLOSE}'",
    ),
    Case(
        "another type",
        main_cf(f"{ASKS.replace('hash', 'lmdb')}, {CLOSE}"),
        FAIL,
        "does not ask the map",
        f"{ASKS}, {CLOSE}'",
    ),
    Case(
        "as a sender",
        main_cf(f"{ASKS.replace('client', 'sender')}, {CLOSE}"),
        FAIL,
        "does not ask the map",
        f"{ASKS}, {CLOSE}'",
    ),
    Case("a class that asks", main_cf(f"{MY}, mine, {CLOSE}", more=f"{CLASS}mine = {ASKS}\n"), OK),
    Case("a class that refuses", main_cf(f"{MY}, {ASKS}, mine", more=f"{CLASS}mine = {CLOSE}\n"), OK),
    Case(
        "a class that refuses first",
        main_cf(f"{MY}, mine, {ASKS}", more=f"{CLASS}mine = {CLOSE}\n"),
        FAIL,
        f"behind {CLOSE}",
        f"{MY}, {ASKS}, mine'",
    ),
    Case(
        "a class that permits", main_cf(f"mine, {ASKS}, {CLOSE}", more=f"{CLASS}mine = permit\n"), FAIL, "open to all?"
    ),
    Case("a class of itself", main_cf(f"{MY}, {ASKS}, mine, {CLOSE}", more=f"{CLASS}mine = mine\n"), OK),
    Case("in the recipients' list", main_cf("", f"{MY}, {ASKS}, {CLOSE}"), OK),
    Case(
        "refused by the recipients' list",
        main_cf(recipient=f"{MY}, reject"),
        FAIL,
        RECIPIENT,
        f"{RECIPIENT} = {MY}, {ASKS}, reject'",
    ),
    Case("a mild recipients' list", main_cf(recipient="reject_unknown_recipient_domain"), OK),
    Case("open to all", main_cf(f"{MY}, {ASKS}"), FAIL, "open to all", f"{MY}, {ASKS}, {CLOSE}'"),
    Case("all pass", main_cf(f"{MY}, permit, {ASKS}, {CLOSE}"), FAIL, "open to all", f"{MY}, {ASKS}, {CLOSE}'"),
    Case("PERMIT", main_cf(f"{MY}, PERMIT, {ASKS}, {CLOSE}"), FAIL, "open to all", f"{MY}, {ASKS}, {CLOSE}'"),
    Case("a trial of the end", main_cf(f"{MY}, {ASKS}, warn_if_reject {CLOSE}"), FAIL, "open to all", f", {CLOSE}'"),
    Case("defer_if_permit", main_cf(f"{MY}, {ASKS}, defer_if_permit"), OK),
    Case("all pass behind", main_cf(f"{MY}, {ASKS}, {CLOSE}, permit"), OK),
    Case(
        "a list for clients that refuses all",
        main_cf(client=f"{MY}, reject"),
        FAIL,
        f"{CLIENT} does not ask the map",
        f"{CLIENT} = {MY}, {ASKS}, reject'",
    ),
    Case("a list for clients, all pass", main_cf(client=f"{MY}, permit, reject"), OK),
    Case(
        "everybody is mine, and an odd word",
        main_cf(more="mynetworks = 10.0.0.1/33, !192.0.2.1, hash:/x, 0.0.0.0/0\n"),
        FAIL,
        "mynetworks holds 198.51.100.254",
        "postconf -X mynetworks",
    ),
    Case(
        "everybody is mine",
        main_cf(more="mynetworks = 127.0.0.0/8, 0.0.0.0/0\n"),
        FAIL,
        "mynetworks holds 198.51.100.254",
        "postconf -X mynetworks",
    ),
    Case(
        "everybody by IPv6 is mine", main_cf(more="mynetworks = [::1]/128 [2000::]/3\n"), FAIL, "2001:db8", "mynetworks"
    ),
    Case("networks of my own", main_cf(more="mynetworks = 127.0.0.0/8 [::1]/128 203.0.113.0/24\n"), OK),
    Case(
        "this host only",
        main_cf(more="inet_interfaces = loopback-only\n"),
        FAIL,
        "listens on loopback only",
        "postconf -e 'inet_interfaces = all' && systemctl restart postfix",
        LISTENS,
    ),
    Case("this host only, by addresses", main_cf(more="inet_interfaces = 127.0.0.1, [::1]\n"), FAIL, id=LISTENS),
    Case("one address for others", main_cf(more="inet_interfaces = 127.0.0.1, 203.0.113.1\n"), OK, id=LISTENS),
    Case(
        "sendmail's settings",
        {"/etc/popips.conf": "window = 5m\n"},
        FAIL,
        "postfix is the MTA here",
        "printf '%s\\n' 'mta = postfix' 'map = ",
    ),
    Case(
        "sendmail's map",
        {"/etc/popips.conf": "map = hash:/etc/mail/access\n"},
        FAIL,
        "postfix is the MTA here",
        "/^[ \\t]*(map)",
    ),
    Case("no DNSBL", main_cf(), OK, id=ORDER),
    Case(
        "a DNSBL on trial", main_cf(f"{MY}, warn_if_reject reject_rbl_client a.example, {ASKS}, {CLOSE}"), OK, id=ORDER
    ),
    Case("a DNSBL behind", main_cf(f"{MY}, {ASKS}, reject_rbl_client dnsbl.example, {CLOSE}"), OK, id=ORDER),
    Case(
        "a DNSBL in front",
        main_cf(f"{MY}, reject_rbl_client dnsbl.example, {ASKS}, {CLOSE}"),
        WARN,
        "dnsbl.example",
        f"{MY}, {ASKS}, reject_rbl_client dnsbl.example, {CLOSE}'",
        ORDER,
    ),
    Case(
        "a DNSBL for clients",
        main_cf(client="reject_rbl_client dnsbl.example"),
        WARN,
        CLIENT,
        f"{CLIENT} = {ASKS}, reject_rbl_client dnsbl.example'",
        ORDER,
    ),
    Case("a DNSBL for clients, behind", main_cf(client=f"{ASKS}, reject_rbl_client dnsbl.example"), OK, id=ORDER),
    Case("a DNSBL for names", main_cf(client="reject_rhsbl_client dnsbl.example"), WARN, CLIENT, ASKS, ORDER),
    Case("a list of the good", main_cf(client="permit_dnswl_client dnswl.example"), OK, id=ORDER),
]


MAPD = "check_policy_service { unix:popips/policy, timeout=2s, try_limit=2, retry_delay=1s, default_action=DUNNO }"
BY_MAPD = [
    Case("contrib's", main_cf(f"{MY}, permit_auth_destination, {MAPD}, reject"), OK),
    Case("not asked", main_cf(f"{MY}, {CLOSE}"), FAIL, "does not ask the map", f"{MY}, {MAPD}, {CLOSE}'"),
    Case("behind", main_cf(f"{MY}, {CLOSE}, {MAPD}"), FAIL, f"behind {CLOSE}", f"{MY}, {MAPD}, {CLOSE}'"),
    Case(
        "an admin's REJECT stays",
        main_cf(f"{MY}, check_client_access static:REJECT, {CLOSE}"),
        FAIL,
        "does not ask the map",
        f"{MY}, check_client_access static:REJECT, {MAPD}, {CLOSE}'",
    ),
    Case(
        "it fails open",
        main_cf(f"{MY}, {MAPD.replace('DUNNO', 'OK')}, {CLOSE}"),
        FAIL,
        "while popips-mapd is down, Postfix does OK by that",
        f"{MY}, {MAPD}, {CLOSE}'",
    ),
    Case("everybody is mine", main_cf(f"{MY}, {MAPD}, {CLOSE}", more="mynetworks = 0.0.0.0/0\n"), FAIL, "mynetworks"),
    Case("open to all", main_cf(f"{MY}, {MAPD}"), FAIL, "open to all", f"{MY}, {MAPD}, {CLOSE}'"),
]


OTHER_CONF = {"/etc/popips.conf": f"mta = postfix\n{OWN_CONF.replace(OWN, 'hash:/var/lib/popips/other')}"}
ELSEWHERE = "check_client_access hash:/srv/mail/grants"
KEPT = "0123"
ENTRY = {"part": "postfix", "before": {postfix.MAIN: {"kind": "file", "what": KEPT}}}
OF_SETUP = {  # setup has put Postfix's question into main.cf
    "/srv/mail/grants.db": "",
    "/var/lib/popips/setup/state.json": json.dumps({"version": 1, "entries": [ENTRY], "waiting": []}),
    f"/var/lib/popips/setup/copies/{KEPT}": f"{RELAY} = {MY}, check_client_access hash:/srv/mail/bad, {CLOSE}\n",
}
WHICH_IS_WRONG = [
    Case(
        "main.cf asks ours", main_cf() | OTHER_CONF, FAIL, "does not ask", f"|map = {OWN}|' /etc/popips.conf && popips"
    ),
    Case("by proxymap", main_cf(f"{ASKS.replace(' ', ' proxy:')}, {CLOSE}") | OTHER_CONF, FAIL, fix=f"|map = {OWN}|'"),
    Case("as setup has it", main_cf(f"{ELSEWHERE}, {CLOSE}") | OF_SETUP, FAIL, fix="|map = hash:/srv/mail/grants|'"),
    Case(
        "as a newer setup has it",
        main_cf(f"{ELSEWHERE}, {CLOSE}") | OF_SETUP | {"/var/lib/popips/setup/state.json": '{"version": 2}'},
        FAIL,
        fix=f"{ELSEWHERE}, {ASKS}, {CLOSE}'",
    ),
    Case("an admin's", main_cf(f"{ELSEWHERE}, {CLOSE}"), FAIL, fix=f"{ELSEWHERE}, {ASKS}, {CLOSE}'"),
    Case(
        "an admin's of before setup",
        main_cf(f"check_client_access hash:/srv/mail/bad, {CLOSE}") | OF_SETUP,
        FAIL,
        fix=f"hash:/srv/mail/bad, {ASKS}, {CLOSE}'",
    ),
    Case(
        "a map of another kind", main_cf(f"check_client_access pcre:/var/lib/popips/x, {CLOSE}"), FAIL, fix="postconf"
    ),
    Case(
        "popips.conf of another owner's map",
        main_cf() | {"/etc/popips.conf": "mta = postfix\nmap = hash:/etc/postfix/access\n"},
        FAIL,
        fix="echo 'own_map = yes' >> /etc/popips.conf && popips-expire",
    ),
    Case("the map that is not there", main_cf() | OTHER_CONF, FAIL, fix=f"|map = {OWN}|'", id="map.there"),
]


@pytest.mark.parametrize("case", WHICH_IS_WRONG, ids=lambda case: case.name)
def test_of_main_cf_and_popips_conf_the_one_that_is_wrong_is_mended(tmp_path: Path, case: Case) -> None:
    judge(Host(tmp_path, WITH_POSTFIX | case.files), case)


UNREADABLE = {  # a table of the admin's that Postfix cannot read: what postmap complains of, and the cure
    "hash:/t/there": ("open database /t/there.db: No such file or directory", "postmap hash:/t/there"),
    "proxy:hash:/t/there": ("open database /t/there.db: No such file or directory", "postmap hash:/t/there"),
    "hash:/t/gone": ("open database /t/gone.db: No such file or directory", "touch /t/gone && postmap hash:/t/gone"),
    "cidr:/t/gone": ("open /t/gone: No such file or directory", "touch /t/gone"),
    "pcre:/t/there": ("unsupported dictionary type: pcre", "apt-get install -y postfix-pcre"),
    "regexp:/t/there": ("/t/there, line 2: no regexp delimiter", "postmap -q 192.0.2.1 regexp:/t/there"),
    "tcp:127.0.0.1:9": ("connect to TCP map: Connection refused", "postmap -q 192.0.2.1 tcp:127.0.0.1:9"),
}


@pytest.mark.parametrize("table", UNREADABLE)
def test_a_table_that_postfix_cannot_read_has_a_cure(tmp_path: Path, table: str) -> None:
    complaint, cure = UNREADABLE[table]
    (tmp_path / "t").mkdir()
    (tmp_path / "t/there").touch()
    then = ";" if cure.startswith("postmap -q") else " &&"  # that only shows what is wrong, and fails
    said = tables.readable(Machine(str(tmp_path)), table, f"postmap: fatal: {complaint}")
    assert said == f"{cure}{then} postfix reload"


@pytest.mark.parametrize("case", BY_MAPD, ids=lambda case: case.name)
def test_postfix_that_asks_popips_mapd(tmp_path: Path, case: Case) -> None:
    conf = {"/etc/popips.conf": "mta = postfix\nmap = mapd\n"}
    judge(Host(tmp_path, WITH_POSTFIX | conf | case.files), case)


@pytest.mark.parametrize("case", POSTFIX, ids=lambda case: case.name)
def test_postfix(tmp_path: Path, case: Case) -> None:
    judge(Host(tmp_path, WITH_POSTFIX | case.files), case)


def test_what_is_pasted_is_then_well(tmp_path: Path) -> None:
    """A list as the fix has it gives no reason to complain."""
    for index, case in enumerate(case for case in POSTFIX if f"{RELAY} = " in case.fix or f"{ASKS}, " in case.fix):
        host = Host(tmp_path / str(index), WITH_POSTFIX | case.files)
        line = host.checks()[case.id].fix.split("'")[1]
        text = host.path("/etc/postfix/main.cf").read_text()
        name = line.split(" = ")[0]
        kept = [each for each in text.split("\n") if not each.startswith((name, " ", "#"))]
        host.write("/etc/postfix/main.cf", "\n".join([*kept, line, ""]))
        assert host.checks()[case.id].status == OK, (case, host.checks()[case.id])


def test_no_mta_is_told(tmp_path: Path) -> None:
    check = Host(tmp_path, {}).checks()["mta.asks"]
    assert (check.status, "neither Postfix nor sendmail" in check.found) == (FAIL, True)


def test_the_last_word_of_a_ruleset_counts() -> None:
    """As sendmail -bt prints it: nested rulesets return before, and a reply has its text in quotes."""
    said = """> > > check_relay        input: [ 203 . 0 . 113 . 10 ] $| 203 . 0 . 113 . 10
check_relay      returns: < 10 > $| FALSE
> check_rcpt         input: < postmaster @ [ 192 . 0 . 2 . 200 ] >
Basic_check_rcpt   input: < postmaster @ [ 192 . 0 . 2 . 200 ] >
map_lookup(access, Connect:203.0.113.10, %0=Connect:203.0.113.10) => NOT FOUND (0), ad=0
map_lookup(access, 203.0.113.10, %0=203.0.113.10) => RELAY (0), ad=0
Basic_check_rcpt returns: RELAY
check_rcpt       returns: postmaster < @ [ 192 . 0 . 2 . 200 ] >
> > > check_relay        input: [ 203 . 0 . 113 . 11 ] $| 203 . 0 . 113 . 11
check_relay      returns: OK
> check_rcpt         input: < postmaster @ [ 192 . 0 . 2 . 200 ] >
check_rcpt       returns: RELAY
check_rcpt       returns: $# error $@ 5 . 7 . 1 $: "550 Relaying denied" [ 203 . 0 . 113 . 11 ]
> map_lookup: access (203.0.113.10) returns RELAY (0)
> map_lookup: access (203.0.113.11) no match (0)
"""
    keys = [("access", "203.0.113.10"), ("access", "203.0.113.11")]
    answers = sendmail.heard(said, ["203.0.113.10", "203.0.113.11"], keys)
    verdicts = answers.verdicts
    assert (verdicts["203.0.113.10"].relays, verdicts["203.0.113.11"].relays) == (True, False)
    assert verdicts["203.0.113.11"].text == "550 Relaying denied"
    assert ("access", "203.0.113.10", "RELAY") in verdicts["203.0.113.10"].asked
    assert answers.found == {keys[0]: "RELAY", keys[1]: ""}


def test_what_mynetworks_holds_by_a_file_is_not_called_well(tmp_path: Path) -> None:
    check = Host(tmp_path, WITH_POSTFIX | main_cf(more="mynetworks = 10.0.0.0/8, /etc/mine !192.0.2.1\n")).checks()
    assert (check["mta.asks"].status, check["mta.asks"].fix) == (WARN, "")
    assert check["mta.asks"].found.endswith("what mynetworks holds by /etc/mine, !192.0.2.1, which is no network")


MASTER = """\
smtp inet n - y - - smtpd
submission inet n - y - - smtpd -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
smtps inet n - y - - smtpd -o smtpd_tls_wrappermode=yes
127.0.0.1:10025 inet n - n - - smtpd -o smtpd_recipient_restrictions=permit
2525 inet n - n - - smtpd -o smtpd_relay_restrictions=permit_mynetworks
pickup unix n - y 60 1 pickup
"""
OF_MASTER = "".join(
    f"{words[0]}/{words[1]}/{option.replace('=', ' = ', 1)}\n"
    for words, option in ((line.split(), line.partition(" -o ")[2]) for line in MASTER.splitlines())
    if option
)


def test_another_smtpd_whose_own_lists_refuse_nobody_is_not_called_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"-M": MASTER, "-Px": OF_MASTER}
    monkeypatch.setattr(Machine, "ask", lambda _, *words: Answer(0, said.get(words[1], ""), ""))
    check = Host(tmp_path, WITH_POSTFIX).checks()["mta.asks"]
    assert (check.status, check.found) == (
        WARN,
        f"not judged: 2525/inet of master.cf has {RELAY} of its own: is it open to all?",
    )


def test_what_sendmail_says_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, (stranger, _) = "192.0.2.1", STRANGERS
    relays = sendmail.Verdict(a, True, "", (("access", a, "NOT FOUND"), ("drac", a, "RELAY")))
    refused = sendmail.Verdict(stranger, False, "550 Relaying denied", ())
    monkeypatch.setattr(sendmail, "ask", lambda *_: sendmail.Answers(verdicts={a: relays, stranger: refused}))
    host = Host(tmp_path, WITH_SENDMAIL | cf(DRAC_CF))
    settings = Settings().replace(map=Place("hash", f"{OWN[5:]}.db", own=True))
    patient = Patient(host.machine, "/etc/popips.conf", settings, 0.0)
    told = [*asks._of_sendmail(host.machine, settings, a).lines(), *ask_sendmail.words(patient.bt)]
    assert told == [
        f"sendmail: relays for it; it found drac {a}: RELAY (drac is {OWN}.db)",
        f"{a}: relays",
        f"{stranger}, a stranger: is refused: 550 Relaying denied",
    ]


def test_a_list_of_postfixs_is_read_as_postfix_reads_it() -> None:
    text = f"permit_mynetworks\t check_policy_service {{ unix:a, timeout=2s }},{ASKS} "
    text += "reject_rbl_client a.example=127.0.0.2,reject"
    names = [str(each) for each in postfix.parsed(text)]
    assert names == [
        "permit_mynetworks",
        "check_policy_service { unix:a, timeout=2s }",
        ASKS,
        "reject_rbl_client a.example=127.0.0.2",
        "reject",
    ]


def test_nothing_is_run_of_a_host_that_is_only_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path, WITH_POSTFIX)
    monkeypatch.setattr("popips.probe.machine.subprocess.run", lambda *_, **__: pytest.fail("a program was started"))
    assert OWN in host.checks()["mta.asks"].found
    assert Machine(str(tmp_path)).ask("true").status == 127


def test_what_a_restriction_says_is_no_command_of_the_shell() -> None:
    patient = Patient(Machine("/nonexistent"), "/etc/popips.conf", Settings(), 0.0)
    command = _Postfix(patient).edit(RELAY, "check_client_access inline:{'$(id)'}, reject")
    wanted = f"{RELAY} = check_client_access inline:{{'$(id)'}}, reject"
    shell = f'postconf() {{ printf %s "$2"; }}; postfix() {{ :; }}; {command}'
    assert subprocess.run(["sh", "-c", shell], capture_output=True, text=True).stdout == wanted
