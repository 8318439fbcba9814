"""The drop folder: addresses that users push to the host, for clients whose POP3 or IMAP login shows none.

DROP/USER is a folder of the user's own; a file in it, of any name that does not begin with a dot, holds one address and
a newline. The latest that is whole counts, as a login of that user. A file without the newline, or that somebody has
open for writing, is not whole: scp writes under the final name, and may be cut off.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import signal
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from popips.grant import DEFERRED, REFUSED, Outcome, Told, grant
from popips.login import PUSHED, Login, word
from popips.paste import quoted
from popips.site import Site

LONGEST = 100  # bytes of a file
MOST = 100  # files of a user that a run looks at: nobody shall keep the expirer busy


class DropError(Exception):
    """The drop folder, or a user's in it, cannot be used; str() names it and the cure."""


@dataclass(frozen=True)
class Drop:
    """What a user has dropped: the text of a file, and when, in seconds since the epoch."""

    user: str
    text: str
    time: float


def take_up(site: Site, writer: str, told: Told) -> Iterator[DropError]:
    """Grant what was dropped since the last run; told hears of each, and what is wrong with the folders is returned.

    writer: the program that logs it.
    """
    for found in _drops(site.settings.drop, site.now - site.settings.window):
        if isinstance(found, DropError):
            yield found
            continue
        login = Login(found.user, PUSHED, writer)
        if found.time <= site.now - site.settings.window:
            told(login, Outcome(REFUSED, found.text, "dropped longer ago than the window"))
            continue
        outcome = grant(site, found.text, login, told)
        if outcome and outcome.verdict == DEFERRED:
            break  # the others would wait for the map as long, and expiry with them


def _drops(path: str, old: float) -> Iterator[Drop | DropError]:
    """Return each user's latest file, and remove all that are whole, or as old as `old`."""
    try:
        top = _opened(path, 0)
    except (OSError, DropError) as error:
        yield DropError(f"{path}: {_reason(error)}; make it: install -d -m 0711 {quoted(path)}")
        return
    try:
        for user in sorted(os.listdir(top)):
            try:
                uid = pwd.getpwnam(user).pw_uid
                fd = _opened(user, uid, top)
            except (KeyError, OSError, DropError) as error:
                yield DropError(f"{path}/{user}: {_reason(error)}; it is to be its user's, mode 0700, or not to be")
                continue
            try:
                taken = [_taken(fd, name, user, uid, old) for name in _names(fd)]
            except (OSError, DropError) as error:
                yield DropError(f"{path}/{user}: {_reason(error)}; may popips-expire write there?")
                continue
            finally:
                os.close(fd)
            odd = [found for found in taken if isinstance(found, DropError)]
            if odd:
                yield DropError(f"{path}/{user}: {odd[0]}" + (f", and {len(odd) - 1} more" if odd[1:] else ""))
            drops = [found for found in taken if isinstance(found, Drop)]
            if drops:
                yield max(drops, key=lambda drop: drop.time)
    finally:
        os.close(top)


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        there = (entry.name for entry in entries if not entry.name.startswith("."))  # those are on their way
        return list(islice(there, MOST))


def _reason(error: Exception) -> str:
    return "no user has this name" if isinstance(error, KeyError) else getattr(error, "strerror", None) or str(error)


def _opened(name: str, owner: int, within: int | None = None) -> int:
    """Return the descriptor of a folder that is the owner's alone; raise DropError if it is not."""
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=within)
    state = os.fstat(fd)
    if state.st_uid != owner or state.st_mode & 0o022:
        os.close(fd)
        raise DropError("not its user's alone")
    return fd


def _taken(folder: int, name: str, user: str, owner: int, old: float) -> Drop | DropError | None:
    """Return what a file says, and remove it; None if it is not to be read yet, DropError if it is none that counts."""
    odd = DropError(f"{word(name)}: removed, for it was not a plain file of the user's own")
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        return None  # renamed just now
    except OSError:
        _remove(folder, name)
        return odd
    try:
        state = os.fstat(fd)
        if stat.S_ISDIR(state.st_mode):
            return None
        if not stat.S_ISREG(state.st_mode) or state.st_uid != owner or state.st_nlink != 1:
            _remove(folder, name)
            return odd
        text = os.read(fd, LONGEST).decode("ascii", "replace")
        if state.st_mtime > old and not (text.endswith("\n") and _is_closed(fd)):
            return None
    finally:
        os.close(fd)
    _remove(folder, name)
    return Drop(user, text.strip(), state.st_mtime)


def _remove(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise DropError(f"{name} cannot be removed: {error.strerror}") from None


def _is_closed(fd: int) -> bool:
    """Whether nobody has the file open for writing: then a lease is to be had (fcntl(2), F_SETLEASE)."""
    ignored = signal.signal(signal.SIGIO, signal.SIG_IGN)  # comes if somebody opens it just now
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without leases
    finally:
        signal.signal(signal.SIGIO, ignored)
    return True
