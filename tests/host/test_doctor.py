"""popips-db doctor on booted hosts: a healthy one has no failure; each mistake is found, and the fix for it works."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from tests.host import readme, test_main_job
from tests.host.conftest import Boot
from tests.host.machine import OTHER_V4, OTHER_V6, V4, V6, Host
from tests.host.test_main_job import INSTALL, SETUPS, follow
from tests.host.test_setup import etc

STAMPS = "/var/lib/popips/stamps"
ACCESS, OWN = "hash:/etc/mail/access", "hash:/var/lib/popips/popips"
MC, CF = "/etc/mail/sendmail.mc", "/etc/mail/sendmail.cf"
MAKE = "make -C /etc/mail; service sendmail restart"
CHECK = f"check_client_access {OWN}"
ASKS = f"permit_mynetworks, {CHECK}, reject_unauth_destination"
# the timer runs on, and starts nothing that would mend a mistake before it is looked at
QUIET = [
    "mkdir -p /run/systemd/system/popips-expire.service.d",
    "printf '[Service]\\nExecStart=\\nExecStart=/bin/true\\n' > /run/systemd/system/popips-expire.service.d/quiet.conf",
    "systemctl daemon-reload",
]


@dataclass(frozen=True)
class Mistake:
    """check: whose id it is to be found by; make: how the admin made it; found: words of what doctor says of it."""

    check: str
    make: str
    found: str


def conf(line: str) -> str:
    """Return the command by which an admin writes a line into popips.conf, in place of one with the same key."""
    key, _, _ = line.partition(" = ")
    return f"sed -i '/^{key} = /d' /etc/popips.conf 2>/dev/null; echo '{line}' >> /etc/popips.conf"


def restrictions(value: str, name: str = "smtpd_relay_restrictions") -> str:
    return f"postconf -e '{name} = {value}'; postfix reload"


# which keeps the file's mtime
HOOK_BEHIND_DOVECOTS_BACK = (
    "mv /etc/dovecot/conf.d/99-popips.conf /etc/popips.away; systemctl restart dovecot; "
    "mv /etc/popips.away /etc/dovecot/conf.d/99-popips.conf"
)

ANYWHERE = [
    Mistake("conf", conf("wndow = 5m"), "unknown key 'wndow'"),
    Mistake("conf", conf("# mine") + "; chmod 0666 /etc/popips.conf", "others may write it"),
    Mistake("conf", conf("only_group = nosuch"), "there is no group nosuch"),
    Mistake("stamps.folder", f"chmod 0777 {STAMPS}", "others may write to it"),
    Mistake("stamps.folder", f"chown alice {STAMPS}", "others may write to it"),
    Mistake("stamps.folder", f"mv {STAMPS} /root/away", "there is no such folder"),
    Mistake("stamps.folder", f"echo nonsense > {STAMPS}/.denied", "remove the line"),
    Mistake("expirer.started", "systemctl disable --now popips-expire.timer", "is not enabled"),
    Mistake("expirer.started", "systemctl stop popips-expire.timer", "is not active"),
    Mistake("expirer.started", "cp /root/popips/contrib/cron.d/popips /etc/cron.d/", "both start it"),
    Mistake(
        "expirer.started",
        "rm /etc/systemd/system/popips-expire.*; systemctl daemon-reload; systemctl stop popips-expire.timer",
        "nothing starts popips-expire",
    ),
    Mistake("expirer.run", f"touch -d '1 hour ago' {STAMPS}/.expire", "for 60 minutes"),
    Mistake("expirer.run", "rm /etc/popips.conf.lane", "each login starts Python"),
    Mistake("dovecot.fresh", "echo >> /etc/dovecot/dovecot.conf", "has not read /etc/dovecot/dovecot.conf as it is"),
    Mistake("dovecot.fresh", HOOK_BEHIND_DOVECOTS_BACK, "no service pop3-postlogin and no imap-postlogin"),
    Mistake("hook.programs", "chmod 0600 /usr/local/libexec/popips/popips-postlogin", "not everybody may run it"),
    Mistake("hook.programs", "chmod 0777 /usr/local/libexec/popips/popips-hook", "others may write it"),
    Mistake("hook.programs", "rm /usr/local/lib/popips/popips-postlogin.pyc", "a login takes longer"),
    Mistake(
        "hook.programs",
        "sed -i s,/usr/local/libexec,/usr/libexec, /etc/dovecot/conf.d/99-popips.conf",
        "there is no such program",
    ),
    Mistake(
        "log",
        "systemctl stop 'systemd-journald*.socket'; rm -f /dev/log",
        "no line is logged",
    ),
]
SENDMAIL = [
    Mistake("mta.fresh", f"touch -d '+2 seconds' {CF}", "before its .cf was changed"),
    Mistake("mta.fresh", f"touch -d '+5 seconds' {MC}", "is newer than the .cf"),
    Mistake("mta.fresh", "service sendmail stop", "does not run"),
    Mistake("mta.fresh", "systemctl disable sendmail", "not started at boot"),
    Mistake("mta.asks", f"echo Knonsense nosuch >> {CF}", "cannot be asked"),
    Mistake(
        "mta.listens",
        f"sed -i 's/Name=MTA, Port=smtp/Name=MTA, Port=smtp, Addr=::1/' {MC}; {MAKE}",
        "serves nobody else",
    ),
    Mistake("map.key", conf("compressed_ipv6 = yes"), "the other way"),
    Mistake("conf", conf(f"map = lmdb:{ACCESS[5:]}"), "sendmail asks no lmdb"),
    Mistake("conf", conf(f"map = cdb:{ACCESS[5:]}"), "sendmail's cdb can only be written as a whole"),
]
ADMINS = [  # a map of the admin's
    Mistake("mta.asks", conf("map = hash:/etc/mail/acces"), "does not ask hash:/etc/mail/acces"),
    Mistake(
        "mta.asks",
        f"makemap hash /etc/mail/popips < /dev/null; {conf('map = hash:/etc/mail/popips')}",
        "no map of its .cf is that file",
    ),
    Mistake("map.format", conf("map = btree:/etc/mail/access"), "a hash map"),
    Mistake("map.format", "echo nonsense > /etc/mail/access.db", "not a hash file"),
    Mistake("map.there", "rm /etc/mail/access.db", "is not there"),
    Mistake("map.key", conf("value = OK"), "does not relay"),
    Mistake("map.owner", "chmod 0666 /etc/mail/access.db", "any user may write it"),
    Mistake("map.owner", "chmod 0644 /etc/mail/access.db", "any user may read it"),
    Mistake("map.owner", "chmod g+w /etc/mail", "its group may write to it"),
    Mistake("map.owner", "chown alice /etc/mail/access.db", "its owner is user"),
    Mistake("map.lock", "setsid flock -x /etc/mail/access.db sleep 1000 > /dev/null 2>&1 &", "keeps it locked"),
    Mistake("map.journal", "chmod 0600 /etc/mail/access.db.popips", "in the middle of a change"),
    Mistake("map.journal", "chmod 0666 /etc/mail/access.db.popips", "not a plain file of root"),
    Mistake("map.ahead", "touch -d '1 hour' /etc/mail/access.db", "ahead of the clock"),
    Mistake("map.ahead", "touch -d '1 hour' /etc/mail/access", "in the future"),
    Mistake("map.pending", "echo 'Connect:198.51.100.7 REJECT' >> /etc/mail/access", "connect:198.51.100.7"),
    Mistake("map.pending", conf("static_source = /etc/mail/nosuch"), "cannot be read"),
    Mistake("map.size", "truncate -s 40M /etc/mail/access.db", "which each new login copies"),
]
OWN_RULES = r"""
cp /etc/mail/sendmail.mc /root/mc
sed -i '/^FEATURE(`drac/d' /etc/mail/sendmail.mc
cat >> /etc/mail/sendmail.mc << 'EOF'
LOCAL_CONFIG
Kpopips hash -o /var/lib/popips/popips.db
LOCAL_RULESETS
SLocal_check_rcpt
EOF
printf 'R$*\t$: $(popips $&{client_addr} $: NONE $)\nRRELAY\t$#OK\n' >> /etc/mail/sendmail.mc
"""
OWNS = [  # a map of popips' own, which sendmail asks
    Mistake("mta.asks", f"sed -i '/^FEATURE(`drac/d' {MC}; {MAKE}", "does not ask hash:/var/lib/popips/popips.db"),
    Mistake("mta.asks", f"sed -i '/^FEATURE(`drac/s/hash -o/hash -T<TMPF>/' {MC}; {MAKE}", "for everybody"),
    Mistake("map.there", "rm /var/lib/popips/popips.db", "is not there"),
    Mistake("map.format", "echo nonsense > /var/lib/popips/popips.db", "not a hash file"),
    Mistake("map.key", conf("key = connect"), "not for connect:ADDRESS"),
    Mistake("mta.order", f"{OWN_RULES}{MAKE}", "in spite of your REJECT"),
    Mistake(
        "mta.order",
        f"cp /root/mc {MC}; sed -i '/^FEATURE(`access_db/a FEATURE(`dnsbl'\\'', `dnsbl.example'\\'')dnl' {MC}; {MAKE}",
        "dnsbl.example",
    ),
]
OVERRIDE = "postconf -P smtp/inet/smtpd_relay_restrictions=permit_mynetworks,reject; postfix reload"
BEHIND_POSTFIXS_BACK = (  # nothing tells a change within the second of a reload from one before it
    "until [ $(ps -o etimes= -C qmgr) -gt 2 ]; do sleep 0.1; done; postconf -P smtp/inet/smtpd_helo_required=no"
)
POSTFIX = [
    Mistake("mta.asks", "sed -i '/^mta\\|^map\\|^own_map/d' /etc/popips.conf", "mta = sendmail"),
    Mistake("mta.asks", restrictions("permit_mynetworks, reject_unauth_destination"), "does not ask the map"),
    Mistake("mta.asks", restrictions(f"permit_mynetworks, reject_unauth_destination, {CHECK}"), "behind reject_unauth"),
    Mistake("mta.asks", restrictions(f"permit_mynetworks, {CHECK}"), "is the relay open to all?"),
    Mistake(
        "mta.asks", restrictions("permit_mynetworks, reject", "smtpd_recipient_restrictions"), "smtpd_recipient_res"
    ),
    Mistake("mta.asks", "postconf -e 'mynetworks = 0.0.0.0/0, [::]/0'; postfix reload", "mynetworks holds"),
    Mistake(
        "mta.listens", "postconf -e inet_interfaces=loopback-only; systemctl restart postfix", "serves nobody else"
    ),
    Mistake("mta.order", restrictions("reject_rbl_client dnsbl.example", "smtpd_client_restrictions"), "dnsbl.example"),
    Mistake("mta.order", restrictions(f"reject_rbl_client dnsbl.example, {ASKS}"), "dnsbl.example"),
    Mistake("mta.asks", restrictions(f"check_client_access hash:/etc/postfix/nosuch, {ASKS}"), "cannot read a table"),
    Mistake("mta.fresh", "postfix stop", "does not run"),
    Mistake("mta.fresh", BEHIND_POSTFIXS_BACK, "has not read master.cf"),
    Mistake("map.there", "rm /var/lib/popips/popips.db", "is not there"),
    Mistake("map.owner", "chmod 0666 /var/lib/popips/popips.db", "any user may write it"),
    Mistake("map.owner", "chown alice /var/lib/popips/popips.db", "its owner is user"),
    Mistake("conf", conf("key = bare"), "key is for sendmail"),
    Mistake("mta.asks", OVERRIDE, "does not ask the map"),
    Mistake("mta.asks", conf("map = hash:/var/lib/popips/other"), "does not ask the map"),
]
MISTAKES = {"access": [*ANYWHERE, *SENDMAIL, *ADMINS], "own": OWNS, "pam": [], "postfix": POSTFIX}


@pytest.mark.parametrize("name", SETUPS)
def test_each_mistake_is_found_and_its_fix_works(boot: Boot, name: str) -> None:
    with boot(SETUPS[name].layer) as host:
        follow(host, [*INSTALL, *SETUPS[name].commands])
        a_healthy_host_has_no_failure(host)
        host.do(*QUIET)
        for mistake in MISTAKES[name]:
            host.do("popips-expire")
            host.run(mistake.make)
            paste(host, mistake)
        assert host.login("pop3s", OTHER_V4) == "ok"
        host.do(f"popips-db ins {V6}")
        assert (host.rcpt(V6), host.rcpt(OTHER_V6)) == ("250", SETUPS[name].denied), host.run("popips-db doctor").stdout


@pytest.mark.parametrize("layer", ["postfix"])
def test_one_fix_sets_up_what_is_not_yet_and_what_was_undone(boot: Boot, layer: str) -> None:
    with boot(layer) as host:
        follow(host, INSTALL)
        for _ in range(2):
            assert "popips is not set up" in host.run("popips-db lst --grants").stderr
            (check,) = failures(host, strictly=True).values()
            assert (check["id"], check["found"]) == ("mta.asks", "popips is not set up")
            host.do(check["fix"])
            assert failures(host, strictly=True) == {}
            host.do("popips-db setup --undo")


def test_setup_puts_what_it_has_not_put_and_its_undo_takes_all_of_the_fixes_back(boot: Boot) -> None:
    with boot("sendmail") as host:
        follow(host, [*INSTALL, *readme.commands(test_main_job.SENDMAIL)])
        before = etc(host)
        found = failures(host)
        assert {"dovecot.hook", "expirer.started"} <= found.keys()
        for id in ("dovecot.hook", "expirer.started"):
            assert found[id]["fix"].endswith("popips-db setup --apply")
        host.do(found["dovecot.hook"]["fix"])
        assert failures(host) == {}
        host.do(
            "rm /etc/dovecot/conf.d/99-popips.conf; systemctl restart dovecot",
            "systemctl disable --now popips-expire.timer; rm /etc/systemd/system/popips-expire.*",
        )
        assert failures(host)["expirer.started"]["fix"].endswith("popips-db setup --apply")
        host.do(failures(host)["dovecot.hook"]["fix"])
        assert failures(host) == {}
        host.do("popips-db setup --undo")
        assert etc(host) ^ before == set()


def test_logins_pass_again_at_once_where_the_hook_is_gone(boot: Boot) -> None:
    with boot("sendmail") as host:
        follow(host, [*INSTALL, *SETUPS["access"].commands])
        host.do("rm /usr/local/libexec/popips/popips-postlogin")
        assert host.login("imaps", V4) != "ok"
        first, _ = failures(host)["hook.programs"]["fix"].splitlines()
        host.do(first)
        assert (host.login("imaps", V4), host.rcpt(V4)) == ("ok", SETUPS["access"].denied)
        assert "not popips' own program" in failures(host)["hook.programs"]["found"]
        host.do("make -C /root/popips install")
        assert failures(host) == {}
        assert (host.login("imaps", V4), host.rcpt(V4)) == ("ok", "250")


def a_healthy_host_has_no_failure(host: Host) -> None:
    assert failures(host) == {}, "nobody has a grant yet"
    for protocol, source in (("pop3s", V4), ("imaps", V6)):
        assert host.login(protocol, source) == "ok"
    assert failures(host) == {}
    host.do("popips-expire")  # shows the MTA what these logins put: else the timer's run does so at any moment
    before = state_of(host)
    assert "hook.logins" in {each["id"] for each in checks(host) if each["status"] == "ok"}
    assert host.run("popips-db doctor").stdout.startswith("open to logins: 0 fail")
    assert state_of(host) == before, "it changes nothing"


def paste(host: Host, mistake: Mistake) -> None:
    """See that doctor finds the mistake, and nothing of it any more once what it says is pasted."""
    found = failures(host, strictly=True)
    check = found.get(mistake.check)
    assert check and mistake.found in check["found"], (mistake, found)
    for _ in range(3):  # what one mistake hides may come after it
        for each in found.values():
            host.run(each["fix"])
        found = failures(host, strictly=True)
        if not found:
            return
    raise AssertionError((mistake, found))


def failures(host: Host, strictly: bool = False) -> dict[str, dict[str, str]]:
    """Return the checks that fail by id, and the warnings, too, but that of the clock, which is this machine's."""
    bad = ("fail", "warn") if strictly else ("fail",)
    return {each["id"]: each for each in checks(host) if each["status"] in bad and each["id"] != "clock"}


def checks(host: Host) -> list[dict[str, str]]:
    done = host.run("popips-db doctor --json")
    said = json.loads(done.stdout)
    assert done.returncode == (0 if said["ok"] else 1), done
    its: list[dict[str, str]] = said["checks"]
    return its


def state_of(host: Host) -> str:
    """Return what there is below /etc and in popips' folder, with times and modes; the timer's runs left out."""
    skip = "-not -path '*/stamps/.*' -not -name '*.popips'"
    of_folder = "%p %i %m %u"  # a run makes files in popips' own, which moves its times on
    every = f"{of_folder} %s %T@ %C@"
    return host.do(
        f"find /etc {skip} -printf '{every}\\n' | sort",
        f"find /var/lib/popips {skip} -type d -printf '{of_folder}\\n' -o {skip} -printf '{every}\\n' | sort",
    )
