"""Run in the box: starts a program many times at once; JSON on standard input and output.

In: {"number": N, "first": F, "argv": [...], "env": {...}}; ADDRESS stands for the address of the number F in the first
one, F + 1 in the next. Out: the seconds of each from its start to its end.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> None:
    """Do what the module's text says."""
    order = json.load(sys.stdin)
    quiet = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0), *((os.POSIX_SPAWN_DUP2, 0, n) for n in (1, 2))]
    started: dict[int, float] = {}
    took = []
    for number in range(order["first"], order["first"] + order["number"]):
        name = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        env = {key: value.replace("ADDRESS", name) for key, value in order["env"].items()}
        start = time.perf_counter()
        started[os.posix_spawn(order["argv"][0], order["argv"], env, file_actions=quiet)] = start
    while started:
        child, status = os.wait()
        if status:
            raise SystemExit(f"{order['argv']}: ended with status {status}")
        took.append(time.perf_counter() - started.pop(child))
    json.dump(took, sys.stdout)


if __name__ == "__main__":
    main()
