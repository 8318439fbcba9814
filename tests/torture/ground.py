"""What is tortured: a site at the clock's time, on which the installed programs run, and its state at any moment."""

from __future__ import annotations

import os
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from popips import seen
from popips.files import READ, identity_of, opened
from popips.maps import WHOLE, Place
from popips.maps.kinds import KINDS
from popips.maps.seal import Seal, state_of
from popips.site import Site as Host
from tests.conftest import Site

HEAD = 4096  # bytes of the journal's file before the change: the seal's
OLD = 600.0  # seconds: of the times of day in a state only this counts, whether they are older
Files = dict[str, tuple[bytes, int, int]]  # name in the site: content, mode, mtime in ns


class Ground(Site):
    """The site; `own`: its map holds nothing but grants. One that is made as a whole always does."""

    def __init__(self, programs: Path, folder: Path, kind: str = "hash", own: bool = False) -> None:
        self.programs, self.own = programs, own or kind in WHOLE
        super().__init__(folder, kind)
        self.now = time.time()
        (self.stamps / ".expire").unlink()

    @property
    def db(self) -> Path:
        return self.folder / f"access{KINDS[self.kind].suffix}"

    @property
    def host(self) -> Host:
        self.now = time.time()
        return super().host

    @property
    def place(self) -> Place:
        return self.settings.map

    def configure(self, **settings: str) -> None:
        own = {"own_map": "yes"} if self.own else {}
        mta = {"mta": "postfix"} if self.kind in WHOLE and os.path.exists("/usr/sbin/postmap") else {}
        super().configure(**own, **mta, **settings)

    def build(self, text: str, *options: str) -> None:
        if not self.own:
            super().build(text, *options)

    def records(self) -> dict[str, str]:
        """Return what the MTA's own program reads in the map."""
        if self.kind not in WHOLE:
            return super().records()
        if self.kind == "cdb":
            return cdb_records(self.db.read_bytes())
        command = ["postmap", "-s", f"{self.kind}:{self.access}"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return dict(line.split("\t", 1) for line in done.stdout.splitlines())

    def damage(self) -> str:
        """Return what is wrong with the map's file, as libdb's own program sees it."""
        if self.kind in WHOLE:
            return ""
        verified = subprocess.run(["db5.3_verify", "-q", str(self.db)], capture_output=True)
        return f"db_verify: {verified.stderr[-200:]!r}" if verified.returncode else ""


def cdb_records(data: bytes) -> dict[str, str]:
    """Return what is in a cdb, which postmap does not list: records from byte 2048 on, then tables (cr.yp.to/cdb)."""
    found, at = {}, 2048
    end = min(struct.unpack_from("<512I", data)[::2])
    while at < end:
        of_key, of_value = struct.unpack_from("<2I", data, at)
        key, value = data[at + 8 : at + 8 + of_key], data[at + 8 + of_key : at + 8 + of_key + of_value]
        found[key.rstrip(b"\0").decode()] = value.rstrip(b"\0").decode()
        at += 8 + of_key + of_value
    return found


@dataclass(frozen=True)
class Where:
    """The installed programs, and the folder in which grounds are made: "" for one whose files are quick."""

    programs: Path
    folder: str = ""

    @contextmanager
    def ground(self, kind: str = "hash", own: bool = False) -> Iterator[Ground]:
        """Make a ground, as long as the `with` lasts."""
        with tempfile.TemporaryDirectory(dir=self.folder or fast_folder()) as folder:
            os.chmod(folder, 0o755)
            yield Ground(self.programs, Path(folder), kind, own)


def fast_folder() -> str | None:
    """Where files are quick: what is tested is the order of calls, not the disk."""
    return "/dev/shm" if os.path.isdir("/dev/shm") else None


# ---- its state


@dataclass(frozen=True)
class State:
    """All that programs may change; the map's seal if it holds, and whether what the last run saw is what there is.

    Either is told by ctime and inode, which nobody can put back: restore() makes the note anew if it held.
    """

    files: Files
    seal: Seal | None = None
    seen: bool = False

    @property
    def digest(self) -> bytes:
        """What tells it from another: times of day and process ids do not."""
        total, old = sha256(f"{self.seal and self.seal.shown}{self.seen}".encode()), (time.time() - OLD) * 1e9
        for name, (content, mode, mtime) in sorted(self.files.items()):
            said = b"" if name.endswith(("/.seen", "/.granter", "/.lane")) else content
            if name.endswith(".popips"):
                said = content[HEAD:]
            total.update(f"{name.rpartition('-')[0] or name} {mode} {mtime < old} {len(said)} ".encode() + said)
        return total.digest()


def saved(ground: Ground) -> State:
    """Return the state that the ground is in."""
    with ground.host as host:
        return State(_files(ground), _sealed(ground), seen.saw(host) == _saw(ground))


def restore(ground: Ground, state: State) -> None:
    """Bring the ground back into that state."""
    put_files(ground, state.files)
    if state.seal:
        _seal_again(ground, state.seal)
    note = ground.stamps / ".seen"
    if state.seen:
        with ground.host as host:
            then = note.stat().st_mtime_ns
            note.write_text(note.read_text().replace(_saw(ground), seen.saw(host), 1))
            os.utime(note, ns=(then, then))


def put_files(ground: Ground, files: Files) -> None:
    """Have these files there, and no others."""
    now = _files(ground)
    for name in now.keys() - files.keys():
        (ground.folder / name).unlink()
    for name, (content, mode, mtime) in files.items():
        path = ground.folder / name
        if now.get(name) != (content, mode, mtime):
            path.unlink(missing_ok=True)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            path.write_bytes(content)
            path.chmod(mode)
            os.utime(path, ns=(mtime, mtime))


def _files(ground: Ground) -> Files:
    found = {}
    for path in ground.folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            state = path.stat()
            name = str(path.relative_to(ground.folder))
            found[name] = (path.read_bytes(), state.st_mode & 0o7777, state.st_mtime_ns)
    return found


def _saw(ground: Ground) -> str:
    note = ground.stamps / ".seen"
    return note.read_text().partition("\n")[0] if note.exists() else ""


def _state_of_map(ground: Ground) -> str:
    try:
        with opened(str(ground.db), READ) as fd:
            more = f"+{identity_of(str(ground.access))}" if ground.kind in WHOLE else ""
            return state_of(fd) + more
    except OSError:
        return ""


def _sealed(ground: Ground) -> Seal | None:
    """Return the seal if it holds."""
    journal = Path(f"{ground.db}.popips")
    seal = Seal.unpack(journal.read_bytes()[:HEAD]) if journal.exists() else None
    return seal if seal and seal.map == _state_of_map(ground) else None


def _seal_again(ground: Ground, seal: Seal) -> None:
    text = seal.text if seal.text == "-" else identity_of(str(ground.access))
    with opened(f"{ground.db}.popips", os.O_RDWR) as fd:
        os.pwrite(fd, Seal(_state_of_map(ground), text, seal.shown).pack(), 0)
