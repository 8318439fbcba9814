"""What a run did, as Prometheus reads it: a file for the textfile collector of its node exporter.

A run is a process, so the totals live in the file itself: each run reads what the one before has written, and adds. How
many logins there were is told by the log, for what a login does must not take longer for being counted.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from dataclasses import dataclass, field

import popips
from popips import fate
from popips.files import opened, write_all
from popips.probe import log
from popips.probe.machine import Machine
from popips.run import Run

LAG = 2.0  # seconds that a line may take on its way into the log
LONGEST = 1 << 16  # bytes of a file
SAMPLE = re.compile(r"^(\w+(?:\{[^}]*\})?) (\S+)$", re.M)
LOG_TIME, WHOLE_TIME = "popips_log_timestamp_seconds", "popips_whole_run_timestamp_seconds"
OUTCOMES = ("granted", "static", "refused", "deferred")

# each metric with its type, what it is, and the values that its label may have
METRICS: dict[str, tuple[str, str, tuple[str, tuple[str, ...]] | None]] = {
    "popips_info": ("gauge", "The version of popips.", ("version", (popips.__version__,))),
    "popips_grants": ("gauge", "Grants that are live.", None),
    "popips_logins_total": (
        "counter",
        "Logins by what the log says became of them.",
        ("outcome", OUTCOMES),
    ),
    "popips_refused_total": (
        "counter",
        "Logins that were refused, by the reason that the log says.",
        (
            "reason",
            ("never", "denied", "anonymous", "only_services", "only_group", "limit", "old", "address", "other"),
        ),
    ),
    "popips_renewed_total": ("counter", "Grants that were renewed, each once a run at most.", None),
    "popips_ended_total": (
        "counter",
        "Grants that runs have ended: window over, nobody there gets one, a record of the admin's, ended elsewhere.",
        ("reason", ("expired", "barred", "static", "elsewhere")),
    ),
    "popips_restored_total": ("counter", "Records that runs have put back.", None),
    "popips_failed_runs_total": ("counter", "Runs that ended with an error.", None),
    "popips_requests_waiting": ("gauge", "Logins that waited for the last run to look at them.", None),
    "popips_lock_wait_seconds": ("gauge", "How long the last run waited for other writers of the map.", None),
    "popips_run_seconds": ("gauge", "How long the last run took.", None),
    "popips_run_timestamp_seconds": ("gauge", "When the last run ended, whole or not.", None),
    WHOLE_TIME: ("gauge", "When the last whole run ended.", None),
    LOG_TIME: ("gauge", "Up to when the log has been counted.", None),
}
REASONS = (  # of a refusal's line, and the reason that it counts for: the first that is found
    ("in a network of `never`", "never"),
    (" is denied by ", "denied"),
    ("denied just now", "denied"),
    ("an anonymous login", "anonymous"),
    ("only_services", "only_services"),
    ("only_group", "only_group"),
    ('"max_per_', "limit"),
    ('"drop: ', "limit"),
    ("longer ago than the window", "old"),
    ("address", "address"),
)
ENDED = {fate.EXPIRE: "expired", fate.BAR: "barred", fate.YIELD: "static", fate.ELSEWHERE: "elsewhere"}

OF_LOG = ("popips_logins_total", "popips_refused_total", "popips_renewed_total", LOG_TIME)  # not without the log


class MetricsError(Exception):
    """The file cannot be written; str() names it and the cure."""


@dataclass(frozen=True)
class Ran:
    """What is to be told of a run: when it ended, how many seconds it took, and what it did; None if it failed."""

    now: float
    seconds: float
    run: Run | None


@dataclass(frozen=True)
class Metrics:
    """The samples of a file, by name and label, as the last run has left them."""

    path: str
    samples: dict[str, float] = field(default_factory=dict)

    @property
    def since(self) -> float:
        """When the last run ended that was whole, in seconds since the epoch; infinite if none is known of."""
        return self.samples.get(WHOLE_TIME, math.inf)

    def add(self, ran: Ran, machine: Machine) -> Metrics:
        """Return the samples after one more run."""
        made = {
            f"{name}{label}": self.samples.get(f"{name}{label}", 0.0) for name in METRICS for label in _labels(name)
        }
        of_log, made[LOG_TIME] = self._logged(machine, math.floor(ran.now - LAG))
        for name, count in of_log.items():
            made[name] += count
        if ran.run is None:
            made["popips_failed_runs_total"] += 1
        else:
            _add_run(made, ran.run, of_log['popips_logins_total{outcome="granted"}'])
            made[WHOLE_TIME] = ran.now
        if not made[LOG_TIME]:
            made = {name: value for name, value in made.items() if not name.startswith(OF_LOG)}
        made[f'popips_info{{version="{popips.__version__}"}}'] = 1
        made["popips_run_timestamp_seconds"], made["popips_run_seconds"] = ran.now, ran.seconds
        return Metrics(self.path, made)

    def _logged(self, machine: Machine, until: float) -> tuple[Counter[str], float]:
        """Return what the log says of the time since it was counted last, and up to when; 0 if it cannot be read."""
        since = self.samples.get(LOG_TIME, until)
        if since >= until:  # the first run, or the clock was put back
            return Counter(), until if log.place(machine) else 0.0
        logged = log.read(machine, since, until)
        if logged is None:
            return Counter(), 0.0
        counted: Counter[str] = Counter()
        for line in logged.lines:
            event = line.partition(":")[0]
            if event in OUTCOMES:
                counted[f'popips_logins_total{{outcome="{event}"}}'] += 1
            if event == "refused":
                reason = next((means for text, means in REASONS if text in line.partition(" reason=")[2]), "other")
                counted[f'popips_refused_total{{reason="{reason}"}}'] += 1
        return counted, until

    def write(self) -> None:
        """Put the file in its place as a whole, for anybody to read; raise MetricsError."""
        folder, _, name = self.path.rpartition("/")
        new = f"{folder}/.{name}.new"
        try:
            if os.path.lexists(new):  # of a run that was killed here
                os.unlink(new)
            with opened(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW) as fd:
                write_all(fd, self.text().encode())
                os.fchmod(fd, 0o644)
            os.rename(new, self.path)
        except OSError as error:
            cure = "is there such a folder, and does ReadWritePaths= of the unit name it?"
            raise MetricsError(f"{self.path}: metrics cannot be written: {error.strerror}; {cure}") from None

    def text(self) -> str:
        """Return the file: https://prometheus.io/docs/instrumenting/exposition_formats/."""
        lines = []
        for name, (kind, told, _) in METRICS.items():
            there = [f"{name}{label}" for label in _labels(name) if f"{name}{label}" in self.samples]
            if there:
                lines += [f"# HELP {name} {told}", f"# TYPE {name} {kind}"]
                lines += [f"{sample} {self.samples[sample]:.17g}" for sample in there]
        return "".join(f"{line}\n" for line in lines)


def load(path: str) -> Metrics:
    """Return what the file says; none of what cannot be read."""
    try:
        with opened(path) as fd:
            text = os.read(fd, LONGEST).decode(errors="replace")
    except OSError:
        return Metrics(path)
    samples = {}
    for name, number in SAMPLE.findall(text):
        try:
            value = float(number)
        except ValueError:
            continue
        if math.isfinite(value):
            samples[name] = value
    return Metrics(path, samples)


def _labels(name: str) -> list[str]:
    of = METRICS[name][2]
    return [f'{{{of[0]}="{value}"}}' for value in of[1]] if of else [""]


def _add_run(made: dict[str, float], run: Run, granted: int) -> None:
    made["popips_grants"] = run.live
    made["popips_requests_waiting"], made["popips_lock_wait_seconds"] = run.waiting, run.waited
    made["popips_renewed_total"] += max(0, run.recent - granted)
    made["popips_restored_total"] += run.count.get(fate.PUT, 0)
    for what, reason in ENDED.items():
        made[f'popips_ended_total{{reason="{reason}"}}'] += run.count.get(what, 0)
