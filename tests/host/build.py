"""A Debian with what packages are built with, not booted; and the package that is built in it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from tests import checkout
from tests.host import roots

# overlay layers in $1, mounted at $0/root for as long as standard input lasts
MOUNT = """
mount -t tmpfs -o mode=755 tmpfs "$0"
mkdir "$0/root" "$0/upper" "$0/work"
mount -t overlay -o "lowerdir=$1,upperdir=$0/upper,workdir=$0/work" overlay "$0/root"
for tree in dev proc; do mount --rbind "/$tree" "$0/root/$tree"; done
mount -t tmpfs -o mode=755 tmpfs "$0/root/run"
echo up
exec cat
"""


class Root:
    """A Debian with the build packages, not booted, and the checkout in /src: what is done in it is gone with it."""

    def __init__(self, release: str, folder: Path) -> None:
        self.path = folder / "root"
        layers = ":".join(map(str, roots.layers(release, "build")))
        command = ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-euc", MOUNT]
        words = [*command, str(folder), layers]
        self._keeper = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Root:
        assert self._keeper.stdout and self._keeper.stdout.readline() == b"up\n"
        checkout.copy(self.inside("/src"))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._keeper.communicate()

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run lines of sh in it, as root."""
        entered = ["nsenter", "--target", str(self._keeper.pid), "--mount", "--net", "chroot", str(self.path)]
        clean = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C", "sh", "-euc", script]
        return subprocess.run([*entered, *clean], stdin=subprocess.DEVNULL, capture_output=True, text=True)

    def do(self, script: str) -> str:
        """Run lines of sh that must succeed; return what they print."""
        done = self.run(script)
        assert done.returncode == 0, (script, done.stdout, done.stderr)
        return done.stdout

    def inside(self, path: str) -> Path:
        """Return a path in it as this machine names it."""
        return Path(f"/proc/{self._keeper.pid}/root{self.path}{path}")


def build(root: Root) -> None:
    """Build the package, as /popips.deb; the tree that it was built in stays in /tmp/popips."""
    root.do("cp -a /src /tmp/popips; cd /tmp/popips; make -s deb; cp build/popips_*.deb /popips.deb")


def package(release: str, shared: Path) -> Path:
    """Return the package for a release: it is built once, for all tests that share the folder."""
    deb = shared / f"popips-{release}.deb"
    with (shared / f"{release}.lock").open("w") as lock, TemporaryDirectory(dir=shared) as folder:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not deb.exists():
            with Root(release, Path(folder)) as root:
                build(root)
                shutil.copy(root.inside("/popips.deb"), f"{deb}.new")
                os.rename(f"{deb}.new", deb)
    return deb
