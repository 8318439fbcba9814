"""What Postfix says to a client by its lists of restrictions: each list, and what smtpd(8) does with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from popips.probe import postfix
from popips.probe.machine import Answer, Machine
from popips.probe.postfix_walk import walk

GRANTED, REJECTED, UNKNOWN = "203.0.113.10", "203.0.113.66", "198.51.100.7"
MAP, ADMINS = "hash:/var/lib/popips/popips", "hash:/etc/postfix/clients"
TABLES = {MAP: {GRANTED: "OK", REJECTED: "OK"}, ADMINS: {REJECTED: "REJECT go away", "198.51.100": "ok"}}
CODES = "hash:/etc/postfix/codes"
TABLES[CODES] = {UNKNOWN: "550", REJECTED: "550 go away"}
ASKS, ASKS_ADMINS, CLOSE = f"check_client_access {MAP}", f"check_client_access {ADMINS}", "reject_unauth_destination"


@dataclass(frozen=True)
class Case:
    """The relay list, that for clients, and who may relay; by: the entry that decides on the one that is rejected."""

    relay: str
    client: str = ""
    relays: tuple[str, ...] = (GRANTED, REJECTED)
    by: str = ASKS


CASES = [
    Case(f"{ASKS}, {CLOSE}"),
    Case(f"{ASKS_ADMINS}, {ASKS}, {CLOSE}", relays=(GRANTED, UNKNOWN), by=ASKS_ADMINS),
    Case(f"{ASKS}, {ASKS_ADMINS}, {CLOSE}", relays=(GRANTED, REJECTED, UNKNOWN)),
    Case(f"{ASKS}, {CLOSE}", client=ASKS_ADMINS, relays=(GRANTED,), by=ASKS_ADMINS),
    Case(f"{ASKS}, {CLOSE}", client=f"{ASKS}, {ASKS_ADMINS}, reject"),
    Case(f"{ASKS}, {CLOSE}", client="permit_mynetworks, reject", relays=(), by="reject"),
    Case(CLOSE, relays=(), by=CLOSE),
    Case(f"permit, {CLOSE}", relays=(GRANTED, REJECTED, UNKNOWN), by="permit"),
    Case("permit_mynetworks", relays=(GRANTED, REJECTED, UNKNOWN), by="nothing"),
    Case(f"permit_mynetworks {CLOSE}", relays=(), by=CLOSE),
    Case(f"PERMIT, {CLOSE}", relays=(GRANTED, REJECTED, UNKNOWN), by="permit"),
    Case(f"check_client_access {CODES}, {CLOSE}", relays=(UNKNOWN,), by="check_client_access"),
    Case(f"warn_if_reject {CLOSE}, {ASKS}, defer_if_permit"),
    Case(f"check_client_access inline:{{ {{{REJECTED} = no}} }}, {ASKS}, reject"),
    Case(f"check_policy_service {{ unix:x, timeout=2s }}, proxy, {ASKS}, defer"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.client} | {case.relay}")
def test_the_first_entry_that_decides_ends_a_list_and_each_list_must_be_passed(case: Case) -> None:
    config = postfix.Config({postfix.RELAY: case.relay, postfix.LISTS[0]: case.client, "mynetworks": "127.0.0.0/8"})
    said = {name: walk(config, name, asked) for name in (GRANTED, REJECTED, UNKNOWN)}
    assert tuple(name for name, verdict in said.items() if verdict.relays) == case.relays
    assert said[REJECTED].by.startswith(case.by)


def asked(entry: postfix.Restriction, keys: Sequence[str]) -> tuple[dict[str, str], str]:
    records = TABLES.get(entry.of, {})
    return {key: records[key] for key in keys if key in records}, ""


def test_a_table_that_cannot_be_read_lets_nobody_pass() -> None:
    config = postfix.Config({postfix.RELAY: f"{ASKS}, {CLOSE}"})
    verdict = walk(config, GRANTED, lambda *_: ({}, "unsupported dictionary type"))
    assert (verdict.relays, verdict.complaint) == (False, "unsupported dictionary type")


@pytest.mark.parametrize(
    ("record", "is_unclear"),
    [("mine", True), ("permit_sasl_authenticated, reject", True), ("DUNNO", False), ("WARN x", False), ("OK", False)],
)
def test_a_record_that_names_restrictions_is_told_and_not_judged(record: str, is_unclear: bool) -> None:
    config = postfix.Config({postfix.RELAY: f"{ASKS}, {CLOSE}"})
    verdict = walk(config, UNKNOWN, lambda _, keys: ({keys[0]: record}, ""))
    assert verdict.unclear == ((f"{UNKNOWN} {record}",) if is_unclear else ())


class Said(Machine):
    """A host that says what postconf would."""

    def __init__(self, services: str, overrides: str) -> None:
        super().__init__()
        self._said = {"-M": services, "-Px": overrides, "-x": "smtpd_relay_restrictions = reject"}

    def ask(self, *command: str, typed: str = "", patience: float = 0.0) -> Answer:
        return Answer(0, self._said[command[1]], "")


@pytest.mark.parametrize(
    ("service", "program", "found", "is_screened"),
    [
        ("smtp      inet", "smtpd", "smtp/inet", False),
        ("25        inet", "smtpd", "25/inet", False),
        ("0.0.0.0:25 inet", "smtpd -v", "0.0.0.0:25/inet", False),
        ("smtp      inet", "postscreen", "smtpd/pass", True),
        ("587       inet", "smtpd", "smtp/inet", False),
    ],
)
def test_the_smtpd_of_port_25_is_the_one_whose_lists_count(
    service: str, program: str, found: str, is_screened: bool
) -> None:
    line = f"{service}  n       -       y       -       -       {program}\n"
    override = f"{found}/smtpd_relay_restrictions = {ASKS},reject\nsubmission/inet/smtpd_relay_restrictions = permit\n"
    config = postfix.config(Said(line, override))
    assert (config.service, config.screened) == (found, is_screened)
    assert config.values[postfix.RELAY] == f"{ASKS},reject"
