"""Who may relay: one look at the stamp of an address, and whether a login from there would be refused by now.

Where `share` is set, at what other hosts have told of the address, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from mapd import wire
from popips import address, configuration, denials, elsewhere, policy
from popips.configuration import SettingsError
from popips.denials import Denial, Denied
from popips.elsewhere import Elsewhere
from popips.files import identity, identity_of
from popips.log import ERROR, INFO, Log
from popips.settings import Settings
from popips.site import Site, site
from popips.stamps import DENIED, DENIED_ELSEWHERE, StampError, StampFailed
from popips.stamps.folder import Folder

TAG = "ipv6:"  # before an IPv6 address in sendmail's keys
NOBODY, NO_OTHERS = "nobody relays", "no login on another host counts"
AGAIN = {
    NOBODY: "clients with a grant can relay again",
    NO_OTHERS: "logins on other hosts count again",
}
Answer = Callable[[bytes, float], bytes]  # from a request, and the time in seconds since the epoch


class Answers:
    """What there is to be said, by the stamps, the denials and popips.conf as they are.

    Where one of them cannot be read, nobody relays; only a popips.conf with a mistake leaves what it said before. Where
    what other hosts told cannot be, it opens nothing, and the logins on this host count.
    """

    def __init__(self, conf: str, log: Log) -> None:
        self.conf, self.log = conf, log
        self.settings: Settings | None = None
        self._site: Site | None = None
        self._others: Elsewhere | None = None
        self._denied: Denied | None = None
        self._theirs: list[Denial] = []  # whom other hosts keep out, as far as that could be read
        self._opens = False  # whether a login on another host counts
        self._saw = {"conf": "", "folder": "", "others": "", "denials": ""}  # by identity, what was read last
        self._trouble = dict.fromkeys(AGAIN, "")

    # ---- what the answers stand on

    def look(self, anew: bool = False) -> None:
        """Read again what has changed; to be called before each batch of requests. anew: whatever has changed."""
        if anew:
            self._saw = dict.fromkeys(self._saw, "?")
        try:
            self._look_at_conf()
            self._look_at_folder()
            self._look_at_others()
            self._look_at_denials()
            self._tell(NOBODY, "")
        except (SettingsError, StampError) as error:
            self._denied = None
            self._saw["denials"] = ""  # all of it is looked at again, whatever is mended
            self._tell(NOBODY, str(error))

    def _look_at_conf(self) -> None:
        now = identity_of(self.conf)
        if now == self._saw["conf"]:
            return
        try:
            self.settings = configuration.load(self.conf)
        except SettingsError as error:
            if isinstance(error.__cause__ or error.__context__, OSError):
                raise  # what it says is not known, and asked for again: somebody may be kept out by it
            self._saw["conf"] = now  # only another edit mends it
            self.log.line(ERROR, f"error: {error}")  # here, for what follows is by the settings before
            if self.settings is None:
                raise
        self._saw.update(conf=now, folder="")

    def _look_at_folder(self) -> None:
        if self.settings is None:
            return  # which was said
        now = _kind_of(self.settings.stamps)
        if now and now == self._saw["folder"]:
            return
        self._saw.update(folder="", denials="")
        if self._site:
            self._site.__exit__()
        self._site, self._denied = None, None
        self._site = site(self.settings, now=0)
        self._saw["folder"] = now

    def _look_at_others(self) -> None:
        path = self.settings.share_from if self.settings and self.settings.share else ""
        now = f"{path} {_kind_of(path)}" if path else ""
        if now == self._saw["others"]:
            return
        self._saw.update(others=now, denials="")
        if self._others:
            self._others.__exit__()
        self._others, self._opens = None, False
        if not path:
            self._theirs = []
        else:
            try:
                self._others = Elsewhere(path)
            except StampError as error:
                self._tell_no_others(error, "others")

    def _look_at_denials(self) -> None:
        if self._site is None:
            return  # which was said
        own, others = self._site.folder, self._others
        now = _state_of(own, DENIED)
        if self._site.settings.share:
            now += f" {_state_of(own, DENIED_ELSEWHERE)} {_state_of(others, DENIED) if others else '-'}"
        if now == self._saw["denials"]:
            return
        self._denied, self._opens = None, False  # nobody knows who is denied
        self._saw["denials"] = now
        there = denials.load(own)
        if self._site.settings.share:
            there += self._denied_elsewhere(own, others)
        self._denied = Denied(there)

    def _denied_elsewhere(self, own: Folder, others: Elsewhere | None) -> list[Denial]:
        """Return whom other hosts keep out; where nobody knows that, whom they did when that was known last.

        After a boot only the last run knew.
        """
        try:
            if others:
                self._theirs = others.denied()
                self._opens = True
                self._tell(NO_OTHERS, "")
                return self._theirs
        except StampError as error:
            self._tell_no_others(error, "denials")
        return [*self._theirs, *denials.load(own, False, DENIED_ELSEWHERE)]

    def _tell_no_others(self, error: StampError, what: str) -> None:
        self._tell(NO_OTHERS, str(error))
        if isinstance(error, StampFailed):
            self._saw[what] = ""  # it is asked again: nothing need change for that to be over

    def _tell(self, what: str, trouble: str) -> None:
        """Log what keeps the relay closed for all, or for logins elsewhere, or that it no longer does, once."""
        if trouble == self._trouble[what]:
            return
        if trouble:
            self.log.line(ERROR, f"error: {what}: {trouble}")
        elif what == NO_OTHERS or (self._site is not None and self._denied is not None):
            self.log.line(INFO, f"mended: {AGAIN[what]}")
        else:
            return  # what was said is not mended, only not looked at again
        self._trouble[what] = trouble

    # ---- the answers

    def of_map(self, request: bytes, now: float) -> bytes:
        """Return the answer to a request to a socket map."""
        name, key = wire.question(request)
        return wire.value(name) if self._relays(key.lower().removeprefix(TAG), now) else wire.NOT_FOUND

    def of_policy(self, request: bytes, now: float) -> bytes:
        """Return the answer to a request by Postfix's policy protocol."""
        return wire.OPEN if self._relays(wire.client(request), now) else wire.CLOSED

    def _relays(self, text: str, now: float) -> bool:
        try:
            return self.is_open(address.parse(text), now)
        except address.Refused:
            return False

    def is_open(self, name: str, now: float) -> bool:
        """Whether a canonical address relays: its last login is younger than the window, and nothing keeps it out."""
        there = self._site
        if there is None or self._denied is None:
            return False
        try:
            stamp = there.folder.get(name)
            told = self._others.told(name) if self._others else None
        except StampError:
            return False
        if told and told.is_live and not self._opens:
            told = None
        last = elsewhere.last(stamp.time if stamp else None, told, now)
        if last is None or not now - there.settings.window < last <= now:
            return False
        return not policy.bars(there.at(now), self._denied)(name)


def _state_of(folder: Folder, name: str) -> str:
    state = folder.state(name)
    return identity(state) if state else "-"


def _kind_of(folder: str) -> str:
    """Return what tells a folder from another, and from what it was when others could not write to it."""
    try:
        state = os.lstat(folder)
    except OSError:
        return ""
    return f"{state.st_dev}:{state.st_ino}:{state.st_uid}:{state.st_mode}"
