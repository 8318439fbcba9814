"""What is measured on: a map, stamps and popips.conf as big as asked, and the programs to compare with."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from popips.login import Login
from popips.stamps import SETTLED

HERE = Path(__file__).parent
STATIC = 2000  # records of the admin's, in the network that RFC 2544 sets aside for benchmarks
LIVE = 3600.0  # seconds: the age of a live stamp
READER, SENDER = "192.0.2.10", "192.0.2.11"  # the test host's clients: one logs in, the other may relay anyway
LOGIN = Login("alice", "pop3", "popips-hook")


def address(number: int) -> str:
    """Return the address of a number, the same as baseline.c does."""
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


class Site:
    """A map with the admin's records and those of grants, and the stamps of the grants. Numbers stand for addresses."""

    def __init__(self, folder: Path, **settings: str) -> None:
        """Make it, with no grants yet; settings: of popips.conf.

        A map of its own holds the sender's grant, and no records of the admin's.
        """
        self.own = settings.get("own_map") == "yes"
        self.access, self.stamps, self.conf = folder / "access", folder / "popips", folder / "popips.conf"
        self.db, self._kept = folder / "access.db", folder / "kept.db"
        self.stamps.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.configure(**settings)
        self.build(())

    def configure(self, **settings: str) -> None:
        """Write popips.conf, with these settings besides the paths."""
        lines = {"map": f"hash:{self.access}", "stamps": str(self.stamps)} | settings
        self.conf.write_text("".join(f"{key} = {value}\n" for key, value in lines.items()))

    def build(self, numbers: Iterable[int]) -> None:
        """Have makemap build the map with these grants, and keep a copy for restore(). One of its own popips builds."""
        if self.own:
            self.access.unlink(missing_ok=True)  # such a map has no text
            self._make(SENDER, time.time() - LIVE)
            self.built = 1 + sum(1 for _ in numbers)
            self.restore()
            return
        static = [f"{SENDER}\tRELAY\n", *(f"198.18.{n >> 8}.{n & 255}\tREJECT\n" for n in range(STATIC))]
        text = "".join(static) + "".join(f"{address(number)}\tRELAY\n" for number in numbers)
        self.access.write_text("".join(static))
        subprocess.run(["makemap", "hash", str(self.db)], input=text.encode(), check=True, stderr=subprocess.DEVNULL)
        self.built = text.count("\n")
        shutil.copyfile(self.db, self._kept)

    def restore(self) -> None:
        """Have the map as build() made it, in the same file, or have popips do so in its next run."""
        if self.own:
            self.db.unlink(missing_ok=True)
        else:
            shutil.copyfile(self._kept, self.db)

    def stamp(self, numbers: Iterable[int], age: float) -> None:
        """Make stamps of this age in seconds, or up to an hour younger."""
        now = time.time() - age
        for number in numbers:
            self._make(address(number), now + number % 3600)

    def _make(self, name: str, when: float) -> None:
        file = os.open(self.stamps / name, os.O_WRONLY | os.O_CREAT, SETTLED)
        os.write(file, LOGIN.pack())
        os.utime(file, (when, when))
        os.close(file)

    def unstamp(self, numbers: Iterable[int]) -> None:
        """Take stamps away, those that are there."""
        for number in numbers:
            (self.stamps / address(number)).unlink(missing_ok=True)

    def counted(self) -> tuple[int, int]:
        """Return the number of records and of stamps, to see that what was timed was done."""
        records = subprocess.run(["makemap", "-u", "hash", str(self.db)], check=True, capture_output=True)
        with os.scandir(self.stamps) as entries:
            return records.stdout.count(b"\n"), sum(not entry.name.startswith(".") for entry in entries)


class Unbuilt(Exception):
    """A program to compare with cannot be had; str() tells what to install."""


def compiled(folder: Path) -> tuple[Path, Path]:
    """Build baseline.c, and a server that ends at once, for what a post-login script becomes."""
    baseline, server = folder / "baseline", folder / "server"
    try:
        subprocess.run(["gcc", "-O2", "-o", baseline, HERE / "baseline.c", "-ldb"], check=True)
        subprocess.run(
            ["gcc", "-O2", "-static", "-o", server, "-xc", "-"], input=b"int main(void) { return 0; }", check=True
        )
        subprocess.run(["perl", "-MDB_File", "-e1"], check=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise Unbuilt(f"{error}: apt-get install gcc libc6-dev libdb-dev perl") from None
    return baseline, server
