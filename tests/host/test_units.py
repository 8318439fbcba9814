"""The hardened units of contrib/: how little they can do, and that all of popips' work can be done in them."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.host import readme
from tests.host.conftest import Boot
from tests.host.machine import OTHER_V4, OTHER_V6, SERVER_V6, USER, V4, V6, Host
from tests.host.test_main_job import EXPIRER, HOOK, INSTALL, SENDMAIL, SETUPS, STAMPS, follow, let_the_window_pass
from tests.sendmail_cdb import BUILT

MOST = 15  # of exposure, in tenths, as systemd-analyze counts it
RUN = "systemctl start popips-expire.service"
NO_TIMER = "systemctl stop popips-expire.timer"  # only the runs that the test starts
DROP = "/var/lib/popips/drop"
FOLLOWER = "/etc/systemd/system/popips-follow.service"


def test_the_expirers_unit_can_do_all_of_its_work_and_little_else(boot: Boot) -> None:
    with boot("sendmail") as host:
        follow(host, [*INSTALL, *SETUPS["access"].commands, NO_TIMER, "cp contrib/systemd/*.service /root"])
        for unit in ("popips-expire", "popips-follow"):
            host.do(f"systemd-analyze security --offline=true --threshold={MOST} /root/{unit}.service")
        host.do(
            f"install -d -m 0711 {DROP}; install -d -o {USER} -m 0700 {DROP}/{USER}",
            f"printf 'renew = sessions\\ndrop = {DROP}\\n' >> /etc/popips.conf",
            f"su {USER} -c 'echo {OTHER_V4} > {DROP}/{USER}/here'",
            # whole so far, but its writer has it open still
            f"systemd-run -q --uid={USER} sh -c 'exec 3>{DROP}/{USER}/slow; echo {OTHER_V6} >&3; exec sleep infinity'",
        )
        host.until("file", lambda: host.path(f"{DROP}/{USER}/slow").exists())
        assert host.login("imaps", V6) == "ok"
        with host.idling(V4):
            let_the_window_pass(host, V4)
            let_the_window_pass(host, V6)
            host.do("rm /etc/mail/access.db", "make -C /etc/mail")
            assert host.rcpt(V4) == "550"
            host.do(RUN)
            # renewed by its session and put back, expired, dropped
            assert [host.rcpt(source) for source in (V4, V6, OTHER_V4)] == ["250", "550", "250"], host.said()
        assert host.do(f"ls {DROP}/{USER}") == "slow\n"
        assert host.do("stat -c '%U:%G %a' /etc/mail/access.db") == "smmta:smmsp 640\n"
        assert "error" not in "\n".join(host.logged("popips-expire"))
        assert host.do("systemctl --failed --no-legend") == ""


def test_a_map_of_its_own_that_the_unit_makes_is_for_its_folders_group_to_read(boot: Boot) -> None:
    """In /etc/mail that is sendmail's."""
    with boot("sendmail") as host:
        follow(host, [*INSTALL, *readme.commands(EXPIRER), NO_TIMER])
        host.do("printf 'map = hash:/etc/mail/popips\\nown_map = yes\\n' >> /etc/popips.conf", RUN)
        host.do(f"popips-db ins {V4} {V6}", "rm /etc/mail/popips.db")
        let_the_window_pass(host, V6)
        host.do(RUN)
        assert host.do("popips-db lst") == f"{V4}\tRELAY\n"
        assert host.do("stat -c '%G %a' /etc/mail/popips.db") == host.do("stat -c '%G 640' /etc/mail")


@pytest.mark.parametrize("kind", ["lmdb", "cdb"])
def test_postmap_works_in_the_unit(boot: Boot, kind: str) -> None:
    with boot("postfix") as host:
        host.do(f"apt-get install -y --no-download postfix-{kind}")
        theirs = [line.replace("hash:", f"{kind}:") for line in readme.commands("Postfix")]
        follow(host, [*INSTALL, *theirs, *readme.commands(HOOK), *readme.commands(EXPIRER), NO_TIMER])
        for source in (V4, V6):
            assert host.login("imaps", source) == "ok"
            assert host.rcpt(source) == "250", host.said()
        let_the_window_pass(host, V4)
        host.do(RUN)
        assert [host.rcpt(source) for source in (V4, V6)] == ["554", "250"], host.said()
        host.do(f"rm {_map(host, kind)}", RUN)
        assert host.do(f"stat -c '%a %U %G' {_map(host, kind)}") == "640 root root\n"
        assert [host.rcpt(source) for source in (V4, V6)] == ["554", "250"], host.said()


def test_makemap_makes_a_cdb_in_the_unit(boot: Boot) -> None:
    with boot("sendmail") as host:
        shutil.copy(BUILT / "makemap", host.path(os.path.realpath("/usr/sbin/makemap")))
        own = "printf 'map = cdb:/var/lib/popips/popips\\nown_map = yes\\n' >> /etc/popips.conf"
        follow(host, [*INSTALL, own, *readme.commands(HOOK), *readme.commands(EXPIRER), NO_TIMER, RUN])
        for source in (V4, V6):
            assert host.login("imaps", source) == "ok"
        let_the_window_pass(host, V6)
        for command in ("true", "rm /var/lib/popips/popips.cdb"):
            host.do(command, RUN)
            assert host.do("makemap -u cdb /var/lib/popips/popips") == f"{V4}\tRELAY\n", host.said()
            for name in ("popips", "popips.cdb"):
                assert host.do(f"stat -c '%a %U' /var/lib/popips/{name}") == "640 root\n"
        assert "popips.new.cdb" not in host.do("ls /var/lib/popips")


def _map(host: Host, kind: str) -> str:
    return host.do(f"ls /var/lib/popips/popips.{kind}").strip()


def test_the_followers_unit_grants_by_the_journal_as_readme_says(boot: Boot) -> None:
    (look, copy, *start), take_out = readme.blocks("Other ways to use it")
    with boot("sendmail") as host:
        # nspawn lays a boot's name of its own over the kernel's, which a unit with a /proc of its own still sees
        host.do("umount /proc/sys/kernel/random/boot_id", "systemctl restart systemd-journald")
        follow(
            host,
            [
                *INSTALL,
                *readme.commands(SENDMAIL),
                *readme.commands(EXPIRER),
                look.replace("'courier-*'", "dovecot").replace("--format courier", "--format dovecot"),
                copy,
                f"sed -i 's/-u courier.* |/-u dovecot |/; s/--format courier/--format dovecot/' {FOLLOWER}",
                *start,
            ],
        )
        # journalctl -f may not have begun to look at the first
        host.until("grant", lambda: host.login("pop3s", V4) == "ok" and host.path(f"{STAMPS}/{V4}").exists())
        host.until("record", lambda: host.rcpt(V4) == "250")
        # what a user writes does not come from Dovecot's unit, and what Dovecot writes after it does
        forged = f"Login: user=<{USER}>, method=PLAIN, rip={V6}, lip={SERVER_V6}, mpid=1, TLS, session=<a>"
        host.do(f"su {USER} -c 'logger -t dovecot -p mail.info \"imap-login: {forged}\"'")
        assert any(forged in line for line in host.logged("dovecot")), host.said()
        host.until(
            "grant", lambda: host.login("pop3s", OTHER_V4) == "ok" and host.path(f"{STAMPS}/{OTHER_V4}").exists()
        )
        assert not host.path(f"{STAMPS}/{V6}").exists()
        assert host.rcpt(V6) == "550"
        follow(host, take_out)
        assert host.do("systemctl list-units --all --no-legend 'popips-f*'; find /etc/systemd -name 'popips-f*'") == ""
