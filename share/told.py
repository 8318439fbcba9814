"""What other hosts have told, for those who ask here: the folder share_from; and .fleet in it, for status and doctor.

A file for each address, named by it: its mtime is the time of the event, its one line says whose it was, and its owner
may execute it if the address is live. Each is put there whole, by rename.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from stat import S_ISREG

from popips import address
from popips.denials import LARGEST
from popips.elsewhere import ANOTHER
from popips.files import WRITE, opened, write_all
from popips.login import Login, unpack
from popips.probe.fleet import FILE
from popips.settings import Settings
from popips.stamps import DENIED, NEW, SETTLED, UNSETTLED
from share.identity import identity
from share.ledger import Event, covering, is_ahead

OPEN = 0o644  # the mode of files that say nothing of users


class FolderError(Exception):
    """The folder cannot be used; str() names it and the cure."""


class Told:
    """The folder, open, and what is in it."""

    def __init__(self, path: str) -> None:
        """Open it, and make it if it is missing; raise FolderError."""
        self.path = path
        self.events: dict[str, Event] = {}
        self.live: dict[str, int] = {}  # how many addresses are live by each host
        self.denied: bytes | None = None  # whom the others keep out, None as long as nobody knows
        try:
            is_new = not os.path.lexists(path)
            os.makedirs(path, exist_ok=True)
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            if is_new:
                os.fchmod(self._fd, 0o755)  # whatever the umask is: those who ask need not be root
            state = os.fstat(self._fd)
            if state.st_uid != os.geteuid() or state.st_mode & 0o022:
                is_popips_own = path == Settings.share_from
                cure = f"rm -r {path}, and popips-share makes it" if is_popips_own else ANOTHER
                raise FolderError(f"{path}: others may write to it: {cure}")
            self.id = identity(self._fd)
            self._load()
        except OSError as error:
            raise FolderError(f"{path}: {error.strerror}: popips-share must be able to write there") from error

    def close(self) -> None:
        """Leave it as it is."""
        os.close(self._fd)

    def is_there(self) -> bool:
        """Whether the folder still has its name."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._fd))
        except OSError:
            return False

    def _load(self) -> None:
        for entry in os.scandir(self._fd):
            if not address.is_canonical(entry.name):
                continue  # not ours: the folder may be another one, by a mistake in popips.conf
            state = entry.stat(follow_symlinks=False)
            with opened(entry.name, within=self._fd) as fd:
                its = unpack(os.read(fd, 4096)) if S_ISREG(state.st_mode) else None
            if its is None:
                self._remove(entry.name)
                continue
            is_live = bool(state.st_mode & 0o100)
            self._note(entry.name, Event(state.st_mtime, is_live, its.user, its.service, its.writer))
        try:
            with opened(DENIED, within=self._fd) as fd:
                self.denied = os.read(fd, LARGEST + 1)
        except FileNotFoundError:
            pass

    def _note(self, name: str, event: Event | None) -> None:
        before = self.events.pop(name, None)
        if before and before.is_live:
            self.live[before.host] -= 1
        if event:
            self.events[name] = event
            if event.is_live:
                self.live[event.host] = self.live.get(event.host, 0) + 1

    def put(self, name: str, event: Event) -> None:
        """Write down an event at a canonical address. Raise OSError."""
        mode = SETTLED if event.is_live else UNSETTLED
        self._replace(name, Login(event.user, event.service, event.host).pack(), mode, event.time)
        self._note(name, event)

    def _replace(self, name: str, data: bytes, mode: int, time: float | None = None) -> None:
        with opened(NEW, WRITE | os.O_CREAT | os.O_TRUNC, mode, self._fd) as fd:
            write_all(fd, data)
            os.fchmod(fd, mode)
            if time is not None:
                os.utime(fd, (time, time))
        os.rename(NEW, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def sweep(self, before: float, now: float, here: Mapping[str, Event]) -> None:
        """Remove what was told of times before that; what is of the future counts as of now: the clock was put back.

        here: the logins on this host; what has ended one of the future covers that, until it is of the future no more.
        """
        for name, event in list(self.events.items()):
            if event.time <= before:
                self._remove(name)
                self._note(name, None)
            elif is_ahead(event, now):
                last, new = here.get(name), replace(event, time=now)
                if last and last.time <= event.time:
                    new = covering(new, last, now)
                if new != event:
                    self.put(name, new)

    def _remove(self, name: str) -> None:
        try:
            os.unlink(name, dir_fd=self._fd)
        except FileNotFoundError:
            pass
        except IsADirectoryError:
            os.rmdir(name, dir_fd=self._fd)

    def deny(self, data: bytes) -> None:
        """Write down whom the other hosts keep out, in the form of the stamp folder's own file. Raise OSError."""
        if data != self.denied:
            self._replace(DENIED, data, OPEN)
            self.denied = data

    def tell_fleet(self, fleet: dict[str, object]) -> None:
        """Write .fleet. Raise OSError."""
        self._replace(FILE, json.dumps(fleet, sort_keys=True).encode() + b"\n", OPEN)
