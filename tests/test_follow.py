"""popips-follow: a login in a server's log is granted; whatever somebody writes into a log, nothing else is.

tests/data/logs has lines as the servers of Debian 12 wrote them, at good logins and at hostile ones; those of UW imapd
and qpopper are written after their sources, for Debian has them no more.
"""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from follower import formats
from popips import address
from tests.box import Box
from tests.conftest import Installed

LOGS = Path(__file__).parent / "data" / "logs"
V4, V4_NAMED, V4_ODD, V6, V6_NAMED = "192.0.2.10", "192.0.2.11", "192.0.2.12", "2001:db8::10", "2001:db8::11"
SERVER = "192.0.2.1"
FORGED = "198.51.100.66"  # the address in all that is hostile
HEAD = "Nov 21 14:00:00 mail "


def read(name: str, log: bytes) -> list[formats.Login]:
    following = formats.load(name)
    return [found for line in formats.lines(io.BytesIO(log)) if (found := following.read(line, 0))]


# ---- what the servers wrote


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("courier", {("pop3", V4), ("pop3", V6), ("imap", V4), ("imap", V6)}),
        ("cyrus", {(s, a) for s in ("pop3", "imap") for a in (V4, V6, V4_NAMED, V6_NAMED, V4_ODD)}),
        ("dovecot", {("pop3", V4), ("pop3", V6), ("imap", V4), ("imap", V6), ("pop3", SERVER)}),
        ("dovecot-file", {("pop3", V4), ("pop3", V6), ("imap", V4), ("imap", V6)}),
        ("mailutils", {(s, a) for s in ("pop3", "imap") for a in (V4, V6, V4_NAMED)}),
        ("popa3d", {("pop3", a) for a in (V4, V6, V4_NAMED, V6_NAMED, V4_ODD)}),
        ("qpopper", {("pop3", V4), ("pop3", V4_NAMED)}),
        ("solid-pop3d", {("pop3", a) for a in (V4, V6, V4_NAMED, V6_NAMED, V4_ODD)}),
        ("uw", {("pop3", V4), ("pop3", V6), ("pop3", V4_NAMED), ("imap", V4), ("imap", V6), ("imap", V4_NAMED)}),
    ],
)
def test_the_logins_that_a_server_wrote_are_found_and_nothing_else(name: str, expected: set[tuple[str, str]]) -> None:
    found = read(name, (LOGS / f"{name}.log").read_bytes())
    seen = {(one.service, address.parse(one.address)) for one in found if one.user == "alice"}
    assert seen == expected


@pytest.mark.parametrize("name", formats.names())
@pytest.mark.parametrize("log", sorted(LOGS.iterdir()), ids=lambda path: path.stem)
def test_no_forged_address_in_any_log_is_taken_for_a_login(name: str, log: Path) -> None:
    assert [one for one in read(name, log.read_bytes()) if FORGED in one.address] == []


# ---- what somebody may write

GOOD = {  # the format, and the line
    "courier": "pop3d: LOGIN, user=alice, ip=[::ffff:198.51.100.66], port=[55243]",
    "cyrus": "cyrus/pop3[88]: login: [198.51.100.66] alice plaintext User logged in SESSIONID=<cyrus-1-88-1-8>",
    "dovecot": "dovecot: pop3-login: Login: user=<alice>, method=PLAIN, rip=198.51.100.66, lip=192.0.2.1, mpid=78, "
    "session=<96zCacpgjeXAAAIK>",
    "dovecot-file": "pop3-login: Info: Login: user=<alice>, method=PLAIN, rip=198.51.100.66, lip=192.0.2.1, mpid=78, "
    "session=<96zCacpgjeXAAAIK>",
    "dovecot, as 2.4 says it": "dovecot: imap-login: Logged in: user=<alice>, method=PLAIN, rip=198.51.100.66, "
    "lip=192.0.2.1, mpid=78, TLS, session=<96zCacpgjeXAAAIK>",
    "dovecot-file, as 2.4 says it": "imap-login: Info: Logged in: user=<alice>, method=PLAIN, rip=198.51.100.66, "
    "lip=192.0.2.1, mpid=78, session=<96zCacpgjeXAAAIK>",
    "mailutils": "pop3d[7]: connect from 198.51.100.66 (198.51.100.66)",
    "popa3d": "popa3d[7]: Session from 198.51.100.66",
    "qpopper": 'qpopper[7]: (v4.0.9) POP login by user "alice" at (198.51.100.66) 198.51.100.66',
    "solid-pop3d": "solid-pop3d[7]: user alice authenticated - 198.51.100.66",
    "uw": "imapd[7]: Login user=alice host=[198.51.100.66]",
}
SECOND = {  # what completes the login after GOOD, where that is two lines
    "mailutils": "pop3d[7]: POP3 login: user `alice', source system",
    "popa3d": "popa3d[7]: Authentication passed for alice",
}
PLACES = [
    "{head}sendmail[7]: 5AL: from=<{text}>, size=7, relay=x [192.0.2.7]",
    "{head}sendmail[7]: 5AL: from=<x@{line}",
    "{head}postfix/smtpd[7]: NOQUEUE: reject: RCPT from x[192.0.2.7]: 554; helo=<{text}>",
    "{head}sshd[7]: Invalid user {line} from 192.0.2.7 port 7",
    "{head}dovecot: pop3-login: Disconnected: Aborted login (auth failed): user=<{text}>, method=PLAIN, rip=192.0.2.7, "
    "lip=192.0.2.1, session=<a>",
    "{head}dovecot: pop3-login: Login: user=<{text}>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.1, session=<a>",
    "{head}dovecot: imap-login: ID sent: name={text}: user=<>, rip=192.0.2.7, lip=192.0.2.1, session=<a>",
    "{head}pop3d: LOGIN FAILED, user={text}, ip=[::ffff:192.0.2.7], port=[7]",
    "{head}imapd: LOGOUT, user={text}, ip=[::ffff:192.0.2.7], port=[7]",
    "{head}cyrus/pop3[7]: badlogin: [192.0.2.7] plaintext ({text}) invalid user",
    "{head}solid-pop3d[7]: authentication failed: no such user: {text} - 192.0.2.7",
    "{head}pop3d[7]: user `{text}' nonexistent",
    "{head}imapd[7]: Login failed user={text} auth={text} host=[192.0.2.7]",
    "{head}ipop3d[7]: Logout user={text} host=[192.0.2.7]",
    "{head}ipop3d[7]: IMAP login to host={text} user=y host=[192.0.2.7]",
    "{head}qpopper[7]: {text} at x (192.0.2.7): -ERR [AUTH] Password supplied is incorrect.",
    "{head}popa3d[7]: {text}",
    "{head}{head}{line}",
    "{text}",
    " {head}{line}",
    "{head}{line} ",
    "{head}{line}\r",
    "{head}{line}, x",
    "{head}x {line}",
    "{head}-{line}",
]


@pytest.mark.parametrize("name", ["dovecot", "dovecot-file"])
def test_an_anonymous_login_is_none(name: str) -> None:
    head = HEAD.replace("mail ", "") if name == "dovecot-file" else HEAD
    logins = {method: f"{head}{GOOD[name].replace('PLAIN', method)}\n" for method in ("PLAIN", "ANONYMOUS")}
    assert {method: len(read(name, line.encode())) for method, line in logins.items()} == {"PLAIN": 1, "ANONYMOUS": 0}


@pytest.mark.parametrize("name", sorted(GOOD))
def test_the_lines_that_are_hidden_below_are_logins_where_nothing_is_around_them(name: str) -> None:
    form = name.partition(",")[0]
    lines = [HEAD.replace("mail ", "") if form == "dovecot-file" else HEAD, GOOD[name]]
    log = "".join(lines) + f"\n{HEAD}{SECOND.get(form, '')}\n"
    (found,) = read(form, log.encode())
    assert (address.parse(found.address), found.user) == (FORGED, "alice")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_login_line_inside_another_line_grants_nothing(name: str, place: str) -> None:
    form, line = name.partition(",")[0], GOOD[name]
    for text in (line, line.partition(": ")[2], HEAD + line):
        hostile = place.format(head=HEAD, line=line, text=text)
        if hostile == HEAD + line:  # the place is no other line of this server's
            continue
        log = f"{hostile}\n{HEAD}{SECOND.get(form, '')}\n"
        assert [one for one in read(form, log.encode()) if FORGED in one.address] == []


@given(st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=200), st.sampled_from(formats.names()))
def test_no_name_of_a_user_makes_a_failed_login_a_login(text: str, name: str) -> None:
    lines = [place.format(head=HEAD, line=text, text=text) for place in PLACES[4:16] if " Login: " not in place]
    assert read(name, "\n".join(lines).encode()) == []


def test_the_two_lines_of_a_login_belong_together_by_their_process() -> None:
    def log(*lines: str) -> bytes:
        return "".join(f"{HEAD}popa3d{line}\n" for line in lines).encode()

    begin, end = "Session from 192.0.2.10", "Authentication passed for alice"
    assert [one.address for one in read("popa3d", log(f"[7]: {begin}", f"[8]: {begin[:-1]}1", f"[7]: {end}"))] == [V4]
    assert read("popa3d", log(f"[7]: {begin}", f"[8]: {end}")) == []
    assert len(read("popa3d", log(f"[7]: {begin}", f"[7]: {end}", f"[7]: {end}"))) == 1
    again = read("popa3d", log(f"[7]: {begin}", f"[7]: {begin[:-1]}2", f"[7]: {end}"))
    assert [one.address for one in again] == [V4_ODD]
    assert read("popa3d", log(f": {begin}", f": {end}")) == []  # whose session?
    following = formats.load("popa3d")
    assert following.read(f"{HEAD}popa3d[7]: {begin}", 0) is None
    assert following.read(f"{HEAD}popa3d[7]: {end}", formats.SESSION + 1) is None  # another process by now


def test_of_a_line_that_is_too_long_not_even_the_rest_counts() -> None:
    good = f"{HEAD}{GOOD['courier']}\n".encode()
    for filler in range(formats.LONGEST - 200, formats.LONGEST + 1):
        assert list(formats.lines(io.BytesIO(b"x" * filler + good[:-1] * 300 + b"\n"))) == []
    assert len(list(formats.lines(io.BytesIO(b"x" * formats.LONGEST + good + good)))) == 1


def test_the_head_of_a_line_may_have_either_form_of_time() -> None:
    for time_ in ("Nov  1 00:00:00", "2026-11-21T14:00:00.123456+01:00", "2026-11-21T14:00:00Z"):
        assert len(read("courier", f"{time_} mail {GOOD['courier']}\n".encode())) == 1


# ---- a pattern of one's own

PATTERN = r"mypopd: login (?P<user>[^ ]+) from (?P<address>[0-9a-f.:]+)$"


def test_a_pattern_of_ones_own_is_anchored_at_both_ends() -> None:
    following = formats.own(PATTERN, "popips.conf")
    good = f"{HEAD}mypopd[7]: login alice from {V4}"
    assert following.read(good, 0) == formats.Login(V4, "alice", "mypopd")
    for bad in (good + " ", good.replace("mypopd", "xmypopd"), good.replace("login", "x login"), f"{HEAD}{good}"):
        assert following.read(bad, 0) is None


@pytest.mark.parametrize(
    ("pattern", "cure"),
    [
        ("", "follow_pattern is not set"),
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
    done = installed.run("popips-follow", "--format", "own")
    assert (done.returncode, str(installed.site.conf) in done.stderr, cure in done.stderr) == (64, True, True)


# ---- the program


def test_the_program_grants_and_logs_and_goes_on_after_a_mistake(installed: Installed) -> None:
    site = installed.site
    lines = [f"{HEAD}{GOOD['courier'].replace(FORGED, text)}\n" for text in (V4, "127.0.0.1", "1.2.3", V4_NAMED)]
    done = installed.run("popips-follow", "--format", "courier", stdin="".join(lines))
    assert done.returncode == 0
    assert f"granted: address={V4} user=alice service=pop3 map=" in done.stderr  # there is no log
    assert site.records() == {V4: "RELAY", V4_NAMED: "RELAY"}
    assert (site.stamps / V4).read_text() == "alice pop3 popips-follow\n"


def test_a_dry_run_prints_the_logins_only(installed: Installed) -> None:
    done = installed.run("popips-follow", "-n", "--format", "uw", stdin=(LOGS / "uw.log").read_text())
    assert done.stdout.splitlines()[0] == f"{V4}\talice\tpop3"
    assert installed.site.names() == set()


def test_a_format_that_there_is_not_is_named_with_those_there_are(installed: Installed) -> None:
    done = installed.run("popips-follow", "--format", "exchange")
    there = f"there are {', '.join(formats.names())}, and own for follow_pattern"
    assert (done.returncode, done.stderr.splitlines()[0]) == (64, f"popips-follow: exchange: no such format; {there}")


def test_a_login_on_a_real_dovecot_opens_the_relay_by_its_log(box: Box) -> None:
    box.start_dovecot(by="log")
    log = box.scratch / "dovecot.log"
    log.touch()
    program = f"{box.path('popips-follow')} -c {box.conf} --format dovecot-file"
    box.daemon(["sh", "-c", f"tail -n 0 -F {log} | {program}"])
    box.start_sendmail()
    assert "Authentication failed" in box.login("imap", V4, password="wrong")
    assert box.login("imap", V6, user="alice") == "ok"
    box.until("grant", lambda: box.rcpt(V6) == "250")
    log.rename(f"{log}.1")  # as logrotate does
    box.run(["doveadm", "-c", f"{box.scratch}/dovecot.conf", "log", "reopen"])
    assert box.login("pop3", V4) == "ok"
    box.until("grant", lambda: box.rcpt(V4) == "250")
    assert box.logged() == [
        f"granted: address={V6} user=alice service=imap map=hash:{box.access}.db",
        f"granted: address={V4} user=alice service=pop3 map=hash:{box.access}.db",
    ]
