"""popips-follow: what it grants, prints, and says of itself; by a pattern of one's own, and by a real Dovecot's log."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from follower import formats, journal, rules
from follower.use import BUSY, HOUR, LINES, WAITING, Use
from tests.box import CRON_ENVIRONMENT, Box
from tests.conftest import NOW, Installed

V4, V6, OTHER = "192.0.2.10", "2001:db8::10", "192.0.2.11"
PATTERN = r"mypopd: login (?P<user>[^ ]+) from (?P<address>[0-9a-f.:]+)$"


def courier(address: str = V4, user: str = "alice") -> str:
    return f"pop3d: LOGIN, user={user}, ip=[::ffff:{address}], port=[55243]"


def log(*messages: str, now: float | None = None) -> str:
    """Lines of this moment."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    return "".join(f"{stamp} mail {message}\n" for message in messages)


def test_the_program_grants_and_logs_and_goes_on_after_a_mistake(installed: Installed) -> None:
    site = installed.site
    done = installed.run(
        "popips-follow", "--format", "courier", stdin=log(*map(courier, (V4, "127.0.0.1", "1.2.3", OTHER)))
    )
    assert done.returncode == 0
    assert f"granted: address={V4} user=alice service=pop3 map=" in done.stderr  # there is no log
    assert site.records() == {V4: "RELAY", OTHER: "RELAY"}
    assert (site.stamps / V4).read_text() == "alice pop3 popips-follow\n"


def test_each_line_is_granted_at_once_and_many_together(installed: Installed) -> None:
    """The program waits for no second line."""
    command = [str(installed.path("popips-follow")), "-c", str(installed.site.conf), "--format", "courier"]
    following = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=CRON_ENVIRONMENT)
    assert following.stdin
    names = [f"198.51.100.{n}" for n in range(1, 101)]
    for batch in ([V4], names, [OTHER]):
        following.stdin.write(log(*map(courier, batch)).encode())
        following.stdin.flush()
        end = time.monotonic() + 60
        while not set(batch) <= installed.site.names():
            assert time.monotonic() < end, "it waits for another line"
            time.sleep(0.01)
    following.stdin.close()
    assert following.wait(60) == 0
    assert set(installed.site.records()) == {V4, OTHER, *names}


@pytest.mark.parametrize("broken", ["conf", "stamps"])
def test_logins_wait_until_popips_conf_and_the_stamp_folder_can_be_used(installed: Installed, broken: str) -> None:
    """And what keeps them is told once."""
    site, names = installed.site, {f"198.51.100.{n}" for n in range(1, 6)}
    path: Path = getattr(site, broken)
    aside = path.rename(f"{path}.aside")
    command = [str(installed.path("popips-follow")), "-c", str(site.conf), "--format", "courier"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stderr=pipe, env=CRON_ENVIRONMENT, text=True) as following:
        assert following.stdin and following.stderr
        for name in sorted(names):
            following.stdin.write(log(courier(name)))
            following.stdin.flush()
            if name.endswith(".1"):
                told = following.stderr.readline()
        aside.rename(path)
        following.stdin.write(log(courier(V4)))
        following.stdin.close()
    assert f"error: {path}: there is no such" in told
    assert set(site.records()) == {*names, V4}


def test_an_error_that_keeps_logins_is_told_once_and_the_last_logins_are_kept() -> None:
    using = Use(formats.load("courier"), "courier", began=0)
    found = [rules.Login(V4, f"user{n}", "pop3", NOW) for n in range(WAITING + 1)]
    assert [using.is_kept_by(found, text) for text in ("a", "a", "b", "b")] == [True, False, True, False]
    assert using.waiting == found[1:]
    later = rules.Login(V4, "user7", "pop3", NOW + 1)
    assert using.is_kept_by([found[7], later], "b") is False
    assert using.waiting == [later]
    using.done()
    assert (using.waiting, using.is_kept_by(found, "b")) == ([], True)


def test_a_dry_run_prints_the_logins_only_also_those_of_long_ago(installed: Installed) -> None:
    text = log(courier(), "sshd[7]: x", courier(OTHER, "bob"), now=0)
    done = installed.run("popips-follow", "-n", "--format", "courier", stdin=text)
    assert done.stdout.splitlines() == [f"::ffff:{V4}\talice\tpop3", f"::ffff:{OTHER}\tbob\tpop3"]
    assert installed.site.names() == set()
    assert "2 logins that are not of now grant nothing" in done.stderr


def test_a_format_that_there_is_not_is_named_with_those_there_are(installed: Installed) -> None:
    done = installed.run("popips-follow", "--format", "exchange")
    there = f"there are {', '.join(formats.names())}, and own for follow_pattern"
    assert (done.returncode, done.stderr.splitlines()[0]) == (64, f"popips-follow: exchange: no such format; {there}")


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        ([], "one of the arguments --format --try is required"),
        (["--format", "courier", "--try", "x"], "not allowed with"),
        (["--format", "courier", "--unit", "x.service"], "--unit is for --journal: give that, too"),
        (["--format", "dovecot-file", "--journal"], "have the server log by syslog"),
        (["--try", PATTERN, "--journal"], "--try: it is not known which unit is the server's: name it"),
    ],
)
def test_options_that_do_not_go_together_are_named(installed: Installed, words: list[str], cure: str) -> None:
    done = installed.run("popips-follow", *words)
    assert (done.returncode, cure in done.stderr) == (64, True), done.stderr


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("loging = x\n", "loging: not a key, or more than once"),
        ("program = x\nprogram = y\nlogin = (?P<address>x)\n", "program: not a key, or more than once"),
        ("program = x\nfrom = (?P<address>x)\n", "there must be a login"),
        ("head = (?P<time>x)\nlogin = (?P<address>x)\n", "with a head its group `time`, and the form of that"),
        ("head = x\ntime = %H\nlogin = (?P<address>x)\n", "with a head its group `time`, and the form of that"),
        ("program = x\nlogin = (x\n", "not a regular expression"),
        ("program = x\nlogin = (?P<address>x)\nlogin = y\n", "needs a group for the address"),
    ],
)
def test_a_mistake_in_a_formats_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, cure: str
) -> None:
    (tmp_path / "mine.conf").write_text(text)
    monkeypatch.setattr(formats, "FOLDER", tmp_path)
    with pytest.raises(formats.FormatError) as error:
        formats.load("mine")
    assert cure in str(error.value)
    assert "mine.conf: " in str(error.value)


def test_a_format_may_have_several_forms_of_a_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "FOLDER", tmp_path)
    (tmp_path / "mine.conf").write_text(
        "# mine\nprogram = (?P<service>pop3|imap)d\n"
        "from = connect (?P<address>[0-9.]+)\nfrom = connection from (?P<address>[0-9.]+)\n"
        "login = in (?P<user>[a-z]+)\nlogin = login (?P<user>[a-z]+) at (?P<address>[0-9.]+)\n"
    )
    lines = log(
        "imapd[7]: connection from 192.0.2.10", "imapd[7]: in alice", "pop3d[8]: connect 192.0.2.11", "pop3d[8]: in bob"
    )
    found = formats.load("mine").matches([*lines.split("\n"), log("imapd: login eve at 192.0.2.12")[:-1]], time.time())
    assert [(one.service, one.user, one.address) for one in found] == [
        ("imap", "alice", "192.0.2.10"),
        ("pop3", "bob", "192.0.2.11"),
        ("imap", "eve", "192.0.2.12"),
    ]


# ---- a pattern of one's own


@pytest.mark.parametrize(
    ("pattern", "cure"),
    [
        ("", "follow_pattern is not set: write one, see --try"),
        ("login from (?P<address>.*)$", "begin with the program's name"),
        (".*: login from (?P<address>.*)$", "begin with the program's name"),
        ("mypopd: login from (?P<address>.*)", "end with $"),
        (r"mypopd: login from (?P<address>.*)\$", "end with $"),
        ("mypopd: login from (.*)$", "needs a group for the address"),
        ("mypopd: login from (?P<address>$", "not a regular expression"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_named_with_its_cure(installed: Installed, pattern: str, cure: str) -> None:
    if pattern:
        installed.site.configure(follow_pattern=pattern)
        tried = installed.run("popips-follow", "--try", pattern)
        assert (tried.returncode, "--try" in tried.stderr, cure in tried.stderr) == (64, True, True)
        run = installed.run("popips-expire", "-n")
        assert f"{installed.site.conf}: follow_pattern: " in run.stderr
    done = installed.run("popips-follow", "--format", "own")
    assert (done.returncode, str(installed.site.conf) in done.stderr, cure in done.stderr) == (64, True, True)


def test_a_pattern_can_be_tried_before_it_is_set(installed: Installed) -> None:
    pattern = r"mypopd: (?P<service>[a-z0-9]+) (?P<user>[^ ]+) from (?P<address>[0-9a-f.:]+)$"
    lines = log(f"mypopd[7]: pop3 alice from {V4}", "mypopd[7]: x", f"mypopd[7]: smtp bob from {V4}", "sshd: x", now=0)
    done = installed.run("popips-follow", "--try", pattern, stdin=lines)
    first, _, third, _ = lines.splitlines()
    reason = "smtp is no mailbox: name it in only_services, if its logins are to open the relay"
    assert done.stdout.splitlines() == [
        f"{V4}\talice\tpop3\t{first}",
        f"{V4}\tbob\tsmtp\t{third}\tNOT GRANTED: {reason}",
    ]
    assert done.stderr == "popips-follow: 4 lines, 2 match\n"
    assert installed.site.names() == set()
    installed.site.configure(follow_pattern=PATTERN)
    now = log(f"mypopd[7]: login alice from {V4}")
    assert installed.run("popips-follow", "--format", "own", stdin=now).returncode == 0
    assert (installed.site.stamps / V4).read_text() == "alice mypopd popips-follow\n"


def test_by_the_journal_an_entry_of_another_unit_grants_nothing(installed: Installed) -> None:
    def entry(unit: str, address: str) -> str:
        fields = {
            "__REALTIME_TIMESTAMP": f"{time.time() * 1e6:.0f}",
            "_SYSTEMD_UNIT": unit,
            "SYSLOG_IDENTIFIER": "mypopd",
            "MESSAGE": f"login alice from {address}",
        }
        return json.dumps(fields) + "\n"

    installed.site.configure(follow_pattern=PATTERN)
    text = entry("mypopd.service", V4) + entry("user@1000.service", OTHER)
    done = installed.run("popips-follow", "--format", "own", "--journal", "--unit", "mypopd.service", stdin=text)
    assert (done.returncode, installed.site.names()) == (0, {V4})


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("mypopd", "mypopd.service"),
        ("mypopd.service", "mypopd.service"),
        ("org.example.popd", "org.example.popd.service"),
        ("session-3.scope", "session-3.scope"),
        ("courier-*", "courier-*"),
    ],
)
def test_a_unit_may_be_named_as_for_systemctl(name: str, whole: str) -> None:
    assert journal.unit(name) == whole


def test_units_that_no_line_comes_from_are_named(installed: Installed) -> None:
    text = '{"_SYSTEMD_UNIT":"courier-pop.service","SYSLOG_IDENTIFIER":"pop3d","MESSAGE":"x"}\n'
    done = installed.run("popips-follow", "-n", "--format", "courier", "--journal", "--unit", "other", stdin=text)
    assert "by the format courier --journal --unit other: compare _SYSTEMD_UNIT in the lines with --unit" in done.stderr


@pytest.mark.parametrize(
    ("address", "reason"), [("127.0.0.1", "in a network of `never`"), ("999.0.0.1", "not an IPv4 or IPv6 address")]
)
def test_a_try_says_which_address_gets_no_grant(installed: Installed, address: str, reason: str) -> None:
    done = installed.run("popips-follow", "--try", PATTERN, stdin=log(f"mypopd: login alice from {address}"))
    assert done.stdout.endswith(f"\tNOT GRANTED: {reason}\n")


@pytest.mark.parametrize(
    ("words", "cure"), [((), "as a whole, without the head"), (("--journal", "--unit", "mypopd"), "compare MESSAGE")]
)
def test_a_try_that_no_line_matches_says_what_to_look_at(
    installed: Installed, words: tuple[str, ...], cure: str
) -> None:
    done = installed.run("popips-follow", *words, "--try", PATTERN, stdin=log("mypopd: hello"))
    assert done.stderr.startswith("popips-follow: 1 lines, 0 match: ")
    assert cure in done.stderr


def test_a_dry_run_of_nothing_says_so(installed: Installed) -> None:
    done = installed.run("popips-follow", "-n", "--format", "courier", stdin="")
    assert done.stderr == "popips-follow: no line has come on standard input: is that the server's unit, or its log?\n"


def test_a_closed_standard_input_is_named(installed: Installed) -> None:
    command = f"exec {installed.path('popips-follow')} -c {installed.site.conf} --format courier <&-"
    done = subprocess.run(["sh", "-c", command], env=CRON_ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        64,
        "popips-follow: standard input is closed: give it a log, tail -n 0 -F FILE | popips-follow ...",
    )


# ---- whether it is of use


def use(name: str = "dovecot", by_journal: bool = False) -> Use:
    return Use(formats.load(name, by_journal), name, 0.0)


def lines(count: int, *messages: str) -> list[str]:
    return log(*messages, *["sshd[7]: x"] * (count - len(messages)), now=NOW).splitlines()


@pytest.mark.parametrize(
    ("count", "after", "is_told"),
    [(LINES - 1, 0, False), (LINES, 0, True), (BUSY, HOUR - 1, False), (BUSY, HOUR, True), (BUSY - 1, HOUR, False)],
)
def test_that_no_line_is_a_login_is_told_once(count: int, after: float, is_told: bool) -> None:
    following = use()
    assert following.logins(lines(count), NOW) == []
    told = following.useless(after)
    assert told.startswith(f"none of the first {count} lines is a login by the format dovecot: ") == is_told
    assert following.useless(after + 10 * HOUR) == "" or not is_told


def test_another_format_that_would_match_is_named() -> None:
    following = use()
    following.logins(lines(LINES, courier()), NOW)
    assert following.useless(0).endswith(": try --format courier")
    by_journal = use()
    entry = {
        "__REALTIME_TIMESTAMP": "1795269600250000",
        "_SYSTEMD_UNIT": "courier-pop.service",
        "SYSLOG_IDENTIFIER": "pop3d",
        "MESSAGE": courier().partition(": ")[2],
    }
    by_journal.logins([json.dumps(entry)] * LINES, NOW)
    assert by_journal.useless(0).endswith(": try --format courier --journal")
    nothing = use()
    nothing.logins(lines(LINES), NOW)
    assert nothing.useless(0).endswith("does the server log its logins, and to here?")


def test_where_a_line_was_a_login_nothing_is_told() -> None:
    following = use("courier")
    assert len(following.logins(lines(LINES, courier()), NOW)) == 1
    assert following.useless(10 * HOUR, is_end=True) == ""


def test_logins_that_are_not_of_now_are_told_once_an_hour() -> None:
    following = use("courier")
    ago = [rules.Login(V4, "alice", "pop3", NOW - 86400), rules.Login(V4, "alice", "pop3", NOW)]
    assert following.late(ago, NOW, 900) == (
        "1 logins that are not of now grant nothing, the last one 86400 s ago: an old log, or a wrong clock"
    )
    assert following.late(ago, NOW, 900) == ""
    ahead = [rules.Login(V4, "alice", "pop3", NOW + 3600)]
    assert "the last one 3600 s ahead: is the log in another time zone?" in use().late(ahead, NOW, 900)
    india = [rules.Login(V4, "alice", "pop3", NOW - 5.5 * HOUR - 20)]
    assert "is the log in another time zone?" in use().late(india, NOW, 900)
    assert "LC_TIME=C" in use().late([rules.Login(V4, "alice", "pop3", None)], NOW, 900)
    assert use().late(ago[1:], NOW, 900) == ""


def test_the_program_says_that_its_input_has_ended_and_that_it_was_of_no_use(installed: Installed) -> None:
    done = installed.run("popips-follow", "--format", "courier", stdin=log(courier()))
    assert installed.site.names() == {V4}
    of_no_use = installed.run("popips-follow", "-n", "--format", "dovecot", stdin=log(courier()))
    assert of_no_use.stderr == (
        "popips-follow: none of the first 1 lines is a login by the format dovecot: try --format courier\n"
    )
    assert done.returncode == of_no_use.returncode == 0


def test_a_login_on_a_real_dovecot_opens_the_relay_by_its_log(box: Box) -> None:
    box.start_dovecot(by="log")
    path = box.scratch / "dovecot.log"
    path.touch()
    program = f"{box.path('popips-follow')} -c {box.conf} --format dovecot-file"
    box.daemon(["sh", "-c", f"tail -n 0 -F {path} | {program}"])
    box.start_sendmail()
    assert "Authentication failed" in box.login("imap", V4, password="wrong")
    assert box.login("imap", V6, user="alice") == "ok"
    box.until("grant", lambda: box.rcpt(V6) == "250")
    path.rename(f"{path}.1")  # as logrotate does
    box.run(["doveadm", "-c", f"{box.scratch}/dovecot.conf", "log", "reopen"])
    assert box.login("pop3", V4) == "ok"
    box.until("grant", lambda: box.rcpt(V4) == "250")
    assert box.logged() == [
        f"granted: address={V6} user=alice service=imap map=hash:{box.access}.db",
        f"granted: address={V4} user=alice service=pop3 map=hash:{box.access}.db",
    ]


def test_in_the_log_it_says_that_the_input_has_ended(box: Box) -> None:
    box.run([str(box.path("popips-follow")), "-c", str(box.conf), "--format", "courier"], stdin=log("sshd[7]: x"))
    assert box.logged() == [
        "warning: none of the first 1 lines is a login by the format courier: "
        "does the server log its logins, and to here?",
        "warning: standard input has ended after 1 lines, 0 logins: nothing is granted any more",
    ]
