"""A run of the expirer: requests first, then the grants that are due, then what other hosts tell, and what is lost."""

from __future__ import annotations

import fcntl
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from popips import address, fate, grant, lane, limits, orphans, policy, requests, seen, watch
from popips.elsewhere import NOBODY, Heard, Others
from popips.files import opened
from popips.forecast import forecast
from popips.log import INFO, WARNING
from popips.login import word
from popips.maps import Lookup, Writer
from popips.move import move
from popips.policy import Bars
from popips.requests import Request
from popips.settle import rebuild
from popips.site import Site
from popips.stamps import NEVER, RUN_FILE, StampError
from popips.stamps.folder import Folder
from popips.stamps.survey import WHOLE, Bound, Survey, survey
from popips.turns import BATCH, batches, in_turns

LOGGED = 1000  # lines of a kind that a run logs one by one
HEARING = 20.0  # seconds that logins on other hosts may take of a run
ONE_RUN = 60.0  # seconds: a stamp that is newer than now by less may be of a login since this run began


@dataclass
class Run:
    """What a run found and did: addresses by their fate, the first so many, and how many there were in all."""

    live: int = 0
    recent: int = 0  # of those, with a login since the last run, if that was told
    waiting: int = 0  # logins that nobody had looked at
    waited: float = 0.0  # seconds, for the writers' lock
    behind: str = ""  # why logins on other hosts wait for the next run
    done: dict[str, list[str]] = field(default_factory=dict)
    count: dict[str, int] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)  # files that are no stamps: left alone
    stuck: list[str] = field(default_factory=list)  # stamps that could not be changed
    orphans: list[str] = field(default_factory=list)  # keys of records that look like grants, and are none

    def note(self, fates: dict[str, str]) -> None:
        """Add what was done."""
        for name, what in fates.items():
            self.count[what] = self.count.get(what, 0) + 1
            if self.count[what] <= LOGGED:
                self.done.setdefault(what, []).append(name)

    def describe(self, where: str) -> Iterator[tuple[int, str]]:
        """Return the log lines, each with its level; where: the map."""
        for what, event, reason in (
            (fate.EXPIRE, "removed", ""),
            (fate.BAR, "removed", ' reason="denied, in never, or over a limit by now"'),
            (fate.ELSEWHERE, "removed", ' reason="ended on another host"'),
            (fate.PUT, "restored", ""),
            (fate.YIELD, "static", ' reason="the admin has a record on it"'),
        ):
            for name in self.done.get(what, ()):
                yield INFO, f"{event}: address={name} map={where}{reason}"
            if self.count.get(what, 0) > LOGGED:
                yield INFO, f"{event}: {self.count[what] - LOGGED} more map={where}{reason}"
        for name in self.foreign[:LOGGED]:
            yield WARNING, f'foreign: file={word(name)} map={where} reason="no stamp; left alone"'
        for name in self.stuck[:LOGGED]:
            reason = (
                "its stamp may not be changed: lsattr(1) tells whether it is immutable; its grant ends all the same"
            )
            yield WARNING, f'stuck: address={name} map={where} reason="{reason}"'
        for key in self.orphans[:LOGGED]:
            reason = "it looks like a grant, and nobody has logged in; popips-db end --orphans ends it"
            yield WARNING, f'orphan: address={address.of_key(key)} key={word(key)} map={where} reason="{reason}"'


@contextmanager
def alone(folder: Folder) -> Iterator[bool]:
    """Keep the expirer's lock in a `with`; the value says whether it was to be had."""
    if folder.time_of(RUN_FILE) is None:
        folder.touch(RUN_FILE, 0)  # no run has been
    with folder.naming(RUN_FILE), opened(RUN_FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, within=folder.fd) as fd:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def run(site: Site, told: grant.Told, since: float = math.inf, others: Others = NOBODY) -> Run:
    """Do all that there is to do; told hears of the logins that were waiting. Raise MapError or StampError.

    since: what counts as a recent login, in seconds since the epoch. others: what other hosts tell.

    Where nothing but logins has changed the grants since the last run, only the stamps that are due or not settled are
    looked at, else all.
    """
    saw = seen.saw(site)  # before any of it is read
    site.text.records()  # if it cannot be read, that is to be told before it is needed
    one = _run(site)
    one.whole(told, saw, since, others)
    return one.run


def stand_in(site: Site) -> Run:
    """Do a bounded part of a run, in place of the expirer that is dead: end some of the grants that are due."""
    one = _run(site)
    one.settle(one.look(Bound(seconds=0.5, names=BATCH, processes=1)).due)
    return one.run


def _run(site: Site) -> _Run:
    return _Run(site, policy.bars(site))


@dataclass
class _Run:
    site: Site
    bars: Bars
    run: Run = field(default_factory=Run)

    def whole(self, told: grant.Told, saw: str, since: float, others: Others) -> None:
        """Do all that there is to do; saw: what seen.saw() said before popips.conf's other files were read."""
        site = self.site
        requests.make_room(site.folder)
        self.run.waiting = requests.count(site.folder)
        move(site)
        began = time.monotonic()
        with site.writer() as writer:
            self.run.waited = time.monotonic() - began
            is_known = seen.holds(site) and writer.sealed()
            if not is_known:
                self.begin(writer)
        grant.serve(site, told)
        found = self.look(Bound(since=since))
        self.run.recent = found.recent
        heard: Heard | None = None
        while True:
            self.clear_up(found)
            renewed = others.renewed(found.due)
            self.settle([*(name for name in found.due if name not in renewed), *found.unsettled])
            if heard is None:
                heard = self.hear(told, others)  # however much it is, it keeps open none but those renewed
                self.end(heard.ended)
            self.settle(renewed)
            for name in found.ahead:  # now that what was ended elsewhere is: these would look like later logins
                self.site.folder.renew(name, None, self.site.now)
            if found.is_whole:
                break
            found = self.look()
        if not is_known:
            self.run.orphans = orphans.news(site)
            seen.keep(site, saw, "" if site.form.place.own else self.look_at_all())
        over = limits.surplus(site)
        self.settle(over, limits.bars(site, over))
        self.run.stuck = sorted(site.folder.stuck.difference(found.foreign))
        with site.writer() as writer:
            writer.show()
            lane.open_(site)
        site.folder.touch(RUN_FILE, site.now)

    def begin(self, writer: Writer) -> None:
        """Seal the map as it is now, before all grants are looked at: whoever changes it after that is found out."""
        seen.forget(self.site)
        if self.site.form.place.own:
            rebuild(self.site, writer, self.bars, until=math.inf)
        else:
            writer.look(lambda records: None)

    def hear(self, told: grant.Told, others: Others) -> Heard:
        """Deal with logins on other hosts as with those that wait here, and note why the rest waits for the next run.

        Return what was heard.
        """
        end, heard = time.monotonic() + HEARING, Heard()
        try:
            heard = others.heard()
            for logins in batches(heard.logins):  # and others get the lock in between
                if self.run.behind:
                    break
                files = [requests.leave(self.site.folder, *login) for login in logins]
                outcome = grant.serve(self.site, told, files)
                if outcome and outcome.verdict == grant.DEFERRED:
                    self.run.behind = outcome.reason
                elif time.monotonic() > end:
                    self.run.behind = f"there are more than can be taken up in {HEARING:.0f} s"
        except StampError as error:  # a full disk, or their folder: neither must keep grants open that are due
            self.run.behind = str(error)
        return heard

    def end(self, ended: Mapping[str, float]) -> None:
        """End the grants that have been ended on other hosts."""
        for fates in in_turns(self.site, ended, _ended(self.site, ended)):
            self.run.note({name: fate.ELSEWHERE for name, what in fates.items() if what == fate.BAR})

    def look(self, bound: Bound = WHOLE) -> Survey:
        """Return what is in the stamp folder."""
        now = self.site.now
        return survey(self.site.folder, now - self.site.settings.window, now + ONE_RUN, bound)

    def clear_up(self, found: Survey) -> None:
        """Note what there is, and take away what is odd."""
        self.run.live, self.run.foreign = found.live, found.foreign
        for file in found.told:
            if not self.is_told(file):
                try:
                    self.site.folder.remove(file)
                except StampError:
                    self.run.foreign.append(file)  # which must not keep the grants that are due open

    def is_told(self, file: str) -> bool:
        """Whether the log was told of logins from an address of `never` a short while ago, and it still is one."""
        name, last = file.removeprefix(NEVER), self.site.folder.time_of(file) or 0
        is_never = address.is_canonical(name) and address.is_in(name, self.site.settings.never)
        return is_never and abs(self.site.now - last) <= watch.TELL_EVERY

    def look_at_all(self) -> str:
        """Settle each grant whose record is not as it should be; return what the map lacks of the admin's text."""
        with self.site.reader() as records:
            there = self.site.followed("grants looked at", self.site.folder.scan())
            names = (name for name, _ in there if self.fate(records, name) != fate.LEAVE)
            for batch in batches(names):
                self.settle(batch)
            return seen.unbuilt(self.site, records)

    def fate(self, records: Lookup, name: str) -> str:
        """Return what is to be done with the grant of an address, as far as it can be told without the lock."""
        return fate.fate(
            self.site.case(records, self.site.text.records(), name, asked=False, barred=bool(self.bars(name)))
        )

    def settle(self, names: Iterable[str], bars: Bars | None = None) -> None:
        """Settle the addresses in turns."""
        for fates in in_turns(self.site, names, bars or self.bars):
            self.run.note(fates)


def _ended(site: Site, ended: Mapping[str, float]) -> Bars:
    """Return who is kept out as ended on another host: whoever has not logged in again since then."""

    def reason(name: str) -> str:
        stamp = site.folder.get(name)
        return "ended on another host" if stamp and stamp.time <= ended[name] else ""

    return reason


def plan(site: Site, told: grant.Told, others: Others = NOBODY) -> Run:
    """Return what run() would do, without doing it; told hears what would become of the logins that wait."""
    site.text.records()
    one = _Run(site, policy.bars(site, policy.denied(site, strictly=False, others=others.denied)))
    heard = others.heard()
    found, is_known = one.look(), seen.is_all(site) and others.denied is None
    with forecast(site, is_known) as records:
        of_users = bool(site.settings.max_per_user or site.settings.drop)
        there = {held.name: held for held in limits.held(site, of_users)}
        before = set(there)
        elsewhere = [Request("", *login) for login in heard.logins]
        waited = grant.foreseen(site, records, there, [*requests.there(site.folder, site.now), *elsewhere])
        for request, outcome in waited:
            told(request.login, outcome)
        gone = {outcome.address for _, outcome in waited if outcome.verdict != grant.REFUSED} | (before - set(there))
        names = [*found.due, *found.unsettled] if is_known else [name for name, _ in site.folder.scan()]
        fates = {name: one.fate(records, name) for name in names if name not in gone}
        one.run.note(fates)
    for name in [name for name, what in fates.items() if what in fate.ENDING]:
        there.pop(name, None)
    if not (site.form.place.own or is_known):
        one.run.orphans = orphans.news(site, is_dry=True)
    ended = [name for name, last in heard.ended.items() if name in there and there[name].last <= last]
    one.run.note({name: fate.ELSEWHERE for name in ended if there.pop(name)})
    one.run.note(dict.fromkeys(limits.surplus(site, there=there.values()), fate.BAR))
    one.run.foreign = found.foreign
    return one.run
