"""python -m bench [--quick]: every row of the table; the medians of three whole runs. Exits 1 unless all of them pass.

The sides of a row run by turns, so that whatever the machine does meanwhile hits all alike. It happens in the private
mail host of the tests, on sites that are gone afterwards; a run at full size takes 10 GB under /tmp for a while.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import mapd, plot, relay, rows, runs
from bench.lab import Lab, Untimed, standstill
from bench.site import Unbuilt, compiled
from bench.table import Row, middle, printed
from tests.box import Box, install


def main() -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure popips as ratios to other programs.")
    parser.add_argument("--stamps", type=int, metavar="N", help="live grants for the expirer (1,000,000)")
    parser.add_argument("--rounds", type=int, metavar="N", help="logins on each side (200)")
    parser.add_argument("--runs", type=int, metavar="N", help="whole runs, of which the medians count (3)")
    parser.add_argument("--quick", action="store_true", help="one run of 10,000 grants and 40 logins: minutes")
    options = parser.parse_args()
    stamps = options.stamps or (10_000 if options.quick else 1_000_000)
    rounds = options.rounds or (40 if options.quick else 200)
    idle = standstill() * 1000
    measured = []
    with tempfile.TemporaryDirectory(prefix="popips-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        try:
            programs, prefix = compiled(folder), install(folder / "prefix")
            for number in range(options.runs or (1 if options.quick else 3)):
                with Box(prefix, folder / f"host{number}") as box:
                    measured.append(list(all_rows(Lab(box, *programs, rounds, stamps))))
                shutil.rmtree(box.scratch)
                print(f"run {number + 1}:\n{printed(measured[-1])}\n", flush=True)
        except (Unbuilt, Untimed) as error:
            sys.stderr.write(f"bench: {error}\n")
            return 2
    print(f"{plot.machine()}; {stamps:,} grants, {rounds} logins; idle, it stood still for {idle:.1f} ms at most")
    medians = middle(measured)
    print(printed(medians))
    return 1 if any(row.verdict == "FALLS SHORT" for row in medians) else 0


def all_rows(lab: Lab) -> Iterator[Row]:
    """Return every row, in the table's order, and draw the plot on the way."""
    for part in (
        rows.processes,
        rows.crowd,
        rows.flood,
        rows.pop3,
        rows.doctor,
        rows.in_process,
        mapd.mapd,
        relay.relay,
    ):
        yield from told(part(lab))
    big = lab.site("", own_map="yes", window=rows.WIDE)  # the box's own: the map that its sendmail asks
    points = plot.measure(lab, big)
    plot.draw(points)
    for point in points:
        sys.stderr.write(f"{point}\n")
    yield from told(rows.big_map(lab, big))
    yield from told(runs.expiry(lab, big))


def told(measured: Iterator[Row]) -> Iterator[Row]:
    """Print on standard error how far it is."""
    for row in measured:
        sys.stderr.write(f"{row.line()}\n")
        yield row


if __name__ == "__main__":
    sys.exit(main())
