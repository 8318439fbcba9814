"""Small disks: of memory, or an image with a file system of its own, mounted where the tests see them alone."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EXT4_IOC_SHUTDOWN = 0x8004587D  # fs/ext4/ext4.h
NO_LOG_FLUSH = struct.pack("I", 2)
# what mkfs is told: small blocks; inodes without room for parts of a second; no writing out when a file is cut
KINDS = {
    "ext4": (["mkfs.ext4", "-b", "1024", "-N", "9000"], "loop"),
    "whole seconds": (["mkfs.ext4", "-I", "128"], "loop"),
    "delayed allocation": (["mkfs.ext4"], "loop,noauto_da_alloc,commit=300"),
}


@contextmanager
def disk(folder: Path, kind: str, megabytes: int) -> Iterator[Path]:
    """Make a disk and mount it, as long as the `with` lasts."""
    place, image = folder / "disk", folder / "image"
    place.mkdir()
    if kind == "tmpfs":
        _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,nr_inodes=9000", "tmpfs", str(place))
    else:
        make, options = KINDS[kind]
        with image.open("wb") as file:
            file.truncate(megabytes << 20)
        _run(*make, "-q", "-F", "-m", "0", str(image))
        _run("mount", "-o", options, str(image), str(place))
    try:
        yield place
    finally:
        _run("umount", "-l", str(place))


def fill(place: Path) -> Path:
    """Leave no block free on the disk of that folder; return the file that has taken all."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 10, 1):
            try:
                while file.write(b"\1" * size):
                    pass
            except OSError:
                pass
        os.fsync(file.fileno())
    return filler


def lose_power(place: Path, folder: Path) -> None:
    """Have the disk forget all that was not synced, and mount it again."""
    fd = os.open(place, os.O_RDONLY)
    fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH)
    os.close(fd)
    _run("umount", str(place))
    while _run("losetup", "-j", str(folder / "image")):  # a namespace that has just ended still has it mounted
        time.sleep(0.01)
    _run("mount", "-o", KINDS["delayed allocation"][1], str(folder / "image"), str(place))


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
