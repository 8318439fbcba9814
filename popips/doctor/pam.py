"""pam.SERVICE: whether popips-hook runs after a right password, and only then."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from popips.doctor import there
from popips.doctor.check import FAIL, OK, SKIP, WARN, Check, Patient
from popips.probe import pam
from popips.probe.machine import Machine
from popips.probe.pam import AUTH, PHASES, Line
from popips.probe.pam_walk import CASES, EXPIRED, RIGHT, WRONG, walk

HOOK = "popips-hook"
WANTED = "after the right password, and only then"
OF_MAILBOXES = ("dovecot", "pop3", "imap")  # services that are worth a word without a line, too
SAFE = "auth requisite pam_unix.so nodelay\naccount requisite pam_unix.so\n"  # of contrib/pam.d/pop3


def look(patient: Patient) -> Iterator[Check]:
    """Return a check for each service that has a line of the hook's, and for those of mailboxes."""
    for service in pam.services(patient.machine):
        yield from _of_service(patient.machine, service)


def _of_service(machine: Machine, service: str) -> Iterator[Check]:
    name = f"pam.{service}"
    try:
        stacks = pam.stacks(machine, service)
    except pam.Broken as error:
        if HOOK in machine.read(pam.file_of(machine, service)):
            yield Check(name, FAIL, str(error), WANTED, fix=_cure(machine, service, []))
        return
    hooks = [line for kind in PHASES for line in stacks[kind] if is_hook(line)]
    if not hooks:
        if service in OF_MAILBOXES:
            yield Check(name, SKIP, f"no line of {HOOK} in {pam.file_of(machine, service)}")
        return
    status, found = judged(machine, service)
    where = ", ".join(line.where for line in hooks)
    yield Check(name, status, found, WANTED, where, "" if status == OK else _cure(machine, service, hooks))


def is_hook(line: Line) -> bool:
    """Whether pam_exec runs popips-hook there."""
    return line.module == "pam_exec.so" and any(word.rpartition("/")[2] == HOOK for word in line.words)


def acts_in(line: Line) -> tuple[str, ...]:
    """Return the phases in which the hook of a line does anything, by its --phase: popips-hook(8)."""
    phase = re.search(r"--phase[ =](\w+)", " ".join(line.words))
    return (phase[1],) if phase else tuple(kind for kind in PHASES if kind != AUTH)


def judged(machine: Machine, service: str) -> tuple[str, str]:
    """Return the status, and in words when the hook runs. Raise pam.Broken."""
    runs: dict[str, bool | None] = {}
    unknown: tuple[str, ...] = ()
    for case in CASES:
        verdict = walk(machine, service, is_hook, case)
        acting = {kind for kind in PHASES if any(kind in acts_in(line) for line in _hooks(machine, service, kind))}
        runs[case] = verdict.reached(*acting)
        unknown = unknown or (verdict.unknown if runs[case] is None else ())
    if runs[WRONG] or runs[EXPIRED]:
        return FAIL, f"the hook runs after {' and '.join(case for case in (WRONG, EXPIRED) if runs[case])}"
    if runs[RIGHT] is False:
        only_auth = not any(_hooks(machine, service, kind) for kind in PHASES[1:])
        why = ": in the auth phase it does nothing without --phase auth" if only_auth else ""
        return FAIL, f"the hook never runs{why}"
    if None in runs.values():
        return WARN, f"depends on {', '.join(unknown)}: whether the hook runs after {_unclear(runs)}"
    return OK, f"the hook runs {WANTED}"


def _unclear(runs: Mapping[str, bool | None]) -> str:
    return " and ".join(case for case, reached in runs.items() if reached is None)


def _hooks(machine: Machine, service: str, kind: str) -> list[Line]:
    return [line for line in pam.stacks(machine, service)[kind] if is_hook(line)]


# ---- the cure, which is tried before it is told


@dataclass(frozen=True)
class _Edited(Machine):
    """A host with other texts in some of its files."""

    texts: Mapping[str, str] = field(default_factory=dict)

    def read(self, path: str) -> str:
        """Return the text that the file is to have."""
        return self.texts[path] if path in self.texts else Machine.read(self, path)


def _cure(machine: Machine, service: str, hooks: list[Line]) -> str:
    """Return the commands after which the hook runs as it should; "" where none of those known here would do."""
    file = f"{pam.FOLDER}/{service}"
    line = _line(hooks)
    there = machine.read(pam.file_of(machine, service))
    files = {file: there} | {path: machine.read(path) for path in (one.where.rpartition(":")[0] for one in hooks)}
    without = {path: "".join(one for one in text.splitlines(True) if HOOK not in one) for path, text in files.items()}
    delete = f"sed -i '/{HOOK}/d' {' '.join(files)}"
    stricter = re.sub(r"(?m)^(account\s+)required(\s+pam_unix\.so)", r"\1requisite\2", without[file])
    strict = r"sed -i 's/^\(account\s\+\)required\(\s\+pam_unix\.so\)/\1requisite\2/' " + file
    add = f"echo '{line}' >> {file}"
    whole = f"printf '{SAFE}{line}\n' > {file}".replace("\n", "\\n")
    for texts, commands in (
        ({**without, file: f"{without[file]}{line}\n"}, [delete, add]),
        ({**without, file: f"{stricter}{line}\n"}, [delete, strict, add]),
        ({**without, file: f"{SAFE}{line}\n"}, [*([delete] if len(files) > 1 else []), whole]),
    ):
        try:
            if judged(_Edited(machine.root, texts), service)[0] == OK:
                return "; ".join(commands)
        except pam.Broken:
            pass
    return ""


def _line(hooks: list[Line]) -> str:
    """Return the line to put behind the checks of the account phase: it has the options of the one that is there."""
    words = " ".join(hooks[0].words) if hooks else f"quiet {there.hook(HOOK)}"
    words = re.sub(r" --phase[ =]\w+", "", words)
    return f"account optional pam_exec.so {words}"
