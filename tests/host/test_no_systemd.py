"""popips-db setup where systemd does not run: scripts in /etc/init.d start the servers, and cron runs the expirer."""

from __future__ import annotations

import pytest

from tests.host.conftest import Boot
from tests.host.machine import V4, V6, Host
from tests.host.test_main_job import STAMPS, let_the_window_pass
from tests.host.test_setup import APPLY, CASES, DOCTOR, UNDO, etc, installed, logins_open_the_relay

# what is started below it finds no systemd; the journal stays, for nobody else keeps the log
WITHOUT = """#!/bin/sh
exec unshare --mount sh -ec '
mkdir -p /run/journal
mount --bind /run/systemd/journal /run/journal
mount -t tmpfs tmpfs /run/systemd
mkdir /run/systemd/journal
mount --bind /run/journal /run/systemd/journal
exec "$@"' sh "$@"
"""
SERVERS = {"sendmail": ["dovecot", "sendmail", "cron"], "postfix": ["dovecot", "postfix", "cron"]}


@pytest.mark.parametrize("name", ["access", "own", "postfix"])
def test_a_host_without_systemd_is_set_up_and_put_back(boot: Boot, name: str) -> None:
    case = CASES[name]
    with installed(boot, case.layer) as host:
        by_init(host, SERVERS[case.layer])
        before = etc(host)
        host.do(f"without {APPLY} {case.options}")
        assert host.path("/etc/cron.d/popips").exists()
        assert not host.path("/etc/systemd/system/popips-expire.timer").exists()
        logins_open_the_relay(host, case)
        judged = host.run(f"without {DOCTOR}").stdout
        assert judged.startswith("open to logins"), judged
        assert "by /etc/cron.d/popips" in judged
        assert "systemctl" not in judged.replace("systemctl enable --now systemd-timesyncd", ""), judged
        done = etc(host)
        assert "nothing to do" in host.do(f"without {APPLY}")
        assert etc(host) ^ done == set()
        let_the_window_pass(host, V4)
        host.until("run by cron", lambda: not host.path(f"{STAMPS}/{V4}").exists())
        assert (host.rcpt(V4), host.rcpt(V6)) == (case.denied, "250")
        host.do(f"without {UNDO}")
        assert etc(host) ^ before == set()
        assert host.login("imaps", V4) == "ok"
        assert (host.rcpt(V4), host.rcpt(V6)) == (case.denied, case.denied)


def by_init(host: Host, servers: list[str]) -> None:
    """Have the servers be started by their scripts, as an init of old does."""
    host.write("/usr/local/sbin/without", WITHOUT)
    host.do("chmod 0755 /usr/local/sbin/without", "systemctl daemon-reload")
    for server in servers:
        host.run(f"systemctl stop {server} '{server}@*'")  # Debian 12's postfix.service does not wait for postfix@-
        host.do(f"without service {server} start > /dev/null 2>&1")
