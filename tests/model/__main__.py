"""python -m tests.model [--all] [SCENARIO...]: explore the protocol, and show the way to the first fault of each."""

from __future__ import annotations

import sys
import time

from tests.model.scenarios import ALL, SMALL, explored


def main(words: list[str]) -> int:
    """Explore the scenarios that the words name, the small ones if they name none; fail if there is a fault."""
    names = [word for word in words if word != "--all"] or (ALL if "--all" in words else SMALL)
    total = faults = 0
    for name in names:
        begun = time.monotonic()
        result = explored(ALL[name])
        total, faults = total + result.states, faults + bool(result.fault)
        print(f"{result.states:9} states {time.monotonic() - begun:6.1f} s  {name}  {result.fault}", flush=True)
        for line in result.trace:
            print("   ", line)
    print(f"{total:9} states, {faults} faults")
    return 1 if faults else 0


sys.exit(main(sys.argv[1:]))
