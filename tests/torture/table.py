"""make torture: all of it at full size, two at a time, and a table of figures at the end. See --help for the sizes."""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.box import install
from tests.torture import Row, crowd, fail, full, fuzz, inside, jobs, power, scarce, stop, whole
from tests.torture.ground import Where
from tests.torture.scenarios import AS_A_WHOLE, SCENARIOS

HERE, ON_DISK = "here", "on disk"
Job = tuple[str, str, str, tuple[object, ...]]  # where, or by which MTA; the kind of disk, the job, its words


def do(told: tuple[Path, Job]) -> Row:
    """Do one job of the table, in a process of its own."""
    programs, (place, disk, job, words) = told
    if place == HERE:
        return jobs.do(Where(programs), job, *words)
    if place == ON_DISK:
        return inside.on_disk(programs, disk, job, *words)
    return inside.by_mta(programs, place, disk, job, *words)


def every_job(options: argparse.Namespace) -> Iterator[Job]:
    """Return all jobs, those that take long first."""
    sizes = [int(size) for size in options.sizes.split(",")]
    for scenario in SCENARIOS:
        for size in sizes:
            yield HERE, "", "kill", (scenario.name, size, options.kills)
    for scenario in AS_A_WHOLE:
        yield scenario.mta, inside.NO_DISK, "kill", (scenario.name, 200, options.kills)
        yield scenario.mta, inside.NO_DISK, "fail", (scenario.name, 200, options.failures)
        yield scenario.mta, "delayed allocation", "power", (scenario.name, 200, options.cuts // 4)
    for disk in full.DISKS:
        yield ON_DISK, disk, "full", (disk,)
    for scenario in power.CHOSEN:
        yield ON_DISK, "delayed allocation", "power", (scenario.name, 200, options.cuts // 4)
    yield ON_DISK, "whole seconds", "seconds", (options.rounds,)
    for job, chosen, most in (("fail", fail.CHOSEN, options.failures), ("stop", stop.CHOSEN, options.kills)):
        for scenario in chosen:
            yield HERE, "", job, (scenario.name, 200, most)
    for scenario in whole.SCENARIOS:
        yield HERE, "", "kill anywhere", (scenario.name, options.failures)
        yield HERE, "", "fail anywhere", (scenario.name, 2 * options.failures)
    for what in scarce.SCARCE:
        yield HERE, "", "scarce", (what, 200)
    for scenario in SCENARIOS:
        for size in sizes[:2]:
            yield HERE, "", "powerloss", (scenario.name, size, options.cuts)
    for target in fuzz.TARGETS:
        yield HERE, "", "fuzz", (target.name, options.inputs)
    yield HERE, "", "sockets", (options.inputs,)
    yield HERE, "", "signals", (options.signals,)


def merged(rows: list[Row]) -> list[Row]:
    """Put the rows of one name together."""
    found: dict[str, Row] = {}
    for row in rows:
        total = found.setdefault(row.name, Row(row.name))
        total.cases, total.survived = total.cases + row.cases, total.survived + row.survived
        total.lost, total.open = total.lost + row.lost, total.open + row.open
        total.worst = max(total.worst, row.worst)
        total.faults += row.faults
        total.figures += row.figures
    return list(found.values())


def table(rows: list[Row]) -> str:
    lines = ["| what | cases | survived | lost | left open | worst delay |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        worst = f"{row.worst:.2f} s" if row.worst else ""
        lines.append(f"| {row.name} | {row.cases:,} | {row.survived:,} | {row.lost} | {row.open} | {worst} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--sizes", default="0,200,2000,20000", help="static records of the maps (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=160, help="calls of a run to kill at, at most (%(default)s)")
    parser.add_argument("--failures", type=int, default=300, help="failing calls of a run, at most (%(default)s)")
    parser.add_argument("--cuts", type=int, default=200, help="calls to cut the power after, at most (%(default)s)")
    parser.add_argument("--inputs", type=int, default=fuzz.MILLION, help="hostile inputs (%(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="deeds within a second, of each kind (%(default)s)")
    parser.add_argument("--signals", type=int, default=200, help="signals while the map is changed (%(default)s)")
    parser.add_argument("--processes", type=int, default=16, help="that log in at once (%(default)s)")
    parser.add_argument("--logins", type=int, default=1000, help="of each of them (%(default)s)")
    options = parser.parse_args()
    start = time.monotonic()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="popips-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        programs = install(Path(folder))
        with multiprocessing.get_context("spawn").Pool(2, maxtasksperchild=1) as pool:
            for row in pool.imap_unordered(do, [(programs, job) for job in every_job(options)]):
                rows.append(row)
                print(f"{time.monotonic() - start:6.0f} s  {row.name}: {row.survived} of {row.cases}", flush=True)
        rows += crowd.run(programs, options.processes, options.logins)
    rows = merged(rows)
    print("\n" + table(rows) + "\n")
    for row in rows:
        for figure in row.figures:
            print(f"{row.name}: {figure}")
        for fault in row.faults[:5]:
            print(f"FAULT {row.name}: {fault[:1000]}")
    killed = sum(row.cases for row in rows if row.name.startswith("killed"))
    print(f"{killed:,} kill points; {time.monotonic() - start:.0f} s in all")
    return 1 if any(row.faults or row.lost or row.open for row in rows) else 0
