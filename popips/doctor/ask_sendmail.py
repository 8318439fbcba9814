"""sendmail: whether its rulesets ask the map, say yes to who has a grant, and no to a stranger."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from popips.doctor.check import ASKED, FAIL, ORDER, STRANGERS, WARN, Check, Finding, Patient, added, judged, skipped
from popips.doctor.there import contrib
from popips.form import of
from popips.paste import quoted, replacement
from popips.probe import sendmail, units
from popips.probe.sendmail import MAKE_AND_RESTART as MAKE
from popips.probe.sendmail import Answers, Cf, Verdict

DRAC = "/usr/share/sendmail/cf/feature/drac.m4"
DNSBL = re.compile(r"\$\((\w+) \$4\.\$3\.\$2\.\$1\.(\S+?)\.? ")
LOCAL_RULES = re.compile(r"^SLocal_check_rcpt\b.*?(?=^S|\Z)", re.M | re.S)
# rules for Local_check_rcpt, as sed puts them: what access.db says of the client comes first
RELAY_FIRST = (
    "R$*\\t$: $1 $| $>Basic_check_relay $\\&{client_name} $| $\\&{client_addr}\\nR$* $| $#$*\\t$#$2\\nR$* $| $*\\t$: $1"
)


def look(patient: Patient) -> Iterator[Check]:
    """Look at what sendmail does with the map."""
    cf = patient.cf
    assert cf is not None
    yield judged("mta.asks", ASKED, _answers(patient), list(_wrong_asks(patient, cf)))
    yield judged("mta.order", ORDER, "nothing refuses before it is asked", list(_wrong_order(patient, cf)))
    yield from fresh(patient)


def fresh(patient: Patient) -> Iterator[Check]:
    """Look whether sendmail runs, by the .cf that there is."""
    if patient.cf and patient.machine.runs:
        wanted = "sendmail runs with the .cf that there is"
        yield judged("mta.fresh", wanted, "it was started after the last change", list(_stale(patient, patient.cf)))
    else:
        yield skipped("mta.fresh", "only files are here" if patient.machine.root else f"there is no {sendmail.CF}")


# ---- mta.asks


def _wrong_asks(patient: Patient, cf: Cf) -> Iterator[Finding]:
    place = patient.settings.map
    names = cf.names_of(place.path)
    asked = [name for name in names if cf.asks(name)]
    if not asked:
        yield _not_asked(patient, cf, bool(names))
        return
    line = cf.maps[asked[0]]
    if line.path and line.kind != place.kind:
        fix = patient.set_line("map", f"{line.kind}:{place.source}")
        yield Finding(FAIL, f"sendmail takes {place.path} for {line.kind}, and popips.conf for {place.kind}", fix=fix)
    if line.has_flag("T") and _any_value_relays(cf, asked[0]):
        fix = f"sed -i '/^FEATURE(`drac/s/-T<TMPF> *//' {sendmail.MC} && {MAKE}"
        found = f"any value of the map {asked[0]} relays, and with -T a map that cannot be read has one, for everybody"
        yield Finding(FAIL, found, f"K{asked[0]} in {sendmail.CF}", fix)
    if patient.machine.runs:
        yield from _wrong_answers(patient, asked)


def _not_asked(patient: Patient, cf: Cf, is_named: bool) -> Finding:
    """Return what is wrong where no rule asks the map, and the cheapest way to have one ask it."""
    place = patient.settings.map
    found = f"sendmail does not ask {place}: " + (
        "its .cf names it, and no rule asks it" if is_named else "no map of its .cf is that file"
    )
    there = ", ".join(f"{line.name} {line.kind}:{line.path}" for line in cf.maps.values() if line.path)
    evidence = f"{sendmail.CF} has {there or 'no map that is a file'}"
    fix = "" if place.own else patient.asked_instead
    return Finding(FAIL, found, evidence, fix or have_asked(patient))


def have_asked(patient: Patient) -> str:
    """Return the command that has sendmail ask the map of popips.conf."""
    place = patient.settings.map
    if not place.own:
        return _feature(patient, f"FEATURE(`access_db', `{place.kind} -T<TMPF> {place.path}')dnl")
    if os.path.exists(patient.machine.path(DRAC)):
        return _feature(patient, f"FEATURE(`drac', `{place.kind} -o {place.path}')dnl")
    sample = contrib("sendmail/own-check-rcpt.mc")
    edit = f"s|hash -o .*|{replacement(f'{place.kind} -o {place.path}')}|"
    return f"{added(patient.machine, sendmail.MC, f'sed {quoted(edit)} {sample}')} && {MAKE}"


def _feature(patient: Patient, line: str) -> str:
    """Return the command that has sendmail.mc say a line: behind the access map's, else before the mailers."""
    source = patient.machine.read(sendmail.MC)
    if line in source.splitlines():  # and make has not seen it
        return f"touch {sendmail.MC} && {MAKE}"
    at = "/^FEATURE(`access_db/a" if re.search(r"^FEATURE\(`access_db", source, re.M) else "/^MAILER_DEFINITIONS/i"
    edit = line.replace("\\", "\\\\")  # which sed would take away
    return f"sed -i {quoted(f'{at} {edit}')} {sendmail.MC} && {MAKE}"


def _any_value_relays(cf: Cf, name: str) -> bool:
    """Whether a rule takes whatever it finds in the map for a yes, as FEATURE(`drac') does."""
    return any(f"$({name} " in rule and "<?>" in rule and "<>" in rule for rule in cf.rules) and name != "access"


def _wrong_answers(patient: Patient, names: list[str]) -> Iterator[Finding]:
    """Ask sendmail itself."""
    bt, form = patient.bt, of(patient.settings)
    if bt.is_silent:
        yield Finding(
            FAIL, "sendmail gives no answer: is the map locked, or DNS out of order?", f"sendmail -bt: {bt.error}"
        )
        return
    if bt.error:
        yield Finding(FAIL, "sendmail cannot be asked", f"sendmail -bt: {bt.error}", f"touch {sendmail.MC} && {MAKE}")
        return
    for name in patient.live:
        key, value = (part.decode() for part in form.record(name))
        if not any(bt.found.get((map_, key)) == value for map_ in names):
            evidence = f"/map {names[0]} {key}: {bt.found.get((names[0], key)) or 'no match'}"
            yield Finding(
                FAIL, f"{name} has a grant, and sendmail does not find it in the map", evidence, "popips-expire"
            )
        elif not (verdict := bt.verdicts.get(name)) or not verdict.relays:
            yield _refused(patient, name, verdict)
    for name in STRANGERS:
        verdict = bt.verdicts.get(name)
        if wrong := open_to(name, verdict):
            yield wrong
        elif verdict and not _asks_for(patient, verdict, names):
            found = f"no ruleset asks the map for {form.record(name)[0].decode()} when {name} wants to relay"
            yield Finding(FAIL, found, f"sendmail -bt -d60.5: {_asked(verdict)}")


def open_to(name: str, verdict: Verdict | None) -> Finding | None:
    """Return what is wrong with what sendmail said of a stranger, None if it refuses him."""
    if verdict is None:
        return Finding(FAIL, f"sendmail does not say whether it relays for {name}", "sendmail -bt: no verdict")
    if not verdict.relays:
        return None
    by = next(
        (f"{map_} {key}: {value}" for map_, key, value in verdict.asked if value == "RELAY"), "sendmail -bt: check_rcpt"
    )
    return Finding(FAIL, f"sendmail relays for {name}, who has no grant: is the relay open to all?", by)


def _refused(patient: Patient, name: str, verdict: Verdict | None) -> Finding:
    """Return what is to be said of a client whose grant is in the map, and who is refused all the same."""
    told = verdict.text if verdict else "no answer"
    reject = next(
        (
            (map_, key, value)
            for map_, key, value in (verdict.asked if verdict else ())
            if value.startswith(("REJECT", "DISCARD"))
        ),
        None,
    )
    if reject:  # the admin's own will
        found = f"{name} has a grant, and your record {reject[1]} {reject[2]} refuses it"
        return Finding(WARN, found, f"check_rcpt: {told}", f"popips-db end {name}")
    return Finding(FAIL, f"{name} has a grant, and sendmail refuses it", f"check_rcpt: {told}")


def _asks_for(patient: Patient, verdict: Verdict, names: list[str]) -> bool:
    """Whether the map was asked for the address; a refusal before that says nothing."""
    key = of(patient.settings).record(verdict.address)[0].decode()
    asked = {(map_, asked.lower()) for map_, asked, _ in verdict.asked}
    refused = any(value.startswith(("REJECT", "DISCARD")) for _, _, value in verdict.asked)
    return refused or any((name, key) in asked for name in names)


def _asked(verdict: Verdict) -> str:
    told = {f"{map_} {key}": None for map_, key, _ in verdict.asked if key.endswith(verdict.address.rpartition(":")[2])}
    return ", ".join(list(told)[:6]) or "it was asked for nothing"


def _answers(patient: Patient) -> str:
    """Return what sendmail said, in words."""
    if not patient.machine.runs:
        return f"{sendmail.CF} asks {patient.settings.map}"
    return "; ".join(words(patient.bt))


def words(said: Answers) -> Iterator[str]:
    """Return what sendmail says to each; that a stranger is refused is as it must be."""
    for name, verdict in said.verdicts.items():
        who = f"{name}, a stranger" if name in STRANGERS else name
        yield f"{who}: {'relays' if verdict.relays else f'is refused: {verdict.text}'}"


# ---- mta.order


def _wrong_order(patient: Patient, cf: Cf) -> Iterator[Finding]:
    """Return what refuses a client before its grant is looked at, and what relays although the admin has a REJECT."""
    place = patient.settings.map
    names = cf.names_of(place.path)
    if "access" in names:
        return  # a grant in the access map goes before a DNSBL
    lists = sorted({found[2] for rule in cf.rules if (found := DNSBL.search(rule))})
    if lists:
        given = [name for name in ("map", "own_map") if name in vars(patient.settings)]
        fix = (
            f"sed -i -E '/^[ \\t]*({'|'.join(given)})[ \\t]*=/d' {quoted(patient.conf)} && popips-expire && "
            f"sed -i '/^FEATURE(`drac.*popips/d' {sendmail.MC} && {MAKE}"
        )
        told = f"a DNSBL ({', '.join(lists)}) goes before a grant in a map of its own, and not before one in access.db"
        yield Finding(WARN, told, f"{sendmail.CF}: the map {names[0] if names else '?'} is asked behind it", fix)
    local = "".join(LOCAL_RULES.findall(cf.text))
    if cf.delays_checks and "Basic_check_relay" not in local and any(f"$({name} " in local for name in names):
        told = "with FEATURE(`delay_checks'), who has a grant relays in spite of your REJECT of it"
        fix = f"sed -i 's/^SLocal_check_rcpt.*/&\\n{RELAY_FIRST}/' {sendmail.MC} && {MAKE}"
        yield Finding(FAIL, told, f"Local_check_rcpt in {sendmail.CF} does not call Basic_check_relay", fix)


# ---- mta.fresh


def _stale(patient: Patient, cf: Cf) -> Iterator[Finding]:
    machine = patient.machine
    began = sendmail.began(machine, cf)
    unit = units.units(machine, "sendmail.service")["sendmail.service"]
    start = (
        "systemctl enable sendmail && systemctl restart sendmail"
        if units.has_systemd(machine)
        else "service sendmail start"
    )
    built, source = (_mtime(machine.path(path)) for path in (sendmail.CF, sendmail.MC))
    if source > built + 1:
        yield Finding(WARN, f"{sendmail.MC} is newer than the .cf that is made from it", fix=MAKE)
    if began is None:
        yield Finding(FAIL, "sendmail does not run", fix=start)
    elif began < built:
        yield Finding(
            FAIL,
            "sendmail was started before its .cf was changed, and goes by the old one",
            f"started {built - began:.0f} s before the change of {sendmail.CF}",
            "service sendmail restart",
        )
    if began is not None and units.has_systemd(machine) and not unit.is_enabled:
        yield Finding(WARN, "sendmail is not started at boot", fix="systemctl enable sendmail")


def _mtime(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0
