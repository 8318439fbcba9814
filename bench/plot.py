"""bench/cost.svg: what a login and a run of the expirer cost, by the number of live grants."""

from __future__ import annotations

import importlib
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.lab import Lab, grow
from bench.rows import FRESH
from bench.site import Site, address
from bench.table import median

FILE = Path(__file__).parent / "cost.svg"
ROUNDS = 9
LINES = {"granted": "login, granted address", "new": "login, new address", "expire": "popips-expire, none due"}


@dataclass
class Point:
    """Medians in ms with that many live grants."""

    grants: int
    granted: float
    new: float
    expire: float


def measure(lab: Lab, site: Site) -> list[Point]:
    """Let the site grow to the lab's size by powers of ten, and time the programs on each."""
    sizes = sorted({10**power for power in range(1, 7) if 10**power < lab.stamps} | {lab.stamps})
    points = []
    for have, size in zip([0, *sizes], sizes):
        grow(site, range(have), size)
        lab.settle(site, lab.hook(site, address(0)))
        [(granted, _)] = lab.race(lab.hook(site, address(0)), rounds=ROUNDS)
        [(new, _)] = lab.race(lab.hook(site, "ADDRESS"), rounds=ROUNDS, first=FRESH)
        site.unstamp(range(FRESH, FRESH + ROUNDS))
        site.restore()
        lab.settle(site)
        [(expire, _)] = lab.race(lab.expirer(site), rounds=3)
        points.append(Point(size, median(granted), median(new), median(expire)))
    return points


def draw(points: list[Point]) -> None:
    """Write the plot; without matplotlib, say so."""
    try:
        matplotlib = importlib.import_module("matplotlib")
        matplotlib.use("svg")
        pyplot = importlib.import_module("matplotlib.pyplot")
    except ImportError:
        sys.stderr.write(f"no {FILE.name}: matplotlib is missing; pip install -e '.[bench]'\n")
        return
    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for name, label in LINES.items():
        axes.loglog([p.grants for p in points], [getattr(p, name) for p in points], marker="o", label=label)
    axes.set(xlabel="live grants", ylabel="ms, the whole process", title=f"popips on {machine()}")
    axes.grid(True, alpha=0.3)
    axes.legend()
    figure.savefig(FILE, bbox_inches="tight", metadata={"Date": None})


def machine() -> str:
    """Return what was measured on, and when."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    return f"{len(models)} x {model}, {time.strftime('%Y-%m-%d')}"
