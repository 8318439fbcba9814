"""A plan in words: each file as a diff of lines, each command, and what is left to the admin."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import unified_diff

from popips.plural import counted
from popips.probe.machine import Machine
from popips.setup.step import Choice, Plan, Run, Step
from popips.setup.there import text


def words(machine: Machine, plan: Plan) -> Iterator[str]:
    """Return the lines that tell what would be done."""
    if plan.says:
        steps = (
            "nothing is done" if plan.by_hand else counted(len(plan.steps), "step") if plan.steps else "nothing to do"
        )
        yield f"for {plan.says}: {steps}"
    for step in plan.steps:
        yield title(step)
        if not isinstance(step, Run):
            yield from diff(text(machine, step.path), step.text, step.path)
    yield from comments(plan)


def end(plan: Plan, choice: Choice, is_apply: bool) -> Iterator[str]:
    """Return the line that says that nothing was changed, and how to go on."""
    given = {"--mta": choice.mta, "--map": choice.map, "--hook": choice.hook}
    again = "".join(f" {option} {word}" for option, word in given.items() if word)
    if plan.by_hand:
        yield f"nothing was changed: when that is done by hand, popips-db setup{' --apply' * is_apply}{again}"
    elif plan.steps:
        yield f"nothing was changed: popips-db setup --apply{again} does this"


def comments(plan: Plan) -> Iterator[str]:
    """Return the lines on what is not done."""
    yield from (f"by hand: {why}" for why in plan.by_hand)
    yield from (f"left to you: {what}" for what in plan.left)


def title(step: Step) -> str:
    """Return the line that names a step."""
    return f"run {' '.join(step.command)}" if isinstance(step, Run) else f"write {step.path}"


def diff(before: str, after: str, path: str) -> Iterator[str]:
    """Return what a file loses and gets, as diff -u says it; text that could steer a terminal is shown as ?."""
    old, new = before.splitlines(), after.splitlines()
    names = (path if before else "/dev/null", path)
    for line in unified_diff(old, new, *names, lineterm=""):
        yield "".join(c if c.isprintable() or c == "\t" else "?" for c in line)


def value(machine: Machine, plan: Plan) -> dict[str, object]:
    """Return a plan for --json."""
    return {
        "plan": plan.says or None,
        "steps": [_step(machine, step) for step in plan.steps],
        "by_hand": list(plan.by_hand),
        "left": list(plan.left),
    }


def _step(machine: Machine, step: Step) -> dict[str, object]:
    if isinstance(step, Run):
        return {"do": "run", "part": step.part, "command": list(step.command)}
    changes = list(diff(text(machine, step.path), step.text, step.path))
    return {"do": "write", "part": step.part, "path": step.path, "diff": changes}
