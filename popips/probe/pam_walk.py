"""Whether a PAM stack comes to a line: walked as _pam_dispatch_aux() in libpam's pam_dispatch.c does it.

The user is one of /etc/passwd. What a module answers that is not known here may be anything, and all of that is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product

from popips.probe import pam
from popips.probe.machine import Machine
from popips.probe.pam import AUTH, PHASES, SESSION, Line

WRONG, RIGHT, EXPIRED = "a wrong password", "the right password", "the right password of an expired account"
CASES = (WRONG, RIGHT, EXPIRED)
ANYTHING = ("success", "auth_err", "ignore", "user_unknown")  # what a module that is not known may answer
MOST = 4096  # combinations of such answers that are tried
CHECKS = {"pam_sss.so", "pam_ldap.so", "pam_krb5.so", "pam_winbind.so", "pam_mysql.so", "pam_pgsql.so", "pam_ldapd.so"}
NEUTRAL = {"pam_env.so", "pam_cap.so", "pam_faildelay.so", "pam_umask.so", "pam_limits.so", "pam_keyinit.so"}
UNSET, POSITIVE, NEGATIVE = "unset", "positive", "negative"


@dataclass(frozen=True)
class Verdict:
    """In which phases a line was reached, for each way in which the modules that are not known may answer."""

    phases: frozenset[frozenset[str]]
    unknown: tuple[str, ...]

    def reached(self, *phases: str) -> bool | None:
        """Whether it is reached in one of these phases; None if that depends on the modules that are not known."""
        found = {bool(one.intersection(phases)) for one in self.phases}
        return found.pop() if len(found) == 1 else None


def walk(machine: Machine, service: str, is_it: Callable[[Line], bool], case: str) -> Verdict:
    """Return where a login of that case comes to such a line. Raise pam.Broken."""
    stacks = pam.stacks(machine, service)
    answers = {kind: [_answers(machine, line, kind, case, is_it) for line in stacks[kind]] for kind in PHASES}
    found = set()
    for chosen in islice(product(*(possible for kind in PHASES for possible in answers[kind])), MOST):
        codes, reached, is_well = iter(chosen), set[str](), True
        for kind in PHASES:
            said = list(islice(codes, len(stacks[kind])))
            if is_well:
                visited, is_well = _dispatch(stacks[kind], said)
                reached |= {kind for line in visited if is_it(line)}
        found.add(frozenset(reached))
    pairs = [pair for kind in PHASES for pair in zip(stacks[kind], answers[kind])]
    unknown = dict.fromkeys(line.module for line, possible in pairs if len(possible) > 1)
    return Verdict(frozenset(found), tuple(unknown))


def _dispatch(lines: list[Line], codes: Sequence[str]) -> tuple[list[Line], bool]:
    """Return the lines that a stack comes to, and whether the stack as a whole succeeds; codes: what each answers."""
    visited, state, at = list[Line](), (UNSET, "perm_denied"), 0
    before: dict[int, tuple[str, str]] = {}  # the state in which a substack began, by its level
    level = 0
    while at < len(lines):
        line = lines[at]
        for inner in range(level + 1, line.level + 1):
            before[inner] = state
        level = line.level
        visited.append(line)
        code = codes[at]
        action = line.control.get(code, line.control.get("default", "bad"))
        at += 1
        if action == "reset":
            state = before.get(level, (UNSET, "perm_denied"))
        elif action in ("ok", "done"):
            if (state[0] == UNSET or state == (POSITIVE, "success")) and code != "ignore":
                state = (POSITIVE, code)
            if state[0] == POSITIVE and action == "done":
                at = _behind(lines, at, level)
        elif action.isdigit():
            at, is_error = _jump(lines, at, int(action), level)
            state = (NEGATIVE, "perm_denied") if is_error else state
        elif action != "ignore":  # bad, die, and a word that libpam does not know
            if state[0] != NEGATIVE:
                state = (NEGATIVE, "perm_denied" if code == "success" else code)
            at = _behind(lines, at, level) if action == "die" else at
    return visited, state == (POSITIVE, "success")


def _behind(lines: list[Line], at: int, level: int) -> int:
    """Return the place behind a stack that has come to its decision: of a substack, all that is within it."""
    if level == 0:
        return len(lines)
    return next((n for n in range(at, len(lines)) if lines[n].level < level), len(lines))


def _jump(lines: list[Line], at: int, count: int, level: int) -> tuple[int, bool]:
    """Return the place behind so many lines, a whole substack being one, and whether there were too few."""
    while count and at < len(lines) and lines[at].level >= level:
        at += 1
        while at < len(lines) and lines[at].level > level:
            at += 1
        count -= 1
    return at, bool(count)


def _answers(machine: Machine, line: Line, kind: str, case: str, is_it: Callable[[Line], bool]) -> tuple[str, ...]:
    """Return what the module of a line may answer: one thing, where that is known."""
    if not line.module:
        return ("perm_denied",)
    if is_it(line):
        return ("success",)  # whatever the hook meets, it exits with 0
    if not pam.is_installed(machine, line.module):
        return ("module_unknown",)
    return tuple(_known(machine, line, kind, case)) or ANYTHING


def _known(machine: Machine, line: Line, kind: str, case: str) -> Iterator[str]:
    name = line.module
    if kind == SESSION:
        yield "auth_err" if name == "pam_deny.so" else "success"
    elif name == "pam_unix.so" or (name in CHECKS and case == WRONG and kind == AUTH):
        if kind == AUTH:
            yield "auth_err" if case == WRONG else "success"
        else:
            yield "acct_expired" if case == EXPIRED else "success"
    elif name in ("pam_permit.so", "pam_localuser.so"):
        yield "success"
    elif name == "pam_deny.so":
        yield "auth_err"
    elif name in NEUTRAL or (name == "pam_nologin.so" and not machine.read("/etc/nologin")):
        yield "ignore"
    elif name == "pam_debug.so":
        wanted = "auth=" if kind == AUTH else "acct="
        yield next((word.removeprefix(wanted) for word in line.words if word.startswith(wanted)), "success")
