"""The Debian package on a booted host: installed, logged in, upgraded while logins run, removed without a trace."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.box import ROOT
from tests.host import build, readme
from tests.host.conftest import Boot
from tests.host.machine import OTHER_V4, OTHER_V6, V4, V6, Host
from tests.host.test_main_job import STAMPS, let_the_window_pass

DOC = "/usr/share/doc/popips"
HOOK_FILES = [*readme.blocks("Out of Dovecot")[0], *readme.blocks("Out of Dovecot")[-1]]
PURGE = readme.blocks("Out of the system")[0]
UPGRADES = 3
# the package from which the host is upgraded: the same, by an older name
AGED = """
dpkg-deb -R /root/popips.deb /root/older
sed -i 's/^Version: .*/Version: 0.0.1/' /root/older/DEBIAN/control
dpkg-deb -b /root/older /root/older.deb
"""
FILES = "find /etc /usr /var -path '*popips*' -not -path '/var/log/*' -not -path '/var/cache/*'"


@contextmanager
def with_package(boot: Boot, release: str, shared: Path) -> Iterator[Host]:
    """Boot a host with sendmail, and have the package on it as README says, the hook of Dovecot included."""
    deb = build.package(release, shared)
    with boot("sendmail") as host:
        host.copy(deb, "/root/popips/build/popips_0_all.deb")
        host.copy(deb, "/root/popips.deb")
        install = readme.blocks("1. popips")[2]
        host.do(*(f"cd /root/popips && {line}" for line in install if line != "make deb"))
        steps = [*readme.commands("2. sendmail"), *readme.commands("4. A hook at each login")]
        host.do(*(f"cd {DOC} && {line}" for line in steps))
        yield host


def test_the_package_does_the_main_job_and_leaves_no_trace(boot: Boot, release: str, shared: Path) -> None:
    with with_package(boot, release, shared) as host:
        for protocol, source in (("pop3s", V4), ("imaps", V6)):
            assert host.rcpt(source) == "550"
            assert host.login(protocol, source) == "ok"
            assert host.rcpt(source) == "250", host.said()
        let_the_window_pass(host, V6)
        host.until("run of the timer", lambda: not host.path(f"{STAMPS}/{V6}").exists())
        assert (host.rcpt(V4), host.rcpt(V6)) == ("250", "550")
        refused = host.run("apt-get purge -y popips")
        assert refused.returncode != 0
        assert "/etc/dovecot/conf.d/99-popips.conf" in refused.stdout + refused.stderr
        assert host.login("imaps", OTHER_V4) == "ok"
        assert (host.rcpt(V4), host.rcpt(OTHER_V4)) == ("250", "250")
        host.do(*HOOK_FILES[:-1], *PURGE)  # Dovecot has not heard of it, and is told by the package
        assert [host.rcpt(source) for source in (V4, V6, OTHER_V4)] == ["550"] * 3
        assert host.login("imaps", V4) == "ok"
        assert host.do(f"{FILES} -not -path '/root/*'") == ""
        assert host.do("systemctl show -p NeedDaemonReload dovecot") == "NeedDaemonReload=no\n"
        assert "Remv python3-bsddb3 " in host.do("apt-get -s autoremove")
        assert host.do("systemctl --failed --no-legend") == ""


def test_no_login_is_refused_or_lost_while_the_package_is_upgraded(boot: Boot, release: str, shared: Path) -> None:
    with with_package(boot, release, shared) as host, ThreadPoolExecutor() as pool:
        host.do(AGED)
        upgrades = [f"dpkg -i /root/{name}.deb" for name in ("older", "popips") * UPGRADES]
        upgrade = pool.submit(host.do, *upgrades)
        verdicts = []
        while not upgrade.done():
            logins = [pool.submit(host.login, *words) for words in (("pop3s", V4), ("imaps", V6), ("pop3s", OTHER_V6))]
            verdicts += [login.result() for login in logins]
        upgrade.result()
        assert set(verdicts) == {"ok"}, verdicts
        assert [host.rcpt(source) for source in (V4, V6, OTHER_V4, OTHER_V6)] == ["250", "250", "550", "250"]
        assert [line for line in host.logged() if line.startswith(("refused", "deferred"))] == []


def test_make_deb_installs_what_it_builds_with(boot: Boot) -> None:
    with boot("sendmail") as host:
        install = [*readme.blocks("1. popips")[0], *readme.blocks("1. popips")[2]]
        assert "build/popips_" in host.do(*(f"cd /root/popips && {line}" for line in install))
        assert host.run("popips-db --version").returncode == 0


def test_the_packages_own_test_passes(boot: Boot, release: str, shared: Path) -> None:
    """As autopkgtest runs it, on a host that has the package and nothing else of ours."""
    deb = build.package(release, shared)
    with boot("sendmail") as host:
        host.copy(deb, "/root/popips.deb")
        host.copy(ROOT / "debian" / "tests" / "main-job", "/root/main-job")
        host.do("ip link delete host0", "apt-get install -y ./popips.deb", "sh /root/main-job")
