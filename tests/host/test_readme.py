"""What README says beside the main job: cron, removal, and what Debian's servers refuse by themselves."""

from __future__ import annotations

from tests.host import readme
from tests.host.conftest import Boot
from tests.host.machine import PASSWORD, SERVER_V4, USER, V4, V6
from tests.host.test_main_job import HOOK, INSTALL, SENDMAIL, SETUPS, STAMPS, follow, let_the_window_pass


def test_cron_takes_the_place_of_the_timer(boot: Boot) -> None:
    with boot("sendmail") as host:
        follow(host, [*INSTALL, *readme.commands(SENDMAIL), *readme.commands(HOOK), *readme.commands("cron")])
        assert (host.login("pop3s", V4), host.login("imaps", V6)) == ("ok", "ok")
        let_the_window_pass(host, V4)
        host.until("run of cron", lambda: not host.path(f"{STAMPS}/{V4}").exists())
        assert (host.rcpt(V4), host.rcpt(V6)) == ("550", "250")


def test_it_is_removed_as_readme_says(boot: Boot) -> None:
    with boot("sendmail") as host:
        follow(host, [*INSTALL, *SETUPS["access"].commands, *readme.commands("5. See it work")])
        refused = host.client("pop3", V4, SERVER_V4, USER, PASSWORD)
        assert "TLS" in refused  # without it no password is taken
        assert host.login("pop3s", V4) == "ok"
        remove = readme.blocks("Remove it")[0]
        kept = host.run(f"cd /root/popips && {remove[-1]}")
        assert kept.returncode != 0
        assert "99-popips.conf" in kept.stderr
        follow(host, remove)
        assert host.rcpt(V4) == "550"
        assert host.login("pop3s", V4) == "ok"
        left = host.do("find /etc /usr /var -path '*popips*' -not -path '/var/log/*' -not -path '/var/lib/popips*'")
        assert sorted(left.split()) == ["/etc/mail/access.db.popips", "/etc/popips.conf.lane"]
