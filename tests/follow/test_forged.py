"""Whatever somebody writes into a log is no login: in the place of a field, in another line, behind any head."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from follower import formats
from tests.follow.fields import Field, fields, is_bounded, patterns
from tests.follow.reading import FORGED, NOW, Row, logins, rows

NAMES = formats.names()
# What a message may go on with where a field has ended: the end of another line, or what a client says of itself.
INTRUDERS = [
    ": user=<>, rip=192.0.2.7",
    f"> x <{FORGED}> [{FORGED}] ({FORGED}), ip=[{FORGED}]; oip={FORGED}; \"'` y",
    "x" * 300,
]


def case(name: str, log: list[Row], at: int) -> list[str]:
    """Return the lines that make the login at this row: its own, and one before of its process if it takes two."""
    own = log[at].line
    process = own.split(": ")[0].split(" ")[-1]
    before = [[row.line] for row in reversed(log[:at]) if process.endswith("]") and f" {process}: " in row.line]
    return next([*lines, own] for lines in [[], *before] if logins(name, [*lines, own]))


def cases(name: str) -> list[list[str]]:
    """Return the lines of each login in a format's log."""
    log = rows(name)
    return [case(name, log, at) for at, row in enumerate(log) if row.verdict]


def hostile(field: Field) -> list[list[str]]:
    """Return the lines of each login with more in the field than its value."""
    found = []
    for lines in cases(field.format):
        for at, line in enumerate(lines):
            if span := field.span(line):
                begin, end = span
                found += [[*lines[:at], line[:end] + more + line[end:], *lines[at + 1 :]] for more in INTRUDERS]
                found += [[*lines[:at], line[:begin] + more + line[begin:], *lines[at + 1 :]] for more in INTRUDERS]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_field_has_an_end(name: str) -> None:
    assert [pattern for _, pattern in patterns(name) if not is_bounded(pattern)] == []


@pytest.mark.parametrize("name", NAMES)
def test_no_field_holds_more_than_its_value(name: str) -> None:
    tables = [lines for field in fields(name) for lines in hostile(field)]
    good = {tuple(lines) for lines in cases(name)}
    assert [lines for lines in tables if logins(name, lines) and tuple(lines) not in good] == []


# ---- a login hidden in another line

HEAD = "Nov 21 14:00:00 mail "  # before the lines of tests/data/logs that are a syslogd's, but for the time
HEADS = [  # name: of the program, with its process in brackets; program, pid: the same by themselves
    HEAD + "{name}: {message}",
    "2026-11-21T14:00:00.123456+00:00 mail {name}: {message}",
    "2026-11-21T14:00:00+0000 mail {name}: {message}",
    "Nov 21 14:00:00.123456 mail {name}: {message}",
    "<22>Nov 21 14:00:00 mail {name}: {message}",
    "Nov 21 14:00:00 <mail.info> mail {name}: {message}",
    "Nov 21 14:00:00 mail mail.info {name}: {message}",
    "Nov 21 14:00:00 mail {name}: [ID 702911 mail.info] {message}",
    "<22>1 2026-11-21T14:00:00.123456Z mail {program} {pid} - - {message}",
]
AROUND = [" {line}", "{line} ", "{line}\r", "{line}, x", "x {line}", "-{line}"]  # a login and a little more
PLACES = [  # behind a head; line: with its program; text: that, its message alone, or with a head
    "sendmail[7]: 5AL: from=<{text}>, size=7, relay=x [192.0.2.7]",
    "sendmail[7]: 5AL: from=<x@{line}",
    "postfix/smtpd[7]: NOQUEUE: reject: RCPT from x[192.0.2.7]: 554; helo=<{text}>",
    "sshd[7]: Invalid user {line} from 192.0.2.7 port 7",
    "dovecot: pop3-login: Disconnected: Aborted login (auth failed): user=<{text}>, method=PLAIN, rip=192.0.2.7, "
    "lip=192.0.2.1, session=<a>",
    "dovecot: pop3-login: Login: user=<{text}>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.1, mpid=7, session=<a>",
    "dovecot: imap-login: ID sent: name={text}: user=<>, rip=192.0.2.7, lip=192.0.2.1, session=<a>",
    "dovecot: imap-login: {text}: user=<x>, method=PLAIN, rip=198.51.100.66, lip=192.0.2.1, session=<a>",
    "pop3d: LOGIN FAILED, user={text}, ip=[::ffff:192.0.2.7], port=[7]",
    "imapd: LOGOUT, user={text}, ip=[::ffff:192.0.2.7], port=[7]",
    "cyrus/pop3[7]: badlogin: [192.0.2.7] plaintext ({text}) invalid user",
    "imapd[7]: login: [192.0.2.7] anonymous {text}",
    "solid-pop3d[7]: authentication failed: no such user: {text} - 192.0.2.7",
    "pop3d[7]: user `{text}' nonexistent",
    "imapd[7]: Login failed user={text} auth={text} host=[192.0.2.7]",
    "ipop3d[7]: Logout user={text} host=[192.0.2.7]",
    "ipop3d[7]: IMAP login to host={text} user=y host=[192.0.2.7]",
    "qpopper[7]: {text} at x (192.0.2.7): -ERR [AUTH] Password supplied is incorrect.",
    "vpopmail[7]: vchkpw-pop3: password fail (pass: '{text}') alice@example.com:192.0.2.7",
    "vpopmail[7]: vchkpw-pop3: vpopmail user not found {text}@:192.0.2.7",
    "vm-pop3d[7]: User '{text}' - wrong auth, from=192.0.2.7",
    "perdition.pop3[7]: Auth: 192.0.2.7:7->192.0.2.1:110 client-secure=plaintext authorisation_id=NONE "
    'authentication_id="{text}" server="x:1" protocol=POP3 server-secure=plaintext status="failed: x"',
    "teapop[7]: Failed login for {text} from x [192.0.2.7]",
    'nginx: 2026/11/21 14:00:00 [info] 7#7: *7 upstream sent invalid response: "-ERR" while reading response from '
    'upstream, client: 192.0.2.7, server: 192.0.2.1:110, login: "{text}", upstream: 127.0.0.1:1110',
    "{head}{line}",
    *AROUND,
    "x: {line}",
    "x[7]: {line}",
]
FAILED = [place for place in PLACES if "{text}" in place and " Login: " not in place and "anonymous" not in place]
OWN = [  # lines of the servers' own files
    *AROUND,
    "{line}{line}",
    "Nov 21 14:00:00 pop3-login: Info: Disconnected (auth failed): user=<{line}>, rip=192.0.2.7",
    "2026/11/21 14:00:00 [info] 7#7: *7 client sent invalid command: {line}, client: 192.0.2.7",
    "2026-11-21 14:00:00,505 INFO  [ImapServer-12] [ip=192.0.2.7;ua={line};] security - cmd=Auth; account=x; "
    "protocol=imap; error=authentication failed for [x], invalid password;",
    '2026-11-21T14:00:00Z INFO Authentication failed (auth.failed) listenerId = "imap", accountName = "{line}"',
    "Nov 21 14:00:00 [7] {line} at x (192.0.2.7): -ERR [AUTH] Password supplied is incorrect.",
]


def forgeries(name: str) -> list[list[str]]:
    """Return the lines of a login of each kind that a format's log has, for the forged address."""
    found: dict[tuple[str, ...], list[str]] = {}
    for lines in cases(name):
        kind = tuple(re.sub(r"[0-9]+", "0", line) for line in lines)
        address = logins(name, lines)[0].split()[1]
        if "." in address and (lines[0][15 : len(HEAD)] == " mail " or not is_of_syslogd(name)):
            found.setdefault(kind, [line.replace(address, FORGED) for line in lines])
    return list(found.values())


def is_of_syslogd(name: str) -> bool:
    return "\nhead = " not in (formats.FOLDER / f"{name}.conf").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_the_lines_that_are_hidden_below_are_logins_where_nothing_is_around_them(name: str) -> None:
    assert forgeries(name)
    for lines in forgeries(name):
        heads = HEADS if is_of_syslogd(name) else []
        for plain in [lines, *([headed(head, line[len(HEAD) :]) for line in lines] for head in heads)]:
            assert [one.split()[1] for one in logins(name, plain)] == [FORGED], plain


@pytest.mark.parametrize("name", NAMES)
def test_a_login_hidden_in_another_line_grants_nothing(name: str) -> None:
    taken = []
    for lines in forgeries(name):
        for at, line in enumerate(lines):
            for hidden in of_syslogd(line) if is_of_syslogd(name) else [place.format(line=line) for place in OWN]:
                log = [*lines[:at], hidden, *lines[at + 1 :]]
                if any(FORGED in one.split()[1] for one in logins(name, log)):
                    taken.append(log)
    assert taken == []


def of_syslogd(line: str) -> list[str]:
    """Return lines of a syslogd that have a line in them."""
    body = line[len(HEAD) :]
    texts = (body, body.partition(": ")[2], line)
    bodies = {place.format(head=HEAD, line=body, text=text) for place in PLACES for text in texts}
    return [headed(head, hidden) for head in HEADS for hidden in bodies]


def headed(head: str, body: str) -> str:
    """Return a line with another head, of a body that begins with a program."""
    name, _, message = body.partition(": ")
    program, _, pid = name.partition("[")
    return head.format(name=name, program=program, pid=pid.removesuffix("]") or "-", message=message)


LONG = "x" * 486
COURIER = [  # what courierlogger 0.71 makes of a name that is longer than its line
    [f"LOGIN FAILED, user={LONG}", f"LOGIN, user=bob, ip=[{FORGED}], port=[4711]"],
    [f"LOGIN FAILED, user={LONG}", f"LOGIN, user=bob, ip=[{FORGED}], port=[1], protocol=IMAP", "y"],
    ["LOGIN FAILED, user=x, ip=[192.0.2.7], port=[7]", f"LOGIN, user=bob, ip=[{FORGED}], port=[1]"],  # and blanks
    [f"LOGIN FAILED, user={LONG}", "x", f"LOGIN, user=bob, ip=[{FORGED}], port=[4711]"],
]


@pytest.mark.parametrize("messages", COURIER)
def test_no_piece_of_a_message_that_courierlogger_cut_is_a_login(messages: list[str]) -> None:
    good = [f"Connection, ip=[{FORGED}], port=[7]", "LOGIN, user=alice, ip=[192.0.2.10], port=[7], protocol=IMAP"]
    lines = [f"{HEAD}imapd: {message}" for message in [*messages, *good, *good]]
    assert logins("courier", [*lines, lines[-1].replace("imapd", "pop3d")]) == [
        "imap 192.0.2.10 alice",
        "pop3 192.0.2.10 alice",
    ]
    entries = [line.partition("imapd: ")[2] for line in lines]
    following = formats.load("courier", by_journal=True)
    fields = {"_SYSTEMD_UNIT": "courier-imap.service", "SYSLOG_IDENTIFIER": "imapd", "__REALTIME_TIMESTAMP": "1"}
    found = [following.read(json.dumps({**fields, "MESSAGE": text}), NOW) for text in entries]
    assert [one.address for one in found if one] == ["192.0.2.10"]


NGINX = """\
2026/11/21 14:00:00 [info] 79#79: *2 client login failed: "Invalid login" while in http auth state, client: 192.0.2.7, \
server: 192.0.2.1:143, login: "y
2026/11/21 14:00:00 [info] 7#7: *7 client logged in, client: 198.51.100.66, server: 192.0.2.1:110, login: "alice", \
upstream: 192.0.2.1:110
"
"""  # as nginx 1.22 wrote into a file, of a user whose name came as IMAP's literal, with newlines in it


@pytest.mark.parametrize("name", NAMES)
def test_no_format_follows_a_file_in_which_a_name_makes_lines(name: str) -> None:
    assert logins(name, NGINX.splitlines()) == []


@given(st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=200), st.sampled_from(NAMES))
def test_no_name_of_a_user_makes_a_failed_login_a_login(text: str, name: str) -> None:
    assert logins(name, [HEAD + place.format(text=text) for place in FAILED]) == []
