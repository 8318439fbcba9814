"""The record of a set-up, in /var/lib/popips/setup: what each step found and left, written before the step is done."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace

from popips.command import UsageError
from popips.files import opened
from popips.setup.kept import FILE, NONE, Kept, beside, discard, look, put
from popips.setup.step import Command, Run

FOLDER = "/var/lib/popips/setup"
VERSION = 1


class Busy(Exception):
    """Another popips-db setup is at work."""


@dataclass(frozen=True)
class Entry:
    """A step that was begun. before, after: what stood at its paths; folders: those made for it, the outermost first.

    of_run: a command's, of which only the end tells what stands there after it. The rest: see popips.setup.step.
    """

    part: str
    before: dict[str, Kept] = field(default_factory=dict)
    after: dict[str, Kept] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    before_undo: tuple[Command, ...] = ()
    undo: tuple[Command, ...] = ()
    remake: Command = ()
    journal: str = ""
    of_run: bool = False
    done: bool = False


class Record:
    """The record, to be changed by one process at a time. waiting: commands of a plan that were not run yet."""

    def __init__(self, folder: str = FOLDER) -> None:
        """Read it; raise UsageError if a newer popips wrote it."""
        self.folder = folder
        self.entries: list[Entry] = []
        self.waiting: list[Run] = []
        self._read()

    @contextmanager
    def taken(self) -> Iterator[int]:
        """Be the one that changes it, in a `with`; return the lock's descriptor, for commands to keep. Raise Busy."""
        os.makedirs(os.path.dirname(self.folder), mode=0o755, exist_ok=True)
        os.makedirs(self.copies, mode=0o700, exist_ok=True)
        os.chmod(self.folder, 0o700)
        with opened(f"{self.folder}/lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy("another popips-db setup, or a command that it began, is still at work") from None
            self._read()
            self._settle()
            yield lock

    @property
    def is_there(self) -> bool:
        """Whether there is anything to undo, or that a killed setup has left."""
        return os.path.isdir(self.folder)

    @property
    def copies(self) -> str:
        """The folder of the copies, each named by its content's sha256."""
        return f"{self.folder}/copies"

    def before(self, path: str) -> str:
        """Return the text that a file of the set-up had before it, see os.fsdecode(); "" if it was not there."""
        first = next((entry.before[path] for entry in self.entries if path in entry.before), Kept(NONE))
        try:
            with open(f"{self.copies}/{first.what}", "rb") as file:
                return os.fsdecode(file.read()) if first.kind == FILE else ""
        except OSError:
            return ""

    def save(self) -> None:
        """Bring it to the disk, and drop the copies that nobody needs any more."""
        said = {
            "version": VERSION,
            "entries": [asdict(entry) for entry in self.entries],
            "waiting": [asdict(run) for run in self.waiting],
        }
        put(f"{self.folder}/state.json", json.dumps(said, indent=1).encode(), Kept(FILE, mode=0o600))
        kept = [one for entry in self.entries for one in (*entry.before.values(), *entry.after.values())]
        needed = {one.what for one in kept if one.kind == FILE}
        for name in os.listdir(self.copies):
            if name not in needed:
                os.unlink(f"{self.copies}/{name}")

    def add(self, entry: Entry) -> None:
        """Begin a step."""
        self.entries.append(entry)
        self.save()

    def finish(self) -> None:
        """End the step that was begun last."""
        self.entries[-1] = _ended(self.entries[-1])
        self.save()

    def _settle(self) -> None:
        """End what a killed setup had begun: a file has its new content, or has nothing to do with the set-up."""
        for index, entry in enumerate(self.entries):
            for path in () if entry.done else entry.before:
                discard(beside(path))
            if not entry.done:
                self.entries[index] = _ended(entry)
        self.save()

    def remove(self) -> None:
        """Remove it, for nothing of the set-up is left."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self) -> None:
        try:
            with open(f"{self.folder}/state.json", encoding="utf-8") as file:
                said = json.load(file)
        except FileNotFoundError:
            said = {"version": VERSION, "entries": [], "waiting": []}
        if said["version"] != VERSION:
            raise UsageError(f"setup: {self.folder}/state.json is of another version of popips: undo it with that one")
        self.entries = [_entry(words) for words in said["entries"]]
        self.waiting = [_run(words) for words in said["waiting"]]


def of_path(entries: Iterable[Entry], path: str) -> list[Entry]:
    """Return the entries of a path, from the last one on that found it as the first did.

    What stood there between those was taken away by somebody, as a file that is removed and set up once more.
    """
    its = [entry for entry in entries if path in entry.before]
    anew = [index for index, entry in enumerate(its) if entry.before[path].is_same(its[0].before[path])]
    return its[anew[-1] :]


def _ended(entry: Entry) -> Entry:
    """Return the entry with the paths that it has changed, and what stands there."""
    now = {path: look(path) for path in entry.before}
    is_its = {path: entry.of_run or kept.is_same(entry.after[path]) for path, kept in now.items()}
    changed = [path for path, kept in now.items() if is_its[path] and not kept.is_same(entry.before[path])]
    before = {path: entry.before[path] for path in changed}
    return replace(entry, before=before, after={path: now[path] for path in changed}, done=True)


def commands(words: Iterable[Iterable[str]]) -> tuple[Command, ...]:
    """Return commands as JSON has them."""
    return tuple(tuple(command) for command in words)


def _entry(words: dict[str, object]) -> Entry:
    made = Entry(**words)  # type: ignore[arg-type]
    return replace(
        made,
        before={path: Kept(**kept) for path, kept in made.before.items()},  # type: ignore[arg-type]
        after={path: Kept(**kept) for path, kept in made.after.items()},  # type: ignore[arg-type]
        folders=tuple(made.folders),
        before_undo=commands(made.before_undo),
        undo=commands(made.undo),
        remake=tuple(made.remake),
    )


def _run(words: dict[str, object]) -> Run:
    made = Run(**words)  # type: ignore[arg-type]
    return replace(
        made,
        command=tuple(made.command),
        touches=tuple(made.touches),
        before_undo=commands(made.before_undo),
        undo=commands(made.undo),
        remake=tuple(made.remake),
        good=tuple(made.good),
    )
