"""Sets up, or takes back, a folder that stands for a host: `python -m tests.setup.driver apply|undo FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from popips.setup import apply, undo
from popips.setup.record import Record
from popips.setup.step import Run, Step, Write

EDITED, FRESH, DEEP, BUILT = "main.cf", "popips.conf", "unit.d/popips/popips.conf", "sendmail.cf"
TEXTS = {EDITED: "a = b\nmap = ours\n", FRESH: "own_map = yes\n", DEEP: "[Service]\n"}


def record(host: Path) -> Record:
    return Record(str(host / "setup"))


def steps(host: Path) -> list[Step]:
    """Return what this host lacks: as plan() does, judged by what is there."""
    wanted = [Write("mta", str(host / name), text) for name, text in TEXTS.items() if _text(host / name) != text]
    build = ("sh", "-c", f"tr a-z A-Z < {host / EDITED} > {host / BUILT}.new; mv {host / BUILT}.new {host / BUILT}")
    built = str(host / BUILT)
    told: Step = Run("mta", ("touch", str(host / "told")), undo=(("rm", "-f", str(host / "told")),))
    made: Step = Run("mta", build, touches=(built, f"{built}.new"), remake=build)
    return [*wanted, made, told] if wanted else []


def main(verb: str, host: Path) -> int:
    its = record(host)
    if verb == "undo":
        return len(undo.undo(its, print))
    if todo := apply.continued(steps(host), its.waiting):
        apply.apply(todo, its, print)
    return 0


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
