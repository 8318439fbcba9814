"""The power goes, on a real ext4 that writes as late as it can: what was not synced is gone, with names and sizes.

powerloss.py tries what POSIX allows; this is one file system as it is, delayed allocation included. The ext4 loses what
is in its journal and not on the disk (EXT4_IOC_SHUTDOWN), and the host boots again.
"""

from __future__ import annotations

import os
import struct
import subprocess
from itertools import product
from pathlib import Path
from uuid import uuid4

from popips.files import opened
from popips.maps import WHOLE
from tests.holds.disks import lose_power
from tests.torture import Row
from tests.torture.ground import Ground, Where, restore, saved
from tests.torture.judge import Judge
from tests.torture.programs import EXPIRE
from tests.torture.scenarios import Scenario, named, prepared
from tests.torture.trace import calls, inject, spread

BOOT_ID = "/proc/sys/kernel/random/boot_id"
CHOSEN = named(
    *("hook, new address", "hook, a bucket splits", "expire, 1 due", "expire, requests wait", "expire, another value"),
    *("hook, new address, own map", "expire, 500 due, own map", "expire, own map gone", "db del", "db deny"),
)


def run(where: Where, scenario: Scenario, size: int, most: int) -> Row:
    """Kill the scenario's program at each call, or that many of them, cut the power, and have the expirer run then.

    The folder of `where` is the disk, beside its image. What had not been synced by then is lost; once all of it, and
    once all but what the map holds, for the kernel writes out what it likes. At the last call the program is let live.
    """
    row = Row(f"delayed allocation: {scenario.name}")
    disk, boots = Path(where.folder), Path(where.folder).parent / "boot_id"
    _boot(boots)
    with where.ground(scenario.kind, scenario.own) as ground:
        judge = Judge(ground, scenario, prepared(ground, scenario, size))
        before = saved(ground)
        points = [*spread(calls(ground, scenario.program), most), ("none", 1)]
        for (call, number), writes in product(points, (nothing, write_map)):
            restore(ground, before)
            os.sync()
            if call == "none":
                scenario.program.run(ground)
            else:
                inject(ground, scenario.program, call, f"signal=KILL:when={number}")
            writes(ground)
            lose_power(disk, disk.parent)
            _boot(boots)
            fault = _unreadable(ground)
            done = EXPIRE.run(ground)
            after = judge.after(EXPIRE)
            fault += after.fault + (f" exit {done.returncode}: {done.stderr[-200:]}" if done.returncode else "")
            where_and_what = f"{scenario.name}: {call} {number}, {writes.__name__}: "
            row.add(where_and_what + fault if fault else "", after.lost, after.bare)
    return row


def nothing(ground: Ground) -> None:
    """Write nothing out."""


def write_map(ground: Ground) -> None:
    """Write the map out, as the kernel may do at any time, and not what was written before it."""
    if ground.db.exists():
        with opened(str(ground.db)) as fd:
            os.fdatasync(fd)


def _unreadable(ground: Ground) -> str:
    """Return that Postfix cannot open a map, and so takes no mail, before the expirer makes it anew."""
    if ground.kind not in WHOLE or not ground.db.exists():
        return ""
    try:
        ground.records()
    except (subprocess.CalledProcessError, ValueError, struct.error) as error:
        return f"not to be read before the next run: {error}; "
    return ""


def _boot(file: Path) -> None:
    """Have another boot id from now on, in the mount namespace that this runs in."""
    is_first = not file.exists()
    file.write_text(f"{uuid4()}\n")
    if is_first:
        subprocess.run(["mount", "--bind", str(file), BOOT_ID], check=True)
