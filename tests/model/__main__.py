"""python -m tests.model [--all] [SCENARIO...]: explore the protocol, and tell the first fault of each scenario."""

from __future__ import annotations

import sys
import time

from tests.model.guards import GUARDS
from tests.model.scenarios import SMALL, explored


def main(words: list[str]) -> int:
    """Explore what the words say, all the small ones if they say nothing."""
    total = faults = 0
    for name in [word for word in words if word[0] != "-"] or list(SMALL):
        begun = time.monotonic()
        result = explored(SMALL[name])
        total += result.states
        faults += bool(result.fault)
        print(f"{result.states:9} {time.monotonic() - begun:6.1f} s  {name}  {result.fault}", flush=True)
        for line in result.trace:
            print("   ", line)
    print(f"{total:9} states")
    for guard, (scenario, fault) in GUARDS.items() if "--guards" in words else ():
        result = explored(SMALL[scenario], guard)
        print(f"{guard}: {scenario}: {result.fault} ({result.states})" + ("" if result.fault == fault else " <<<<"), flush=True)
    return 1 if faults else 0


sys.exit(main(sys.argv[1:]))
