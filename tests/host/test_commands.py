"""What the man pages and docs/trouble.md show, typed on a host that is set up; tests/test_commands.py has the rest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.commands import shown
from tests.host import build, readme
from tests.host.conftest import Boot
from tests.host.machine import OTHER_V4, USER, V4, Host
from tests.host.test_main_job import SENDMAIL, follow

LOG, CONF = "/var/log/mail.log", "/etc/popips.conf"
GRANTED = "popips-db ins 192.0.2.10"
PATTERN = "follow_pattern = mypopd: login (?P<user>[^ ]+) from (?P<address>[0-9a-f.:]+)$"
MYPOP = "mypop: user (?P<user>[^ ]+) from (?P<address>[0-9a-f.:]+) ok$"
COURIER = f"LOGIN, user={USER}, ip=[::ffff:{V4}], port=[55243]"
VIRTUAL = "printf 'info@example.com alice\\n' | makemap hash /etc/mail/virtusertable.db"


@dataclass(frozen=True)
class Row:
    """A page's section; what has to be there before some of its commands; what some of them show."""

    page: str
    heading: str
    before: dict[str, str]
    shows: dict[str, str]


ROWS = [
    Row(
        "man/popips-db.8",
        "EXAMPLES",
        {
            "popips-db lst --grants": GRANTED,
            "popips-db end --network 192.0.2.0/24": GRANTED,
            "popips-db end --all": GRANTED,
            "popips-db -m hash:/etc/mail/virtusertable lst info@example.com": VIRTUAL,
        },
        {
            "popips-db doctor": "open to logins",
            "popips-db lst --grants": "192.0.2.10\troot\t",
            "popips-db why 192.0.2.10": "granted",
            "popips-db ins 192.0.2.1 RELAY spammer.example REJECT": "",
            "popips-db -m hash:/etc/mail/virtusertable lst info@example.com": "info@example.com\talice",
            "popips-db lst --grants --json | python3 -m json.tool": '"192.0.2.10"',
        },
    ),
    Row("man/popips-expire.8", "EXAMPLES", {}, {}),
    Row("man/popips.7", "DESCRIPTION", {}, {"grep '^Kaccess' /etc/mail/sendmail.cf": "Kaccess hash -T<TMPF>"}),
    Row("docs/caveats.md", "Backups of the stamps", {}, {}),
    Row("docs/trouble.md", "Trouble, by what you see", {"popips-db why ADDRESS": f"popips-db ins {V4}"}, {}),
    Row("docs/trouble.md", "setup --undo refuses", {}, {}),
]
LOOKS = {  # commands of popips-follow(8) that end by themselves, and what they show
    "journalctl -q -S today -o json -u 'courier-*' | popips-follow -n --journal --format courier": f"{V4}\t{USER}\t",
    "popips-follow -n --format own < /var/log/mail.log": f"{OTHER_V4}\tbob\tmypopd",
    "popips-follow --try 'mypopd: (?P<user>[^ ]+) from (?P<address>[0-9a-f.:]+)$' < /var/log/mail.log": "\tcarol",
    "journalctl -q -S today -u mypopd.service": "login bob",
    "grep mypop /var/log/mail.log": "login bob",
    "popips-follow -n --format courier < /var/log/mail.log": f"{V4}\t{USER}\tpop3",
    f"popips-follow --try '{MYPOP}' < /var/log/mail.log": "\talice",
}
FOLLOWS = {  # those that go on until they are stopped, and what logs a login for them
    "tail -n 0 -F /var/log/mail.log | popips-follow --format courier": "file",
    "journalctl -q -n 0 -f -o json -u dovecot | popips-follow --journal --format dovecot": "dovecot",
    "journalctl -q -f -n 0 -o json -u mypopd | exec .../popips-follow --journal --unit mypopd --format own": "mypopd",
    "tail -n 0 -F /var/log/mail.log | exec .../popips-follow --format courier": "file",
}


def test_the_commands_of_the_pages_do_what_they_are_shown_for(boot: Boot, release: str, shared: Path) -> None:
    with boot("sendmail") as host:
        # nspawn lays a boot's name of its own over the kernel's, which a unit with a /proc of its own still sees
        host.do("umount /proc/sys/kernel/random/boot_id", "systemctl restart systemd-journald")
        host.copy(build.package(release, shared), "/root/popips/build/popips_0_all.deb")
        follow(host, ["apt-get install -y ./build/popips_*_all.deb", *readme.commands(SENDMAIL)])
        host.do("popips-db setup --apply", "mkdir -p /var/lib/prometheus/node-exporter")
        assert host.login("pop3s", V4) == "ok"
        for row in ROWS:
            commands = [one.command for one in shown() if (one.page, one.heading) == (row.page, row.heading)]
            assert commands and set(row.before) | set(row.shows) <= set(commands), row
            for command in commands:
                host.do(row.before.get(command, "true"))
                assert row.shows.get(command, "") in host.do(typed(command)), command
        host.do(f"printf '%s\\n' '{PATTERN}' >> {CONF}")
        logs(host, "mypopd", "login bob from 192.0.2.9")
        logs(host, "courier-pop", COURIER)
        host.do(*(f"echo \"$(date '+%b %e %T') mx {line}\" >> {LOG}" for line in LINES))
        for command, told in LOOKS.items():
            assert told in host.do(command), command
        for number, (command, by) in enumerate(FOLLOWS.items()):
            host.do("popips-db end --all", f'systemd-run -q -u follow{number} sh -c "{typed(command)}"')
            host.until("grant", partial(is_granted, host, by))
            host.do(f"systemctl stop follow{number}")
        copy, *start = readme.blocks("Let it run")[0]
        host.do(copy, *start, "journalctl -q -t popips-follow")


LINES = (
    f"pop3d: {COURIER}",
    f"mypopd[7]: login bob from {OTHER_V4}",
    "mypopd[7]: carol from 192.0.2.7",
    "mypop[77]: user alice from 192.0.2.1 ok",
)


def typed(command: str) -> str:
    """Return a command with this host's names: without cron's times, with the package's paths and an address."""
    command = command.removeprefix("* * * * * root ").replace("/usr/local/", "/usr/").replace("ADDRESS", V4)
    return command.replace(".../", "/usr/sbin/")


def logs(host: Host, unit: str, line: str) -> None:
    """Write a line to the journal from a server's unit."""
    program = {"courier-pop": "pop3d"}.get(unit, unit)
    host.do(f"systemd-run -q --unit={unit} -p Type=oneshot -p SyslogIdentifier={program} echo '{line}'")


def is_granted(host: Host, by: str) -> bool:
    """Whether there is a grant for the login that is logged now: who follows may not have begun to look before."""
    if by == "file":
        host.do(f"echo \"$(date '+%b %e %T') mx {LINES[0]}\" >> {LOG}")
    elif by == "dovecot":
        assert host.login("pop3s", V4) == "ok"
    else:
        logs(host, by, f"login {USER} from {V4}")
    return f"{V4}\t" in host.do("popips-db lst --grants")
