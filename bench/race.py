"""Run in the box: starts programs by turns and times them; JSON on standard input and output.

In: {"rounds": R, "first": N, "sides": [{"argv": [...], "env": {...}}, ...]}; ADDRESS in a side stands for the address
of number N in the first round, N + 1 in the next. Out: for each side, for each round: [seconds, peak KiB]. Imports
next to nothing, for the peak memory of a program counts from that of the process which starts it.
"""

from __future__ import annotations

import json
import os
import sys
import time


def run(argv: list[str], env: dict[str, str]) -> tuple[float, int]:
    """Run a program to its end; give the seconds and the most memory that it had, in KiB."""
    quiet = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0), *((os.POSIX_SPAWN_DUP2, 0, n) for n in (1, 2))]
    start = time.perf_counter()
    child = os.posix_spawn(argv[0], argv, env, file_actions=quiet)
    _, status, usage = os.wait4(child, 0)
    took = time.perf_counter() - start
    if status:
        raise SystemExit(f"{argv}: ended with status {status}")
    return took, usage.ru_maxrss


def main() -> None:
    """Do what the module's text says."""
    order = json.load(sys.stdin)
    results: list[list[tuple[float, int]]] = [[] for _ in order["sides"]]
    for number in range(order["first"], order["first"] + order["rounds"]):
        name = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        for side, result in zip(order["sides"], results):
            argv = [word.replace("ADDRESS", name) for word in side["argv"]]
            env = {key: value.replace("ADDRESS", name) for key, value in side["env"].items()}
            result.append(run(argv, env))
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
