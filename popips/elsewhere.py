"""Logins on other hosts, as popips-share has told them: the folder share_from.

A file there is named by the address, as a stamp is. Its mtime is the time of the last login elsewhere, by this host's
clock, and its one line says whose that was: `USER SERVICE HOST`. Where its owner may not execute it, what it tells is
the end of all logins up to its time. `.denied` has whom other hosts keep out, as the stamp folder's own has it.

What is wrong with the folder never harms the host's own logins: what others tell then opens nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from stat import S_ISREG, S_ISVTX, S_IXUSR

from popips import denials, policy
from popips.denials import Denial
from popips.files import WRITE, opened, write_all
from popips.login import ELSEWHERE, Login
from popips.paste import quoted
from popips.policy import Bars
from popips.settings import Settings
from popips.site import Site
from popips.stamps import DENIED, HEARD, NEW, UNSETTLED, StampError, StampFailed
from popips.stamps.folder import LONGEST, Folder

# what is others' to write to may be so on purpose, as /tmp is, or a user's home
ANOTHER = f"name another folder in popips.conf: share_from = {Settings.share_from}"


@dataclass(frozen=True)
class Told:
    """What was told last of an address: when that was, in seconds since the epoch, and whether a login or its end.

    came: when it came here, in nanoseconds since the epoch.
    """

    time: float
    is_live: bool
    came: int


@dataclass(frozen=True)
class Heard:
    """What a run takes up: new logins, each with its address and time; and up to when logins have been ended.

    ended: by address, as far as it has a stamp here.
    """

    logins: Iterable[tuple[str, Login, float]] = ()
    ended: Mapping[str, float] = field(default_factory=dict)


class Others:
    """What other hosts tell a run, which is nothing where there are none; to look through all of it takes its time.

    denied: whom they keep out, None if that is no news.
    """

    denied: list[Denial] | None = None

    def renewed(self, names: Iterable[str]) -> set[str]:
        """Return at which of these addresses, whose grants are due here, somebody has logged in elsewhere since."""
        return set()

    def heard(self) -> Heard:
        """Return all that is to be taken up. Raise StampError."""
        return Heard()


NOBODY = Others()


def last(here: float | None, there: Told | None, now: float) -> float | None:
    """Return when the last login from an address was; None if there was none, or it was ended since.

    here: when the last one on this host was. The newest decides; what is told of the future says nothing.
    """
    if there is None or there.time > now or (here is not None and there.time < here <= now):
        return here
    return there.time if there.is_live else None


def taken_up(folder: Folder, now: int) -> int:
    """Return up to when runs have taken up what is told, in nanoseconds since the epoch, 0 if none has.

    folder: of the stamps. Of a run after now none is known: the clock was put back.
    """
    text = folder.read(HEARD, 32)
    return since if text.isdigit() and (since := int(text)) <= now else 0


def denied(site: Site) -> list[Denial]:
    """Return whom other hosts keep out, as what decides here knows it.

    popips-mapd goes by what they tell, unless that cannot be believed; where the map is a file, the last run knew.
    """
    if site.settings.share and not site.form.place.row.has_file:
        try:
            with Elsewhere(site.settings.share_from) as there:
                return there.denied()
        except StampError:
            pass
    return policy.elsewhere(site)


def bars(site: Site) -> Bars:
    """Return who is kept out by `never` and the denials, here and on other hosts, as what decides here knows it."""
    return policy.bars(site, policy.denied(site, strictly=False, others=denied(site)))


def closed(site: Site) -> Callable[[str, float], bool]:
    """Return what tells whether popips-mapd refuses an address although the last login here was then."""
    barred = bars(site)

    def is_closed(name: str, then: float) -> bool:
        try:
            with Elsewhere(site.settings.share_from) as there:
                is_ended = last(then, there.told(name), site.now) is None
        except StampError:
            is_ended = False
        return is_ended or bool(barred(name))

    return is_closed


def own_name(settings: Settings) -> str:
    """Return what the other hosts call this one."""
    return settings.share_name or os.uname().nodename


def end(settings: Settings, names: Iterable[str], now: float) -> None:
    """Note that logins from these addresses were ended here, or what others have told would open the relay again.

    popips-share does so, too, but it may not run just now: it tells the others when it starts. Raise StampFailed, as
    soon as that is done for all for whom it can be.
    """
    try:
        there = Elsewhere(settings.share_from)
    except StampError:
        return  # what cannot be believed opens nothing
    failed: StampFailed | None = None
    with there:
        for name in names:
            try:
                told = there.told(name)
                if told and told.is_live:
                    there.end(name, own_name(settings), now)
            except StampFailed as error:
                failed = error
    if failed:
        raise failed


class Elsewhere(Folder):
    """The folder, open; use it in a `with`.

    It is popips-share's, whose user need not be root; nobody else may write to it.
    """

    def __enter__(self) -> Elsewhere:
        return self

    def _opened(self, path: str) -> int:
        """Open it; raise StampError if it is missing, no folder, or somebody else may write to it, or replace it."""
        top = os.path.dirname(path)
        try:
            above = os.stat(top)
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise StampError(f"{path}: there is no such folder; popips-share makes it: does it run?") from None
        except OSError as error:
            raise StampFailed(f"{path}: cannot be opened as a folder: {error.strerror}") from error
        if os.fstat(fd).st_mode & 0o022:
            cure = ANOTHER if os.fstat(fd).st_mode & S_ISVTX else f"chmod go-w {quoted(path)}"
            os.close(fd)
            raise StampError(f"{path}: others may write to it: {cure}")
        if above.st_uid not in (0, os.geteuid()) or above.st_mode & 0o022:
            os.close(fd)
            is_popips_own = top == os.path.dirname(Settings.share_from)
            cure = f"chown root {top} && chmod go-w {top}" if is_popips_own else ANOTHER
            raise StampError(f"{path}: others may put another in its place: {cure}")
        return fd

    def told(self, name: str) -> Told | None:
        """Return what was told of a canonical address, None for nothing; only a plain small file says anything."""
        state = self.state(name)
        return state and _told(state)

    def all(self) -> Iterator[tuple[str, Told]]:
        """Return what was told of each address."""
        return ((name, told) for name, told in self._each(_told) if told)

    def login_of(self, name: str) -> Login | None:
        """Return whose login was told, with @HOST for its writer; None if the file does not say."""
        login = self.login(name)
        return login and Login(login.user, login.service, f"{ELSEWHERE}{login.writer}")

    def end(self, name: str, host: str, now: float) -> None:
        """Have it told that this host has ended the logins from an address until now. Raise StampFailed."""
        login = self.login(name)
        its = Login(login.user if login else "", login.service if login else "", host)
        try:
            self._put_end(name, its, now)
        except StampFailed:  # there is no room but what this makes; and what is not told opens nothing
            self.remove(name)
            self._put_end(name, its, now)

    def _put_end(self, name: str, its: Login, now: float) -> None:
        owner, new = os.fstat(self.fd), f".{name}{NEW}"
        self.remove(new)  # of one who was killed
        with self.naming(name):
            with opened(new, WRITE | os.O_CREAT | os.O_EXCL, UNSETTLED, self.fd) as fd:
                write_all(fd, its.pack())
                os.fchown(fd, owner.st_uid, owner.st_gid)  # for popips-share reads it when it starts
                os.utime(fd, (now, now))
            os.rename(new, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def denied(self) -> list[Denial]:
        """Return whom others keep out; raise StampError if nobody can tell, or popips-share has not heard yet."""
        if self.state(DENIED) is None:
            why = "not there: popips-share writes it as soon as the server has told it whom the others deny"
            raise StampError(f"{self.path}/{DENIED}: {why}; popips-db status says whether it has that server")
        return denials.load(self, most=denials.MOST)


def _told(state: os.stat_result) -> Told | None:
    if not S_ISREG(state.st_mode) or state.st_size > LONGEST:
        return None
    return Told(state.st_mtime, bool(state.st_mode & S_IXUSR), state.st_ctime_ns)
