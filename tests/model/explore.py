"""Takes the processes of a scenario through every order of their steps, and gives the first fault with its trace."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Union

from tests.model import faults
from tests.model.outside import CUT
from tests.model.world import DEAD, Known, Step, World, die

STUCK = "waits for nobody"
Process = tuple[Union[Step, str], Known]
Node = tuple[World, tuple[Process, ...]]


@dataclass(frozen=True)
class Result:
    """How many states there were until the end or the first fault; the fault, and each state and step on the way."""

    states: int
    fault: str = ""
    trace: list[str] = field(default_factory=list)


def explore(world: World, processes: tuple[Process, ...], mortal: int) -> Result:
    """Try every order, breadth first, so that the first fault is the one with the shortest trace.

    mortal: how many of the processes, the first ones, are popips' own: each may be killed at each of its steps.
    """
    start: Node = (world, processes)
    came_from: dict[Node, Node | None] = {start: None}
    queue = deque([start])
    was_static = world.records[0] == "static"
    judged: dict[World, list[str]] = {}  # many orders end in the same world
    while queue:
        node = queue.popleft()
        moves = list(following(node))
        for after in (*moves, *killed(node, mortal)):
            if after not in came_from:
                came_from[after] = node
                queue.append(after)
        wrong: list[str] = []
        if not moves and any(not isinstance(step, str) for step, _ in node[1]):
            wrong = [STUCK]
        elif not moves:
            if node[0] not in judged:
                judged[node[0]] = faults.faults(node[0], was_static)
            wrong = judged[node[0]]
        if wrong:
            return Result(len(came_from), wrong[0], list(told(node, came_from)))
    return Result(len(came_from))


def following(node: Node) -> Iterator[Node]:
    """Return each state that may come next."""
    world, processes = node
    for me, (step, known) in enumerate(processes):
        if isinstance(step, str):
            continue
        for after, then, carried in step(world, me, known):
            if then == CUT:
                yield after, ((CUT, ()),) * len(processes)
            else:
                yield after, (*processes[:me], (then, carried), *processes[me + 1 :])


def killed(node: Node, mortal: int) -> Iterator[Node]:
    """Return each state in which one of popips' processes has been killed."""
    world, processes = node
    for me, (step, _) in enumerate(processes[:mortal]):
        if not isinstance(step, str):
            yield die(world, me), (*processes[:me], (DEAD, ()), *processes[me + 1 :])


def told(node: Node, came_from: dict[Node, Node | None]) -> Iterator[str]:
    """Return the way to a state, a line for each step: what the world was, and where the processes were."""
    way: list[Node] = []
    at: Node | None = node
    while at:
        way.append(at)
        at = came_from[at]
    before: dict[str, object] = {}
    for world, processes in reversed(way):
        values = {name: value for name, value in world._asdict().items() if name != "host"}
        changed = " ".join(f"{name}={value}" for name, value in values.items() if before.get(name, ()) != value)
        before = values
        yield f"{' '.join(name_of(step) for step, _ in processes)}: {changed or '-'}"


def name_of(step: Step | str) -> str:
    """Return where a process is."""
    return step if isinstance(step, str) else f"{step.__module__.rpartition('.')[2]}.{step.__name__}"
