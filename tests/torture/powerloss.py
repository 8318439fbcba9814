"""Power loss: what a program wrote, cut off after each call, and with what was not synced by then kept or lost.

The writes are recorded by strace from the real programs. What a call changed in a file is safe after fsync of the
file, its content after fdatasync, too; a name that was made or removed is safe after fsync of its folder. All else may
be on the disk or not, in any combination: all are tried where there are 8 or fewer such calls, some at random above.
"""

from __future__ import annotations

import os
import random
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from unittest.mock import patch

from popips.maps import MapError
from popips.maps.base import Base
from popips.maps.database import Copy
from tests.strace import STRACE
from tests.torture import Row
from tests.torture.ground import Files, Ground, State, Where, put_files, saved
from tests.torture.scenarios import Scenario, prepared

TRACED = (
    "openat,write,pwrite64,sendfile,fallocate,ftruncate,fsync,fdatasync,renameat,unlinkat,fchmod,fchmodat,utimensat"
)
ALL_OF = 8  # so many unsynced calls are tried in every combination
AT_RANDOM = 16  # combinations of more than that


@dataclass(frozen=True)
class Call:
    """A call that changed a file of the site, or synced one; `on` is what an fsync must be of to make it safe."""

    kind: str
    path: str
    on: str
    number: int = 0
    data: bytes = b""


def record(ground: Ground, scenario: Scenario) -> list[Call]:
    """Run the program under strace, and return its calls on the site in their order."""
    with tempfile.NamedTemporaryFile("r") as log:
        options = ("-y", "-xx", "-s", "9999999", "-e", f"trace={TRACED}", "-o", log.name)
        scenario.program.run(ground, (*STRACE, *options))
        found = [_parsed(line, str(ground.folder)) for line in log]
    return [call for call in found if call]


def _text(quoted: str) -> str:
    return bytes.fromhex(quoted.replace("\\x", "")).decode() if quoted.startswith("\\x") else quoted


def _parsed(line: str, folder: str) -> Call | None:
    match = re.match(r"\d+ +(\w+)\((.*)\) = (-?\d+)", line)
    if not match or int(match[3]) < 0:
        return None
    name, words = match[1], match[2]
    at = re.match(r"(?:\d+|AT_FDCWD)<([^>]*)>", words)
    where = _text(at[1]) if at else ""
    relative = re.match(r'[^,]*, "([^"]*)"', words)
    path = os.path.normpath(os.path.join(where, _text(relative[1]))) if relative and name[-2:] == "at" else where
    if name == "utimensat":
        path = os.path.join(where, _text(relative[1])) if relative else where
    if not path.startswith(folder):
        return None
    if name == "sendfile":  # what it copied is what the program has left there
        return Call("write", path, path, 0, Path(path).read_bytes()[: int(match[3])])
    numbers = [int(word, 8 if word.startswith("0") else 10) for word in re.findall(r", (0?\d+)(?=,|$)", words)]
    parent = os.path.dirname(path)
    if name == "openat":
        return Call("create", path, parent, numbers[-1]) if "O_CREAT" in words else None
    if name == "renameat":
        to = os.path.join(parent, _text(re.findall(r'"([^"]*)"', words)[1]))
        return Call("rename", path, parent, data=to.encode())
    if name in ("write", "pwrite64"):
        assert relative
        data = bytes.fromhex(relative[1].replace("\\x", ""))
        return Call("write", path, path, numbers[-1] if name == "pwrite64" else 0, data)
    if name == "fallocate":
        return Call("truncate", path, path, numbers[-2] + numbers[-1])
    kinds = {
        "ftruncate": "truncate",
        "fsync": "fsync",
        "fdatasync": "fdatasync",
        "unlinkat": "unlink",
        "fchmod": "chmod",
        "fchmodat": "chmod",
        "utimensat": "utime",
    }
    on = parent if name == "unlinkat" else path
    return Call(kinds[name], path, on, numbers[-1] if name in ("ftruncate", "fchmod", "fchmodat") else 0)


def outcomes(calls: list[Call], cuts: int, chance: random.Random) -> Iterator[list[Call]]:
    """Return what may be on the disk when the power goes: of each prefix, each choice of the unsynced calls."""
    for end in range(0, len(calls) + 1, max(1, len(calls) // cuts)):
        done = calls[:end]
        unsynced = [n for n, call in enumerate(done) if not call.kind.endswith("sync") and not _is_safe(done, n)]
        choices = (
            list(product((True, False), repeat=len(unsynced)))
            if len(unsynced) <= ALL_OF
            else [tuple(chance.random() < share for _ in unsynced) for share in (0.0, 1.0, *[0.5] * AT_RANDOM)]
        )
        for choice in choices:
            dropped = {n for n, kept in zip(unsynced, choice) if not kept}
            yield [call for n, call in enumerate(done) if n not in dropped]


def _is_safe(done: list[Call], number: int) -> bool:
    syncs = ("fsync", "fdatasync") if done[number].kind in ("write", "truncate") else ("fsync",)
    return any(call.kind in syncs and call.path == done[number].on for call in done[number:])


def replayed(before: Files, calls: list[Call], folder: str, now: float) -> Files:
    """Return the files that these calls leave of those that were there before."""
    files = {name: (bytearray(content), mode, mtime) for name, (content, mode, mtime) in before.items()}
    for call in calls:
        name = os.path.relpath(call.path, folder)
        if call.kind == "create":
            files.setdefault(name, (bytearray(), call.number, int(now * 1e9)))
        elif name in files and call.kind == "unlink":
            del files[name]
        elif name in files and call.kind == "rename":
            files[os.path.relpath(call.data.decode(), folder)] = files.pop(name)
        elif name in files:
            content, mode, mtime = files[name]
            if call.kind == "write":
                content.extend(bytes(max(0, call.number - len(content))))
                content[call.number : call.number + len(call.data)] = call.data
            elif call.kind == "truncate":
                del content[call.number :]
                content.extend(bytes(call.number - len(content)))
            mode = call.number if call.kind == "chmod" else mode
            mtime = int(now * 1e9) if call.kind == "utime" else mtime
            files[name] = (content, mode, mtime)
    return {name: (bytes(content), mode, mtime) for name, (content, mode, mtime) in files.items()}


def run(where: Where, scenario: Scenario, size: int, cuts: int) -> Row:
    """Cut the power of a scenario after each call, or that many of them, and have the expirer run then."""
    row = Row(f"power loss: {scenario.name}")
    with where.ground(scenario.kind, scenario.own) as ground:
        static = prepared(ground, scenario, size)
        before, now = saved(ground).files, time.time()
        recorded = record(ground, scenario)
        assert recorded or "static" in scenario.name
        seen: dict[bytes, tuple[str, int, int]] = {}
        for calls in outcomes(recorded, cuts, random.Random(1)):
            files = replayed(before, calls, str(ground.folder), now)
            state = State(files)  # another boot: the seal does not hold
            if state.digest not in seen:
                put_files(ground, files)
                seen[state.digest] = _wrong(ground, scenario, static)
            fault, lost, bare = seen[state.digest]
            story = [(call.kind, Path(call.path).name) for call in calls]
            row.add(f"{scenario.name}: {fault}: {story}" if fault else "", lost, bare)
    return row


def _wrong(ground: Ground, scenario: Scenario, static: dict[str, str]) -> tuple[str, int, int]:
    try:
        with patch.object(Base, "_pause"):  # no connection outlives a power cut, so nobody waits for the next second
            ground.expire()
        with Copy(ground.place, time.monotonic() + 9) as reader:
            records = {key.decode(): value.decode() for key, value in reader.items()}
    except MapError as error:
        return str(error), 0, 0
    lost = [key for key, value in static.items() if key not in scenario.touched and records.get(key) != value]
    bare = records.keys() - static.keys() - scenario.touched - ground.names()
    odd = ground.names() - records.keys()
    fault = (f"lost {lost[:3]}" if lost else "") + (f"without a stamp {sorted(bare)[:3]}" if bare else "")
    return fault + (f"without a record {sorted(odd)[:3]}" if odd else ""), len(lost), len(bare)
