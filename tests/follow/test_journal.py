"""By the journal's own fields no line of another unit passes for the server's, whatever its writer says of himself."""

from __future__ import annotations

import json

import pytest

from follower import formats, rules

PATTERN = r"mypopd: login (?P<user>[^ ]+) from (?P<address>[0-9a-f.:]+)$"
ENTRY = {
    "__REALTIME_TIMESTAMP": "1795269600250000",
    "_SYSTEMD_UNIT": "mypopd.service",
    "SYSLOG_IDENTIFIER": "mypopd",
    "_COMM": "mypopd",
    "_PID": "7",
    "MESSAGE": "login alice from 192.0.2.10",
}
NOW = 1_795_269_601.0
FOUND = rules.Login("192.0.2.10", "alice", "mypopd", NOW - 0.75)
MINE: dict[str, object] = {
    "_SYSTEMD_UNIT": "user@1000.service",
    "_SYSTEMD_USER_UNIT": "mypopd.service",
    "_SYSTEMD_SLICE": "mypopd.service",
}
GOOD: list[dict[str, object]] = [
    {},
    {"MESSAGE": list(b"login alice from 192.0.2.10")},
    {"SYSLOG_IDENTIFIER": None},  # left out: the program that journald saw
    {"_COMM": "log"},  # Dovecot's
    {"_PID": None},
]
BAD: list[dict[str, object]] = [
    MINE,
    {"_SYSTEMD_UNIT": None},
    {"_SYSTEMD_UNIT": None, "UNIT": "mypopd.service", "SYSTEMD_UNIT": "mypopd.service"},
    {"_SYSTEMD_UNIT": "session-3.scope"},
    {"_SYSTEMD_UNIT": "xmypopd.service"},
    {"_SYSTEMD_UNIT": "mypopd.service.x"},
    {"_SYSTEMD_UNIT": ["mypopd.service"]},
    {"SYSLOG_IDENTIFIER": "sshd"},
    {"SYSLOG_IDENTIFIER": ["mypopd", "sshd"]},
    {"SYSLOG_IDENTIFIER": None, "_COMM": "sshd"},
    {"MESSAGE": ["login alice from 192.0.2.10", "x"]},
    {"MESSAGE": [999]},
    {"MESSAGE": 7},
    {"MESSAGE": ""},
    {"MESSAGE": "login alice from 192.0.2.10\n"},
    {"MESSAGE": "x\nlogin alice from 192.0.2.10"},
    {"__REALTIME_TIMESTAMP": None},
    {"__REALTIME_TIMESTAMP": "now"},
]


def entry(**changes: object) -> str:
    """An entry as journalctl writes it; None: without the field."""
    fields = {**ENTRY, **changes}
    return json.dumps({key: value for key, value in fields.items() if value is not None})


def own() -> formats.Format:
    return formats.own(PATTERN, "popips.conf", by_journal=True, units=("mypopd.service",))


@pytest.mark.parametrize("changes", GOOD, ids=str)
def test_an_entry_of_the_servers_unit_is_a_login(changes: dict[str, object]) -> None:
    assert own().read(entry(**changes), NOW) == FOUND


@pytest.mark.parametrize("changes", BAD, ids=str)
def test_any_other_entry_is_none(changes: dict[str, object]) -> None:
    assert own().read(entry(**changes), NOW) is None


@pytest.mark.parametrize("line", ["", "x", "[]", "7", "null", '"x"', "{", "[" * 100_000, "{}", "\x00"])
def test_what_is_no_entry_is_none(line: str) -> None:
    assert own().read(line, NOW) is None


def test_half_a_character_is_a_question_mark() -> None:
    found = own().read(entry(MESSAGE="login x\ud800 from 192.0.2.10"), NOW)
    assert found and found.user == "x?"


def test_a_field_within_a_message_is_a_message() -> None:
    inner = '", "_SYSTEMD_UNIT": "mypopd.service", "MESSAGE": "login alice from 192.0.2.10'
    assert own().read(entry(**MINE, MESSAGE=inner), NOW) is None


def test_a_message_that_journalctl_leaves_out_as_too_long_is_no_login() -> None:
    assert own().read(json.dumps({**ENTRY, "MESSAGE": None}), NOW) is None


def test_units_are_named_with_wildcards_and_a_format_without_any_asks_for_them() -> None:
    form = formats.own(PATTERN, "popips.conf", by_journal=True, units=("other.service", "mypopd@*.service"))
    assert form.read(entry(_SYSTEMD_UNIT="mypopd@7.service"), NOW) == FOUND
    assert form.read(entry(), NOW) is None
    with pytest.raises(formats.FormatError, match="name it, --unit mypopd"):
        formats.own(PATTERN, "popips.conf", by_journal=True)
    with pytest.raises(formats.FormatError, match="have the server log by syslog"):
        formats.load("dovecot-file", by_journal=True, units=("dovecot.service",))
