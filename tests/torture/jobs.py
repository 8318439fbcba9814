"""Each kind of row by a word, for a process of its own: a scenario goes by its name."""

from __future__ import annotations

from collections.abc import Callable

from tests.torture import Row, fail, full, fuzz, kill, power, powerloss, scarce, seconds, signals, sockets, stop, whole
from tests.torture.ground import Where
from tests.torture.scenarios import EVERY

SWEEPS: dict[str, Callable[..., Row]] = {
    "kill": kill.run,
    "fail": fail.run,
    "stop": stop.run,
    "powerloss": powerloss.run,
    "power": power.run,
    "kill anywhere": whole.kill,
    "fail anywhere": whole.fail,
}
OTHERS: dict[str, Callable[..., Row]] = {
    "full": full.run,
    "scarce": scarce.run,
    "seconds": seconds.run,
    "sockets": sockets.run,
}
ALONE: dict[str, Callable[..., Row]] = {"fuzz": fuzz.by_name, "signals": signals.run}
ANYWHERE = {scenario.name: scenario for scenario in whole.SCENARIOS}


def do(where: Where, job: str, *words: object) -> Row:
    """Do a job: of a sweep the first word is the scenario's name."""
    if job in SWEEPS:
        scenario = (ANYWHERE if job.endswith("anywhere") else EVERY)[str(words[0])]
        return SWEEPS[job](where, scenario, *words[1:])
    return OTHERS[job](where, *words) if job in OTHERS else ALONE[job](*words)
