"""It closes and opens after a power loss where Postfix's postmap makes the map, on a disk that writes late."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.box import Box
from tests.holds.disks import EXT4_IOC_SHUTDOWN, KINDS
from tests.postfix import unpack_postfix

A, B, C, D = (f"198.51.100.{number}" for number in range(10, 14))
SHUTDOWN = f"import fcntl, os, sys; fcntl.ioctl(os.open(sys.argv[1], 0), {EXT4_IOC_SHUTDOWN}, bytes((2, 0, 0, 0)))"


# the box's /dev has no loop devices: Documentation/admin-guide/devices.txt
LOOPS = "mknod /dev/loop-control c 10 237; for n in $(seq 0 31); do mknod /dev/loop$n b 7 $n; done"


class LateDisk:
    """A disk in the box, as late/ in its folder, with the stamps and a map of popips' own."""

    def __init__(self, box: Box, kind: str) -> None:
        self.box, self.kind = box, kind
        self.image, self.place = box.scratch / "image", box.scratch / "late"
        self.stamps, self.map = self.place / "stamps", f"{kind}:{self.place}/popips"
        self.place.mkdir()
        with self.image.open("wb") as file:
            file.truncate(24 << 20)
        self.do("sh", "-ec", LOOPS)
        self.do("mkfs.ext4", "-q", "-F", str(self.image))
        self.mount()
        self.do("mkdir", "-m", "0700", str(self.stamps))
        box.configure(mta="postfix", map=self.map, own_map="yes", stamps=str(self.stamps))

    def do(self, *command: str | Path) -> str:
        done = self.box.run(command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def mount(self) -> None:
        self.do("mount", "-o", KINDS["delayed allocation"][1], self.image, self.place)

    def lose_power(self) -> None:
        self.do("python3", "-c", SHUTDOWN, self.place)
        self.do("umount", self.place)
        self.box.until("free disk", lambda: not self.do("losetup", "-j", self.image))
        self.mount()

    def run(self) -> None:
        done = self.box.popips("popips-expire")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stderr

    def records(self) -> set[str]:
        asked = self.box.run(["postmap", "-q", "-", self.map], stdin="".join(f"{name}\n" for name in (A, B, C, D)))
        assert asked.stderr == ""
        return {line.split()[0] for line in asked.stdout.splitlines()}

    def names(self) -> set[str]:
        return set(self.do("ls", self.stamps).split())


@pytest.mark.parametrize("kind", ["lmdb", "cdb"])
@pytest.mark.parametrize("last", ["a login", "a run", "an end", "a second login"])
def test_after_the_first_run_map_and_stamps_agree(box: Box, kind: str, last: str) -> None:
    unpack_postfix(box)
    disk = LateDisk(box, kind)
    disk.run()
    box.pam_login(A)
    box.pam_login(B, "bob")
    disk.run()
    disk.do("sync")
    if last == "a run":
        disk.do("touch", "-d", "1 hour ago", disk.stamps / A)
        disk.run()
    elif last == "an end":
        assert box.popips("popips-db", "end", A).returncode == 0
    else:
        box.pam_login(C, "carol")
        if last == "a second login":
            box.pam_login(D, "dave")
    disk.lose_power()
    disk.run()
    assert disk.records() == disk.names()
    assert B in disk.names()
    box.pam_login(C, "carol")
    disk.run()
    assert disk.records() == disk.names() >= {B, C}
    disk.do("find", str(disk.stamps), "-type", "f", "-exec", "touch", "-d", "1 hour ago", "{}", "+")
    disk.run()
    assert disk.records() == disk.names() == set()
