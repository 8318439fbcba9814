"""A map and its text in a folder of their own, as makemap builds it and popips.maps changes it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from popips.maps import Place, Records, Writer, kinds

NOW = 1_800_000_000.0  # seconds since the epoch; whole, and some time from the clock of the machine


def soon() -> float:
    return time.monotonic() + 60


def nothing() -> None:
    """What is brought to the disk before a map changes where there are no stamps."""


def putting(*keys: str, value: str = "RELAY") -> Callable[[Records], None]:
    def step(records: Records) -> None:
        for key in keys:
            records.put(key.encode(), value.encode())

    return step


def deleting(*keys: str) -> Callable[[Records], None]:
    def step(records: Records) -> None:
        for key in keys:
            records.delete(key.encode())

    return step


def many(count: int) -> dict[str, str]:
    return {f"10.{n // 65536}.{n // 256 % 256}.{n % 256}": "REJECT" for n in range(count)}


def text_of(records: dict[str, str]) -> str:
    return "".join(f"{key}\t{value}\n" for key, value in records.items())


class Files:
    """The files. `now` stands still until a test moves it."""

    def __init__(self, folder: Path, kind: str = "hash", own: bool = False) -> None:
        self.folder, self.kind, self.now = folder, kind, NOW
        self.text, self.db = folder / "access", folder / "access.db"
        self.journal = folder / "access.db.popips"
        self.place = Place(kind, str(self.db), own=own)
        if not own:
            self.build("")

    def build(self, text: str, *options: str) -> None:
        """Write the map's text and have makemap build the map in place."""
        self.text.write_text(text)
        self.makemap(text, *options)

    def makemap(self, text: str, *options: str, to: str = "access.db") -> None:
        command = ["makemap", *options, self.kind, str(self.folder / to)]
        subprocess.run(command, input=text.encode(), check=True, stderr=subprocess.DEVNULL)

    def records(self) -> dict[str, str]:
        """What sendmail's makemap reads in the map."""
        done = subprocess.run(["makemap", "-u", self.kind, str(self.db)], check=True, capture_output=True, text=True)
        return dict(line.split("\t", 1) for line in done.stdout.splitlines())

    def writer(self) -> Writer:
        return kinds.writer(self.place, "" if self.place.own else str(self.text), self.now, soon())

    def change(self, step: Callable[[Records], None]) -> None:
        with self.writer() as writer:
            writer.change(step, nothing)

    def put(self, *keys: str) -> None:
        self.change(putting(*keys))

    def delete(self, *keys: str) -> None:
        self.change(deleting(*keys))

    def get(self, key: str) -> str | None:
        with kinds.reader(self.place, soon()) as records:
            value = records.get(key.encode())
        return value if value is None else value.decode()

    def look(self) -> dict[bytes, bytes]:
        """Have the writer look at the records, and so seal the map."""
        seen: dict[bytes, bytes] = {}
        with self.writer() as writer:
            writer.look(lambda records: seen.update(records.items()))
        return seen

    def rebuild(self, *keys: str) -> None:
        with self.writer() as writer:
            writer.rebuild((key.encode(), b"RELAY") for key in keys)

    def is_sealed(self) -> bool:
        with self.writer() as writer:
            return writer.sealed()

    def set_mtime(self, seconds: float) -> None:
        os.utime(self.db, ns=(int(seconds * 1e9),) * 2)
