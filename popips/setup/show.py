"""A plan in words: each file as a diff of lines, each command, and what is left to the admin."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import unified_diff

from popips.probe.machine import Machine
from popips.setup.step import Plan, Run, Step
from popips.setup.there import text


def words(machine: Machine, plan: Plan) -> Iterator[str]:
    """Return the lines that tell what would be done."""
    if plan.says:
        yield f"for {plan.says}: " + (f"{len(plan.steps)} steps" if plan.steps else "nothing to do")
    for step in plan.steps:
        yield title(step)
        if not isinstance(step, Run):
            yield from diff(text(machine, step.path), step.text, step.path)
    yield from comments(plan)


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
