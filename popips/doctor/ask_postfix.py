"""Postfix: whether its restrictions ask the map, before what refuses strangers and before a DNSBL does."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Sequence

from popips.doctor import tables
from popips.doctor.check import ASKED, FAIL, ORDER, STRANGERS, WARN, Check, Finding, Patient, judged, skipped
from popips.form import of
from popips.probe import mapd, postfix, units
from popips.probe.postfix import LISTS, RECIPIENT, RELAY, Config, Restriction
from popips.probe.postfix_walk import walk


def look(patient: Patient) -> Iterator[Check]:
    """Look at what Postfix does with the map."""
    this = _Postfix(patient)
    yield judged("mta.asks", ASKED, this.answers(), list(this.wrong_asks()))
    yield judged("mta.order", ORDER, "nothing refuses before it is asked", list(this.wrong_order()))
    if patient.machine.runs:
        fresh = "Postfix runs with the main.cf and master.cf that there are"
        yield judged("mta.fresh", fresh, "it has read them since their last change", list(_stale(patient)))
    else:
        yield skipped("mta.fresh", "only files are here")


def have_asked(patient: Patient) -> str:
    """Return the command that has Postfix ask the map of popips.conf."""
    this = _Postfix(patient)
    return this.edit(RELAY, this.wanted(RELAY))


class _Postfix:
    """Postfix's lists of restrictions, and where they ask the map."""

    def __init__(self, patient: Patient) -> None:
        self.patient, self.machine = patient, patient.machine
        self.table = patient.settings.map.name
        self.config: Config = patient.postfix
        self.lists = {name: self.config.restrictions(name) for name in LISTS}

    def at(self, name: str) -> int | None:
        """Return where a list asks the map, None if it does not."""
        return _index(self.lists[name], self.is_ours)

    @property
    def has_map(self) -> bool:
        """Whether there is a map, and not popips-mapd in its place."""
        return self.patient.settings.map.row.has_file

    def is_ours(self, each: Restriction) -> bool:
        """Whether an entry asks the map, or popips-mapd where there is none."""
        return each.asks(self.table) if self.has_map else mapd.is_asked(self.patient.settings, each)

    def closing(self, name: str) -> int | None:
        """Return where a list refuses strangers, None if it does not, or lets all pass before that."""
        return _closing(self.lists[name])

    # ---- mta.asks

    def wrong_asks(self) -> Iterator[Finding]:
        if self.config.error:
            yield Finding(FAIL, "Postfix's settings cannot be read", self.config.error, "postfix check")
            return
        refuse = [name for name in LISTS if self.closing(name) is not None]
        if not {RELAY, RECIPIENT}.intersection(refuse):
            found = f"neither {RELAY} nor {RECIPIENT} refuses strangers: is the relay open to all?"
            yield Finding(FAIL, found, self.evidence(RELAY), self.edit(RELAY, self.wanted(RELAY)))
        instead = tables.asked_instead(self.patient)
        for name in refuse:
            at, closing = self.at(name), self.closing(name)
            if at is None or (closing is not None and at > closing):
                where = (
                    "does not ask the map" if at is None else f"asks the map behind {self.lists[name][closing or 0]}"
                )
                fix = instead or self.edit(name, self.wanted(name))
                yield Finding(FAIL, f"{name} {where}", self.evidence(name), fix)
        yield from self.strangers()
        yield from self.not_judged()
        yield from self.failing_open()
        if self.machine.runs and self.has_map:
            yield from self.wrong_answers()
        elif self.machine.runs:
            yield from self.wrong_verdicts()

    def failing_open(self) -> Iterator[Finding]:
        """Return each question to popips-mapd that lets everybody relay while it is down."""
        for name in LISTS:
            for each in filter(self.is_ours, [] if self.has_map else self.lists[name]):
                action = mapd.default_action(each)
                if action.upper() != "DUNNO":
                    found = f"{name}: while popips-mapd is down, Postfix does {action or 'refuse all mail'} by that"
                    yield Finding(FAIL, found, self.evidence(name), self.edit(name, self.wanted(name)))

    def strangers(self) -> Iterator[Finding]:
        """Return that mynetworks holds everybody, if it does."""
        for name in STRANGERS:
            if postfix.is_mine(self.config, name):
                found = f"mynetworks holds {name}, an address that nobody has: is the relay open to all?"
                fix = "postconf -X mynetworks && postconf -e 'mynetworks_style = host' && postfix reload"
                yield Finding(FAIL, found, f"mynetworks = {self.config.values['mynetworks']}", fix)

    def not_judged(self) -> Iterator[Finding]:
        """Return what may let strangers relay, and is not looked into."""
        if words := postfix.unclear(self.config):
            found = f"not judged: what mynetworks holds by {', '.join(words)}, which is no network"
            yield Finding(WARN, found, f"mynetworks = {self.config.values['mynetworks']}")
        for service, own in postfix.others(self.machine, self.config):
            lists = [name for name in (RELAY, RECIPIENT) if name in own]
            entries = [self.config.expanded(postfix.parsed(own[name])) for name in lists]
            if lists and all(_closing(each) is None for each in entries):
                found = f"not judged: {service} of master.cf has {' and '.join(lists)} of its own: is it open to all?"
                yield Finding(WARN, found, "; ".join(f"{service}/{name} = {own[name]}" for name in lists))

    def wrong_answers(self) -> Iterator[Finding]:
        """Ask the map as Postfix does."""
        form = of(self.patient.settings)
        found, error = postfix.query(self.machine, self.table, [*self.patient.live, *STRANGERS])
        if error:
            fix = tables.unknown_type(self.table, error) or tables.AGAIN
            yield Finding(FAIL, "Postfix cannot read the map, and answers 451", error, fix)
            return
        for name in self.patient.live:
            if found.get(name) != form.value:
                evidence = f"postmap -q {name} {self.table}: {found.get(name, 'nothing')}"
                yield Finding(
                    FAIL, f"{name} has a grant, and Postfix does not find it in the map", evidence, "popips-expire"
                )
        for name in STRANGERS:
            if name in found:
                evidence = f"postmap -q {name} {self.table}: {found[name]}"
                yield Finding(
                    FAIL, f"{name}, an address that nobody has, is in the map", evidence, f"popips-db del {name}"
                )
        yield from self.wrong_verdicts()

    def wrong_verdicts(self) -> Iterator[Finding]:
        """Return what other tables of the lists refuse to who has a grant, and permit to everybody."""
        for name in (*self.patient.live, *STRANGERS):
            said = walk(self.config, name, self.query)
            told = f"{said.by}{': ' if said.found else ''}{', '.join(said.found)}"
            if said.complaint:
                found = f"Postfix cannot read a table, and answers 451: {said.by}"
                fix = tables.readable(self.machine, said.table, said.complaint)
                yield Finding(FAIL, found, said.complaint, fix)
                return
            if said.unclear:
                found = f"not judged: restrictions that a record of a table names for {name}"
                yield Finding(WARN, found, ", ".join(said.unclear))
            if name in STRANGERS and said.relays:
                yield Finding(FAIL, f"Postfix relays for {name}, who has no grant: is the relay open to all?", told)
            if name not in STRANGERS and not said.relays and said.found:  # the admin's own will
                found = f"{name} has a grant, and a record of yours refuses it"
                yield Finding(WARN, found, told, f"popips-db end {name}")

    def query(self, entry: Restriction, keys: Sequence[str]) -> tuple[dict[str, str], str]:
        """Return what a table has; of popips-mapd that it answers as it must: map.there is what looks at that."""
        if self.has_map or not self.is_ours(entry):
            return postfix.query(self.machine, entry.of, keys)
        return {key: "OK" for key in keys[:1] if key in self.patient.live}, ""

    def answers(self) -> str:
        """Return what was found, in words."""
        asks = ", ".join(name for name in LISTS if self.at(name) is not None)
        if not self.has_map:
            return f"{asks}: popips-mapd"
        live = "; ".join(f"{name}: found" for name in self.patient.live) if self.machine.runs else ""
        return f"{asks}: check_client_access {self.table}{'; ' if live else ''}{live}"

    # ---- mta.order

    def wrong_order(self) -> Iterator[Finding]:
        """Return each DNSBL that refuses a client before the map is asked."""
        for name in LISTS:
            dnsbl = _index(self.lists[name], lambda each: each.is_dnsbl)
            at = self.at(name)
            if dnsbl is None or (at is not None and at < dnsbl):
                continue
            closing = self.closing(name)
            if closing is not None and at is None:
                continue  # mta.asks puts it there
            found = f"{name}: {self.lists[name][dnsbl]} refuses a listed client in spite of its grant"
            yield Finding(WARN, found, self.evidence(name), self.edit(name, self.wanted(name)))
        sites, action = (self.config.values.get(f"postscreen_dnsbl_{part}", "") for part in ("sites", "action"))
        if self.config.screened and sites and action not in ("", "ignore"):
            found = f"postscreen refuses who is listed by {sites}, in spite of a grant: it asks no map of grants"
            fix = "postconf -e 'postscreen_dnsbl_action = ignore' && postfix reload"
            yield Finding(WARN, found, f"postscreen_dnsbl_action = {action}", fix)

    # ---- fixes

    def evidence(self, name: str) -> str:
        """Return a list as it is."""
        return f"{name} = {', '.join(map(str, postfix.parsed(self.config.values.get(name, ''))))}"

    def first(self, entries: list[Restriction], is_it: Callable[[Restriction], bool]) -> int | None:
        """Return the place of the first entry that is it, or a class that holds one; None if none is."""
        return _index(entries, lambda each: any(map(is_it, self.config.expanded([each]))))

    def wanted(self, name: str) -> str:
        """Return a list, as it is written, that asks the map in front of what refuses strangers, and of its DNSBLs."""
        said = (
            self.config.values.get(name, "") if name in self.config.overrides else postfix.written(self.machine, name)
        )
        if not self.machine.runs:
            said = self.config.values.get(name, "")
        entries = [each for each in postfix.parsed(said) if not self.is_ours(each)]
        closing = self.first(entries, lambda each: each.refuses_strangers)
        last = len(entries) if closing is None else closing
        entries = [each for i, each in enumerate(entries) if i > last or not each.permits_all]
        stop = self.first(entries, lambda each: each.refuses_strangers or each.is_dnsbl)
        check = Restriction("check_client_access", self.table) if self.has_map else mapd.QUESTION
        at = len(entries) if stop is None else stop
        more = [] if closing is not None or name != RELAY else [Restriction("reject_unauth_destination")]
        wanted = [*entries[:at], check, *entries[at:], *more]
        return tables.as_setup_writes(said, self.table, wanted) or ", ".join(map(str, wanted))

    def edit(self, name: str, value: str) -> str:
        """Return the command that sets a list."""
        if name in self.config.overrides:
            words = value.replace(", ", ",").replace(" ", ",")  # for master.cf takes no blanks
            return f"postconf -P {shlex.quote(f'{self.config.service}/{name}={words}')} && postfix reload"
        return f"postconf -e {shlex.quote(f'{name} = {value}')} && postfix reload"


def _stale(patient: Patient) -> Iterator[Finding]:
    """Return that Postfix does not run, or answers by an older main.cf, if it does."""
    machine = patient.machine
    if not postfix.runs(machine):
        start = "systemctl enable --now postfix" if units.has_systemd(machine) else "postfix start"
        yield Finding(FAIL, "Postfix does not run", fix=start)
        return
    main, master = (os.stat(machine.path(path)).st_mtime for path in (postfix.MAIN, postfix.MASTER))
    there, changed = units.processes(machine, ["smtpd", "qmgr"]), max(main, master)
    # each start and each reload of its master begins with a new qmgr
    if any((units.started(machine, pid) or master) < master - 1 for pid in there["qmgr"]):
        yield Finding(WARN, "Postfix has not read master.cf since it was changed", fix="postfix reload")
    old = [pid for pid in there["smtpd"] if (units.started(machine, pid) or changed) < changed - 1]
    if old:
        found = f"smtpd that was started before the last change of main.cf or master.cf still runs, {len(old)} times"
        yield Finding(WARN, found, f"process {', '.join(map(str, old))}", "postfix reload")


def _closing(entries: list[Restriction]) -> int | None:
    at = _index(entries, lambda each: each.refuses_strangers or each.permits_all)
    return None if at is None or entries[at].permits_all else at


def _index(entries: list[Restriction], is_it: Callable[[Restriction], bool]) -> int | None:
    """Return the place of the first entry that is it, None if none is."""
    return next((index for index, each in enumerate(entries) if is_it(each)), None)
