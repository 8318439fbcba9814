"""What popips-share of a host would have written into share_from, for tests of those who read it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Protocol

from popips import denials
from popips.stamps import SETTLED, UNSETTLED

SHARE = "redis://192.0.2.1:6379"  # nobody asks it: only popips-share does
AGENT = 4711  # popips-share's user, which systemd makes up
OTHER = "mx2.example.test"


class Place(Protocol):
    """A site, or a box: what has a popips.conf."""

    def configure(self, **settings: str) -> None: ...


class From:
    """The folder share_from within a folder, with popips.conf naming it; now: what time it is, if not the real one."""

    def __init__(self, place: Place, folder: Path, now: float | None = None) -> None:
        self.place, self.path, self.now = place, folder / "from", now
        self.path.mkdir(mode=0o755)
        os.chown(self.path, AGENT, AGENT)
        self.deny()  # nobody
        self.configure()

    def configure(self, **settings: str) -> None:
        self.place.configure(share=SHARE, share_from=str(self.path), **settings)

    def tell(self, name: str, age: float = 0, is_live: bool = True, who: str = f"bob imap {OTHER}\n") -> Path:
        """Tell of a login so many seconds ago, or of the end of all until then, as popips-share does: by rename."""
        path, new = self.path / name, self.path / f".{name}"
        new.write_text(who)
        new.chmod(SETTLED if is_live else UNSETTLED)
        os.chown(new, AGENT, AGENT)
        then = int(((self.now or time.time()) - age) * 1e9)
        os.utime(new, ns=(then, then))
        new.rename(path)
        return path

    def deny(self, *texts: str) -> None:
        """Tell whom the others keep out, and nobody else."""
        lines = (denials.Denial(text, denials.FOR_EVER, f"root@{OTHER}") for text in texts)
        new = self.path / ".denied.new"
        new.write_bytes(denials.pack(lines))
        new.rename(self.path / ".denied")
