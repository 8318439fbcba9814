"""Whether a PAM stack comes to a line: walked as _pam_dispatch_aux() in libpam's pam_dispatch.c does it.

The user is one of /etc/passwd. What a module answers that is not known here may be anything, and all of that is tried:
the walk goes on from all the states in which it may be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from popips.probe import pam
from popips.probe.machine import Machine
from popips.probe.pam import ACCOUNT, AUTH, PHASES, SESSION, Line
from popips.probe.pam_line import CODES

WRONG, RIGHT, EXPIRED = "a wrong password", "the right password", "the right password of an expired account"
CASES = (WRONG, RIGHT, EXPIRED)
HOOK = "popips-hook"
ANYTHING = ("success", "auth_err", "ignore", "user_unknown")  # and the codes that the line's control names
# The modules that pass nobody with a wrong password, whatever else they answer.
CHECKS = ("sss", "ldap", "ldapd", "krb5", "winbind", "mysql", "pgsql", "userdb", "radius_auth", "systemd_home")
NEUTRAL = {  # the answer to nearly everybody, by the phases in which the module has one
    "pam_env.so": {AUTH: "ignore", SESSION: "success"},
    "pam_cap.so": {AUTH: "ignore"},
    "pam_faildelay.so": {AUTH: "ignore"},
    "pam_limits.so": {SESSION: "success"},
    "pam_umask.so": {SESSION: "success"},
    "pam_permit.so": dict.fromkeys(PHASES, "success"),
    "pam_localuser.so": dict.fromkeys(PHASES, "success"),
    "pam_deny.so": {AUTH: "auth_err", ACCOUNT: "auth_err", SESSION: "session_err"},
    "pam_warn.so": dict.fromkeys(PHASES, "ignore"),
}
UNSET, POSITIVE, NEGATIVE = "unset", "positive", "negative"
START = (UNSET, "perm_denied")


class Outcome(NamedTuple):
    """What a login may come to: the phases in which a line was reached; the one in which PAM refuses, "" if none."""

    reached: frozenset[str]
    refused: str

    @property
    def passes(self) -> bool:
        """Whether the user gets in, where nobody opens a session: Dovecot does not, unless it is told to."""
        return self.refused in ("", SESSION)


@dataclass(frozen=True)
class Verdict:
    """The outcomes for all that the modules that are not known may answer; unknown: those that the walk came to."""

    outcomes: frozenset[Outcome]
    unknown: tuple[str, ...]

    @property
    def reached(self) -> bool | None:
        """Whether the line is reached; None if that depends on the modules that are not known."""
        found = {bool(outcome.reached) for outcome in self.outcomes}
        return found.pop() if len(found) == 1 else None


class _State(NamedTuple):
    """Where the walk is: the next line, the level of the last one, what the stack says by now, and was the line met."""

    at: int
    level: int
    said: tuple[str, str]  # impression and status
    before: tuple[tuple[str, str], ...]  # the same when the substack of each level began
    met: bool


def is_hook(line: Line) -> bool:
    """Whether pam_exec runs popips-hook there."""
    return line.name == "pam_exec.so" and any(word.rpartition("/")[2] == HOOK for word in line.words)


def walk(machine: Machine, stacks: Mapping[str, list[Line]], case: str, is_it: Callable[[str, Line], bool]) -> Verdict:
    """Return where a login of that case comes to such a line; is_it: tells by the phase and the line."""
    found, unknown = {Outcome(frozenset(), "")}, dict[str, None]()
    for kind in PHASES:
        if all(outcome.refused for outcome in found):
            break
        answers = [tuple(_answers(machine, line, kind, case)) for line in stacks[kind]]
        ends, visited = _dispatch(stacks[kind], answers, [is_it(kind, line) for line in stacks[kind]])
        unknown |= {stacks[kind][at].name: None for at in sorted(visited) if len(answers[at]) > 1}
        found = {o for o in found if o.refused} | {
            Outcome(o.reached | {kind} if met else o.reached, "" if passes else kind)
            for o in found
            if not o.refused
            for met, passes in ends
        }
    return Verdict(frozenset(found), tuple(unknown))


def _dispatch(
    lines: list[Line], answers: Sequence[tuple[str, ...]], marks: Sequence[bool]
) -> tuple[set[tuple[bool, bool]], set[int]]:
    """Return how a stack may end, as whether a marked line was met and whether it passes; and the lines it came to."""
    ends, visited = set[tuple[bool, bool]](), set[int]()
    todo = [_State(0, 0, START, (START,), False)]
    known = set(todo)
    while todo:
        state = todo.pop()
        if state.at >= len(lines):
            ends.add((state.met, state.said == (POSITIVE, "success")))
            continue
        visited.add(state.at)
        for code in answers[state.at]:
            then = _step(lines, state, code)._replace(met=state.met or marks[state.at])
            if then not in known:
                known.add(then)
                todo.append(then)
    return ends, visited


def _step(lines: list[Line], state: _State, code: str) -> _State:
    """Return the state behind a line whose module answered so."""
    line, at, said, before = lines[state.at], state.at + 1, state.said, state.before
    if line.level > state.level:
        before = before[: state.level + 1] + (said,) * (line.level - state.level)
    action = line.control.get(code, line.control.get("default", "bad"))
    if action == "reset":
        said = before[line.level]
    elif action in ("ok", "done"):
        said = (POSITIVE, code) if said[0] == UNSET or said == (POSITIVE, "success") else said
        at = _behind(lines, at, line.level) if action == "done" and said[0] == POSITIVE else at
    elif action.isdigit():
        at, is_error = _jump(lines, at, int(action), line.level)
        said = (NEGATIVE, "perm_denied") if is_error else said
    elif action in ("bad", "die"):
        said = (NEGATIVE, code) if said[0] != NEGATIVE else said
        at = _behind(lines, at, line.level) if action == "die" else at
    return _State(at, line.level, said, before, state.met)


def _behind(lines: list[Line], at: int, level: int) -> int:
    """Return the place behind a stack that has come to its decision: of a substack, all that is within it."""
    return next((n for n in range(at, len(lines)) if lines[n].level < level), len(lines))


def _jump(lines: list[Line], at: int, count: int, level: int) -> tuple[int, bool]:
    """Return the place behind so many lines, a whole substack being one, and whether there were too few."""
    while count and at < len(lines) and lines[at].level >= level:
        at += 1
        while at < len(lines) and lines[at].level > level:
            at += 1
        count -= 1
    return at, bool(count)


def _answers(machine: Machine, line: Line, kind: str, case: str) -> Iterator[str]:
    """Return what the module of a line may answer: one thing, where that is known."""
    name = line.name
    is_password = kind == AUTH and case == WRONG
    if not line.module:
        yield "perm_denied"
    elif not pam.is_installed(machine, line.module):
        yield "module_unknown"
    elif is_hook(line):
        yield "success" if runs_in(line, kind) else "ignore"  # whatever the hook meets, it exits with 0
    elif name == "pam_unix.so":
        yield "auth_err" if is_password else "acct_expired" if (kind, case) == (ACCOUNT, EXPIRED) else "success"
    elif name == "pam_debug.so":
        wanted = {AUTH: "auth=", ACCOUNT: "acct=", SESSION: "open_session="}[kind]
        told = next((word.removeprefix(wanted) for word in line.words if word.startswith(wanted)), "")
        yield told if told in CODES else "success"
    elif name == "pam_nologin.so" and kind != SESSION and not machine.read("/etc/nologin"):
        yield "ignore" if "successok" not in line.words else "success"
    elif kind in NEUTRAL.get(name, {}):
        yield NEUTRAL[name][kind]
    else:
        never = "success" if is_password and name.removeprefix("pam_").removesuffix(".so") in CHECKS else ""
        yield from (code for code in dict.fromkeys((*ANYTHING, *line.control)) if code not in ("default", never))


def runs_in(line: Line, kind: str) -> bool:
    """Whether pam_exec runs its program in a phase: its type= may name another, pam_exec(8)."""
    only = [word.removeprefix("type=") for word in line.words if word.startswith("type=")]
    return not only or only[-1] == ("open_session" if kind == SESSION else kind)
