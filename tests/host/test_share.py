"""popips-share on freshly installed Debians, by its unit and its page; what the other host tells is typed."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.box import ROOT
from tests.host import readme, roots
from tests.host.conftest import Boot
from tests.host.machine import OTHER_V4, OTHER_V6, SERVER_V4, V4, V6, Host
from tests.host.test_main_job import EXPIRER, HOOK, INSTALL, follow
from tests.host.test_mapd import MTAS, UNITS

PAGE = (ROOT / "man/popips-share.8").read_text().replace("\\-", "-")
BLOCKS = [
    [line.strip() for line in block.splitlines()] for block in re.findall(r"^\.nf\n(.*?)^\.fi$", PAGE, re.M | re.S)
]
LOOK, LEAVE, CLEAN, LIFT, SERVER, CERTIFICATE, TRUST, PACKAGE, BY_HAND, JOIN, (STATUS,) = BLOCKS
HERE = [*PACKAGE, *BY_HAND, *(line.replace("ENGINE", "localhost") for line in JOIN)]
OTHER = "pop3"  # the host that LIFT names


def test_logins_are_told_and_those_of_other_hosts_count(boot: Boot, release: str) -> None:
    mta, engine = MTAS["postfix"], roots.ENGINES[release]

    def on_it(lines: list[str]) -> list[str]:
        """Return lines of the page for this engine, whose name is localhost here, without a terminal to ask at."""
        names = {"redis": engine, "ENGINE": "localhost", "192.0.2.5": SERVER_V4}
        for old, new in {**names, "--askpass": "-a ADMINPASSWORD --no-auth-warning"}.items():
            lines = [line.replace(old, new) for line in lines]
        return lines

    look, at_denials, lift = on_it([*LOOK, *LIFT])
    cli = look.partition(" XRANGE")[0]
    status = re.escape(STATUS.replace("ENGINE", "localhost")).replace(r"as\ mx", r"as\ \S+")
    shown = re.sub(r"\d+", r"\\d+", status.replace(OTHER, "OTHER")).replace("OTHER", OTHER)
    units = [line.replace("popips-mapd.socket", mta.socket) for line in UNITS]
    with boot("postfix") as host:

        def tell(line: str) -> None:
            """Write into the stream as the agent of another host does."""
            host.do(f"{cli} XADD popips:log '*' e '{line}'")

        host.do(f"apt-get install -q -y --no-download {engine}-server")
        host.do(*(f"echo '{line}' >> /etc/{engine}/{engine}.conf" for line in on_it(SERVER)), *on_it(CERTIFICATE))
        host.do(
            f"cp /etc/{engine}/popips.crt /usr/local/share/ca-certificates/popips.crt",
            *TRUST,
            "echo 'APT::Get::Assume-Yes 1;' > /etc/apt/apt.conf.d/yes",
        )
        hook = readme.commands(HOOK)
        follow(host, [*INSTALL, *mta.conf, *readme.commands(EXPIRER), *hook, *units, *mta.lines, *HERE])
        assert host.login("imaps", V4) == "ok"
        host.until("the login is told", lambda: f"+ {V4} " in host.do(look))
        tell(f"+ {OTHER_V4} 1.000 bob imap {OTHER}")
        host.until("a login there opens the relay", lambda: host.rcpt(OTHER_V4) == "250")
        assert f"user=bob service=imap by=@{OTHER} " in host.do(f"popips-db why {OTHER_V4}")
        host.until("status shows it", lambda: bool(re.search(shown, host.run("popips-db status").stdout)))
        tell(f"- {OTHER_V4} 0.000 bob imap {OTHER}")
        host.until("its end there closes it", lambda: host.rcpt(OTHER_V4) == mta.denied)
        tell(f"+ {OTHER_V6} 1.000 bob imap {OTHER}")
        host.until("another opens it", lambda: host.rcpt(OTHER_V6) == "250")
        host.do(f"popips-db deny {V4}", f"{cli} HSET popips:log:denied {OTHER} '{OTHER_V6} - root@{OTHER}'")
        tell(f"! - 0.000 - - {OTHER}")
        host.until("a denial there closes it", lambda: host.rcpt(OTHER_V6) == mta.denied)
        host.until("one here is told", lambda: V4 in host.do(at_denials))
        follow(host, [lift])
        tell(f"! - 0.000 - - {OTHER}")
        host.until("it is lifted", lambda: host.rcpt(OTHER_V6) == "250")
        host.do("systemctl restart popips-share.service")
        assert host.rcpt(OTHER_V6) == "250"
        host.do(f"systemctl stop {engine}-server")
        assert host.login("imaps", OTHER_V4) == "ok"
        assert host.rcpt(OTHER_V4) == "250"
        host.do(f"systemctl start {engine}-server")
        host.until("what was missed is told", lambda: f"+ {OTHER_V4} " in host.do(look).rpartition(f"- {OTHER_V4}")[2])
        assert host.do("systemctl --failed --no-legend") == ""
        leave_fleet(host, lambda: V4 in host.do(at_denials))
        tell(f"+ {V6} 1.000 bob imap {OTHER}")
        assert host.run("systemctl is-active popips-share.service").stdout == "inactive\n"
        assert host.rcpt(V6) == mta.denied
        assert host.login("imaps", V4) == "ok"
        leave_nothing(host)


def leave_fleet(host: Host, is_denied_there: Callable[[], bool]) -> None:
    """The denial of V4 is lifted for the others, too, before this host tells them no more."""
    denials, undeny, *leave = LEAVE
    assert V4 in host.do(denials)
    follow(host, [undeny.replace("192.0.2.10", V4)])
    host.until("the lifting is told", lambda: not is_denied_there())
    follow(host, leave)


def leave_nothing(host: Host) -> None:
    assert "fleet" not in host.run("popips-db status").stdout
    follow(host, CLEAN)
    assert not host.path("/run/popips/from").exists()
    assert "popips.pem" not in host.do("ls /etc/ssl/certs")
