"""pam.SERVICE: whether popips-hook runs after a right password, and only then."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping

from popips.doctor import there
from popips.doctor.check import FAIL, OK, SKIP, WARN, Check, Patient
from popips.paste import quoted
from popips.probe import dovecot, pam
from popips.probe.machine import Machine
from popips.probe.pam import ACCOUNT, AUTH, NO_TEXTS, PHASES, SESSION, Line
from popips.probe.pam_walk import CASES, EXPIRED, HOOK, NEUTRAL, RIGHT, WRONG, Verdict, is_hook, runs_in, walk

WANTED = "after the right password, and only then"
OF_MAILBOXES = ("dovecot", "pop3", "imap")  # services that are worth a word without a line, too
SAFE = "auth requisite pam_unix.so nodelay\naccount requisite pam_unix.so\n"  # of contrib/pam.d/pop3
PLAIN = (*NEUTRAL, "pam_unix.so", "pam_nologin.so", "pam_exec.so", "pam_debug.so")
BREAK = r"\n"  # as printf(1) has it
Texts = Mapping[str, str]


def look(patient: Patient) -> Iterator[Check]:
    """Return a check for each service that has a line of the hook's, and for those of mailboxes."""
    for service in pam.services(patient.machine):
        yield from _of_service(patient.machine, service)


def _of_service(machine: Machine, service: str) -> Iterator[Check]:
    name, file = f"pam.{service}", pam.file_of(machine, service)
    try:
        stacks = pam.stacks(machine, service)
    except pam.Broken as error:
        if HOOK in (pam.text_of(machine, file) or ""):
            yield Check(name, FAIL, str(error), WANTED, file, _cure(machine, service, [], FAIL))
        return
    hooks = [line for kind in PHASES for line in stacks[kind] if is_hook(line)]
    if not hooks:
        if service in OF_MAILBOXES:
            yield Check(name, SKIP, f"no line of {HOOK} in {file}")
        return
    status, found = judged(machine, service)
    where = ", ".join(line.where for line in hooks)
    yield Check(name, status, found, WANTED, where, "" if status == OK else _cure(machine, service, hooks, status))


def acts(kind: str, line: Line) -> bool:
    """Whether a line runs the hook in a phase, and it does anything there, by its --phase: popips-hook(8)."""
    if not is_hook(line) or not runs_in(line, kind):
        return False
    phase = re.search(r"--phase[ =](\w+)", " ".join(line.words))
    return kind == phase[1] if phase else kind != AUTH


def judged(machine: Machine, service: str, texts: Texts = NO_TEXTS) -> tuple[str, str]:
    """Return the status, and in words when the hook runs. Raise pam.Broken. texts: see pam.stacks()."""
    stacks = pam.stacks(machine, service, texts)
    by_case = {case: walk(machine, stacks, case, acts) for case in CASES}
    runs = {case: verdict.reached for case, verdict in by_case.items()}
    if runs[WRONG] or runs[EXPIRED]:
        return FAIL, f"the hook runs after {' and '.join(case for case in (WRONG, EXPIRED) if runs[case])}"
    if runs[RIGHT] is False:
        return FAIL, f"the hook never runs{_why_never(stacks, by_case[RIGHT])}"
    if None in runs.values():
        unclear = [case for case, reached in runs.items() if reached is None]
        names = dict.fromkeys(name for case in unclear for name in by_case[case].unknown)
        return WARN, f"depends on {', '.join(names)}: whether the hook runs after {' and '.join(unclear)}"
    if _is_left_to_session(machine, service, stacks):
        return FAIL, "the hook never runs: it is in the session phase, and Dovecot's passdb has no session = yes"
    return OK, f"the hook runs {WANTED}"


def _why_never(stacks: Mapping[str, list[Line]], verdict: Verdict) -> str:
    if not any(outcome.passes for outcome in verdict.outcomes):
        return ": the right password is refused"
    if any(is_hook(line) for kind in PHASES[1:] for line in stacks[kind]):
        return ": the stack ends, or jumps, before it comes there"
    return ": in the auth phase it does nothing without --phase auth"


def _is_left_to_session(machine: Machine, service: str, stacks: Mapping[str, list[Line]]) -> bool:
    """Whether the hook acts in the session phase alone, of a service whose sessions Dovecot does not open."""
    if any(acts(kind, line) for kind in (AUTH, ACCOUNT) for line in stacks[kind]):
        return False
    found = dovecot.dovecot(machine) if any(acts(SESSION, line) for line in stacks[SESSION]) else None
    return bool(found and service in found.pam_services and not found.opens_sessions)


# ---- the cure, which is tried before it is told


def _cure(machine: Machine, service: str, hooks: list[Line], status: str) -> str:
    """Return the commands after which the hook runs as it should; where it fails and none of them would do, never."""
    for cure, texts in _cures(machine, service, hooks):
        if _is_cured(machine, service, texts, may_go=status == FAIL):
            return cure
    return ""


def _cures(machine: Machine, service: str, hooks: list[Line]) -> Iterator[tuple[str, Texts]]:
    """Return commands, best first, and what the files hold after them."""
    file, now = f"{pam.FOLDER}/{service}", pam.file_of(machine, service)
    its = quoted(file)
    places = list(dict.fromkeys([now, *(line.where.rpartition(":")[0] for line in hooks)]))
    line = _line(hooks)
    copy = [] if now == file else [f"cp -p {quoted(now)} {its}"]  # a vendor's file stays as it is
    places = [file if place == now else place for place in places]
    had = {place: pam.text_of(machine, now if place == file else place) or "" for place in places}
    texts = {place: _without_hook(text) for place, text in had.items()}
    delete = [*copy, f"sed -i '/{HOOK}/d' {shlex.join(places)}"]
    gap = "" if texts[file].endswith("\n") or not texts[file] else "\n"
    add = f"printf '{gap and BREAK}%s{BREAK}' {quoted(line)} >> {its}"
    strict = r"sed -i 's/^\(account\s\+\)required\(\s\+pam_unix\.so\)/\1requisite\2/' " + its
    stricter = re.sub(r"(?m)^(account\s+)required(\s+pam_unix\.so)", r"\1requisite\2", texts[file])
    if now == file and (number := _broken_at(machine, service, file)):
        lines = had[file].split("\n")
        whole = {**had, file: "\n".join([*lines[: number - 1], f"#{lines[number - 1]}", *lines[number:]])}
        if _is_closed(machine, service, whole):
            yield f"sed -i '{number}s/^/#/' {its}", whole
    yield " && ".join([*delete, add]), {**texts, file: f"{texts[file]}{gap}{line}\n"}
    yield " && ".join([*delete, strict, add]), {**texts, file: f"{stricter}{gap}{line}\n"}
    if service in OF_MAILBOXES and _is_plain(machine, service):
        keep = [] if copy else [f"cp -p {its} {its}.before-popips"]
        others = [f"sed -i '/{HOOK}/d' {shlex.join(places[1:])}"] if len(places) > 1 else []
        anew = f"printf '%s\\n' {shlex.join([*SAFE.splitlines(), line])} > {its}"
        yield " && ".join([*keep, *others, anew]), {**texts, file: f"{SAFE}{line}\n"}
    yield " && ".join(delete), texts


def _broken_at(machine: Machine, service: str, file: str) -> int:
    """Return the number of the line of a file for which libpam refuses all logins, 0 if there is none."""
    try:
        pam.stacks(machine, service)
    except pam.Broken as error:
        found = re.match(rf"{re.escape(file)}:(\d+): ", str(error))
        return int(found[1]) if found else 0
    return 0


def _is_closed(machine: Machine, service: str, texts: Texts) -> bool:
    """Whether nobody gets in with a wrong password."""
    try:
        outcomes = walk(machine, pam.stacks(machine, service, texts), WRONG, acts).outcomes
    except pam.Broken:
        return True
    return not any(outcome.passes for outcome in outcomes)


def _is_cured(machine: Machine, service: str, texts: Texts, may_go: bool) -> bool:
    """Whether the hook runs as it should with these texts; may_go: or is gone, where it can do no harm."""
    try:
        stacks = pam.stacks(machine, service, texts)
        is_gone = not any(is_hook(line) for lines in stacks.values() for line in lines)
        return may_go if is_gone else judged(machine, service, texts)[0] == OK
    except pam.Broken:
        return False


def _is_plain(machine: Machine, service: str) -> bool:
    """Whether a stack knows no passwords but those of /etc/shadow, so that no user is lost with another."""
    try:
        stacks = pam.stacks(machine, service)
    except pam.Broken:
        return False  # nobody can tell
    return all(
        line.name in PLAIN or not (line.module and pam.is_installed(machine, line.module))
        for kind in (AUTH, ACCOUNT)
        for line in stacks[kind]
    )


def _without_hook(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if HOOK not in line)


def _line(hooks: list[Line]) -> str:
    """Return the line to put behind the checks of the account phase: it has the options of the one that is there."""
    words = list(hooks[0].words) if hooks else ["quiet", there.hook(HOOK)]
    told = re.sub(r" --phase[ =]\w+", "", " ".join(word for word in words if not word.startswith("type=")))
    return f"account optional pam_exec.so {told}"
