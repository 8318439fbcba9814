"""popips-db why: tells who opened the relay for an address, or why it is not open."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from popips import address, denials, elsewhere, fate, form, policy, requests
from popips.db import report, shape, words
from popips.db.known import Last, known
from popips.db.task import Task
from popips.login import Login, word
from popips.maps import Records
from popips.settings import Settings
from popips.site import Site
from popips.stamps import Stamp

HELP = "say who opened the relay for an address, or why it is not open"
GRANTS = (fate.LEAVE, fate.SETTLE, fate.RENEW)  # of an address that has a stamp
GRANTED, OPEN, CLOSED = "granted", "open", "closed"
IN_WORDS = {GRANTED: "granted", OPEN: "open until the next run of popips-expire", CLOSED: "not granted"}
PENDING = "the record comes with the next run of popips-expire"
DUE = "due: the last login is longer ago than the window"
Pairs = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Why:
    """What is to be told of an address. verdict: granted; open, until the next run ends the grant; or closed.

    statics: the admin's records on the address, wider: those on its networks, the most specific first.
    """

    name: str
    verdict: str
    reason: str
    stamp: Stamp | None
    login: Login | None
    statics: Pairs
    wider: Pairs


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    shape.option(parser)
    parser.add_argument("text", metavar="ADDRESS")


def work(task: Task) -> int:
    """Print what becomes of an address, and what the MTA says of it; the status is 0 if it relays by a grant."""
    from popips.db import asks
    from popips.probe import log
    from popips.probe.machine import Machine

    task.needs_grants("why")
    name = words.address_of(task.options.text)
    with task.site() as site:
        with report.records_or_none(site) as records:
            with known(site) as others:
                told, is_asked = others.elsewhere(name), others.is_asked
            why = _elsewhere(site, name, told) if told and is_asked else _why(site, records, name, told)
        answer, logged = asks.answer(site.settings, name), log.show(Machine(), name)
        if task.options.json:
            shape.write({**_document(site, why), "mta": answer.document(), "log": logged or None})
        else:
            sys.stdout.writelines(
                f"{line}\n" for line in (_line(site, why), *answer.lines(), f"log: {logged or 'nobody keeps it here'}")
            )
    return os.EX_OK if why.verdict != CLOSED else 1


def _why(site: Site, records: Records, name: str, told: Last | None) -> Why:
    """Return what is to be told where the map is asked; told: what the next run will take up of other hosts."""
    asked = any(address.of_key(one.address) == name for one in requests.there(site.folder, site.now))
    barred = _barred(site, name) or (_ended(told) if told and not asked else "")
    waits = told is not None and not told.ended
    case = site.case(records, site.text.records(), name, asked or waits, bool(barred))
    what = fate.fate(case)
    statics = _there(records, [key.encode() for key in words.forms(site.settings, name)])
    wider = _there(records, [key for its in form.keys(site.settings, name) for key in address.wider(its)])
    reason = {
        fate.EXPIRE: DUE,
        fate.PUT: f"pending: {f'a login on {_host(told)}; ' if told and waits else ''}{PENDING}",
        fate.BAR: barred,
        fate.REFUSE: barred,
    }.get(what, "")
    if what in (fate.STATIC, fate.YIELD) or (what == fate.LEAVE and (case.record == fate.ADMINS or case.named)):
        is_built = statics and case.record == fate.ADMINS
        reason = f"static: {_told(statics) if is_built else 'the text of the map has a record on it'}"
    elif what == fate.LEAVE:
        window = report.span(site.settings.window)
        reason = barred or f"no grant in the last {window}; a login that was refused is in the mail log"
    is_granted = case.stamp != fate.NONE and what in GRANTS
    verdict = GRANTED if is_granted else OPEN if case.record == fate.OURS else CLOSED  # whatever the next run will do
    stamp = site.folder.get(name)
    return Why(
        name,
        verdict,
        "" if is_granted else reason,
        stamp,
        site.folder.login(name),
        statics if case.record == fate.ADMINS else [],
        wider,
    )


def _barred(site: Site, name: str) -> str:
    """Return why nobody at an address gets a grant, and how that is lifted, "" if somebody may."""
    denied = policy.denied(site, strictly=True, others=elsewhere.denied(site))
    barred, denial = policy.bars(site, denied)(name), denied.of(name, site.now)
    if barred == policy.NEVER:
        return f"{barred}: {_of_never(site.settings, name)}"
    if denial and denial.until != denials.FOR_EVER:
        return f"{policy.told(denial)} until {report.moment(denial.until)}: {denied.cure(denial)}"
    return barred


def _elsewhere(site: Site, name: str, told: Last) -> Why:
    """Return what is to be told where what other hosts said of the address counts, and popips-mapd asks for it."""
    due = DUE if told.time <= site.now - site.settings.window else ""
    reason = _barred(site, name) or _ended(told) or due  # who denies an address has ended its logins as well
    stamp = None if told.ended else Stamp(told.time, settled=True)
    return Why(name, CLOSED if reason else GRANTED, reason, stamp, told.login, [], [])


def _ended(told: Last) -> str:
    return f"ended on {_host(told)} at {report.moment(told.time)}" if told.ended else ""


def _host(told: Last) -> str:
    return word(told.login.host) if told.login else "-"


def _line(site: Site, why: Why) -> str:
    parts = [why.reason]
    if why.wider and not why.stamp:
        parts.append(f"static for its network: {_told(why.wider)}")
    elif why.wider:
        parts.append(f"its own record wins over the network's: {_told(why.wider)}")
    who = _who(site, why)
    parts.insert(0 if why.verdict == GRANTED else len(parts), who)
    return f"{why.name}: {IN_WORDS[why.verdict]}: {'; '.join(part for part in parts if part)}"


def _of_never(settings: Settings, name: str) -> str:
    """Return the network of `never` that holds an address, and where that stands."""
    network = next(each for each in settings.never if address.is_in(name, (each,)))
    where = settings.path if "never" in vars(settings) else "the default, see popips.conf(5)"
    return f"{network} ({where})"


def _who(site: Site, why: Why) -> str:
    """Return what the stamp says, in words, "" if there is none."""
    if not why.stamp:
        return ""
    last, login = why.stamp.time, why.login
    who = f"user={word(login.user)} service={word(login.service)} by={word(login.writer)} " if login else ""
    return f"{who}last={report.moment(last)} until={report.moment(last + site.settings.window)}"


def _document(site: Site, why: Why) -> dict[str, object]:
    grant: dict[str, object] | None = None
    if why.stamp:
        last = why.stamp.time
        of_time = {**shape.moment("last", last), **shape.moment("until", last + site.settings.window)}
        grant = {**shape.of_login(why.login), **of_time}
    return {
        "address": why.name,
        "verdict": why.verdict,
        "open": why.verdict != CLOSED,
        "reason": why.reason,
        "grant": grant,
        "records": shape.of_records(why.statics),
        "networks": shape.of_records(why.wider),
    }


def _there(records: Records, keys: Iterable[bytes]) -> Pairs:
    """Return those of the records that are there."""
    found = [(key, records.get(key)) for key in dict.fromkeys(keys)]
    return [(key, value) for key, value in found if value is not None]


def _told(pairs: Pairs) -> str:
    return "the admin has " + ", ".join(f"{report.printable(key)} {report.printable(value)}" for key, value in pairs)
