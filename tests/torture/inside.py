"""A row in a place of its own: on a disk with its own file system, or where another MTA is installed.

`python -m tests.torture.inside DISK FOLDER PROGRAMS JOB WORDS...` prints the row as JSON; the words are JSON, too.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

from tests.box import ROOT, Box
from tests.holds.disks import KINDS, disk
from tests.postfix import unpack_postfix
from tests.sendmail_cdb import take_berkeley_db_away
from tests.torture import Row
from tests.torture.ground import Where
from tests.torture.jobs import do

MEGABYTES = {"tmpfs": 2, "ext4": 4, "whole seconds": 24, "delayed allocation": 48}
NO_DISK = "none"
MTAS: dict[str, Callable[[Box], None]] = {"Postfix": unpack_postfix, "sendmail with cdb": take_berkeley_db_away}
# which a box has none of
LOOP_DEVICES = "mknod /dev/loop-control c 10 237; for n in 0 1 2 3 4 5 6 7; do mknod /dev/loop$n b 7 $n; done"


def on_disk(programs: Path, kind: str, job: str, *words: object) -> Row:
    """Do a job on such a disk, see tests.holds.disks, which nobody else sees."""
    with _folder() as folder:
        command = ["unshare", "--mount", "--propagation", "private", *_words(kind, folder, programs, job, words)]
        return _row(subprocess.run(command, capture_output=True, text=True, cwd=ROOT))


def by_mta(programs: Path, mta: str, kind: str, job: str, *words: object) -> Row:
    """Do a job on a host with one of MTAS, on a disk of that kind, NO_DISK for none."""
    with _folder() as folder, Box(programs, Path(folder) / "host") as box:
        MTAS[mta](box)
        box.run(["sh", "-c", LOOP_DEVICES])
        (Path(folder) / "disks").mkdir()
        command = _words(kind, f"{folder}/disks", programs, job, words)
        return _row(box.run(command, {"PYTHONPATH": str(ROOT)}))


def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="popips-", dir="/tmp")


def _words(kind: str, folder: str, programs: Path, job: str, words: tuple[object, ...]) -> list[str]:
    python = [sys.executable, "-m", "tests.torture.inside"]
    return [*python, kind, folder, str(programs), job, *map(json.dumps, words)]


def _row(done: subprocess.CompletedProcess[str]) -> Row:
    if done.returncode:
        return Row("not tried", faults=[done.stderr])
    return Row(**json.loads(done.stdout))


def main(kind: str, folder: str, programs: str, job: str, *words: str) -> None:
    """Mount the disk and do the job."""
    mounted = disk(Path(folder), kind, MEGABYTES[kind]) if kind != NO_DISK else nullcontext(Path(folder))
    with mounted as place:
        row = do(Where(Path(programs), str(place)), job, *map(json.loads, words))
    json.dump(asdict(row), sys.stdout)


if __name__ == "__main__":
    assert set(KINDS) <= MEGABYTES.keys()
    main(*sys.argv[1:])
