"""docs/quick-follow.md as a reader types it, with a unit that logs what Courier does in the place of Courier."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tests.host import build, readme
from tests.host.conftest import Boot
from tests.host.machine import USER, V4, V6, Host
from tests.host.test_main_job import SENDMAIL, follow

(LOOK,) = readme.commands("See what would be granted")
START, SHOWN = readme.blocks("Let it run")
TAKE_OUT = readme.commands("Take it out again")


def logs_a_login(host: Host, address: str) -> None:
    """Write the line of Courier's by which it tells of a login, from its unit."""
    line = f"LOGIN, user={USER}, ip=[{address}], port=[55243]"
    host.do(f"systemd-run -q --unit=courier-pop -p Type=oneshot -p SyslogIdentifier=pop3d echo '{line}'")


def grants(host: Host, source: str, logged: str) -> bool:
    """Whether a login is granted; it is logged each time, for journalctl -f may not have begun to look."""
    logs_a_login(host, logged)
    return source in host.do("popips-db lst --grants")


def test_the_logins_of_a_server_without_hooks_open_the_relay(boot: Boot, release: str, shared: Path) -> None:
    with boot("sendmail") as host:
        # nspawn lays a boot's name of its own over the kernel's, which a unit with a /proc of its own still sees
        host.do("umount /proc/sys/kernel/random/boot_id", "systemctl restart systemd-journald")
        host.copy(build.package(release, shared), "/root/popips/build/popips_0_all.deb")
        follow(host, ["apt-get install -y ./build/popips_*_all.deb", *readme.commands(SENDMAIL)])
        logs_a_login(host, f"::ffff:{V4}")
        assert host.do(LOOK) == f"::ffff:{V4}\t{USER}\tpop3\n"
        assert host.rcpt(V4) == "550"
        host.do(*START)
        for source, logged in ((V4, f"::ffff:{V4}"), (V6, V6)):
            host.until("grant", partial(grants, host, source, logged))
            assert host.rcpt(source) == "250", host.said()
        listed, said = (host.do(line) for line in SHOWN)
        assert f"{V4}\t{USER}\tpop3\t" in listed
        assert f"granted: address={V4} " in said
        host.do(*TAKE_OUT)
        host.do("apt-get purge -y popips")
        assert host.do("find /etc/systemd -name 'popips-f*'") == ""
        assert host.rcpt(V4) == "550"
