"""Grants: what a login makes. Its request is left, and whoever has the writers' lock first deals with all there are."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from popips import address, fate, lane, limits, policy, requests, watch
from popips.limits import Held, Surplus
from popips.log import INFO, WARNING, Log
from popips.login import Login, word
from popips.maps import Lookup, MapError, NotNeeded, Unsound, Writer
from popips.policy import Bars
from popips.requests import Request
from popips.settings import Settings
from popips.settle import rebuild, settle
from popips.site import Site
from popips.stamps import NEVER, StampError, StampFailed

GRANTED, RENEWED, STATIC, REFUSED, DEFERRED = "granted", "renewed", "static", "refused", "deferred"
VERDICTS = {
    fate.PUT: (GRANTED, ""),
    fate.RENEW: (RENEWED, ""),
    fate.STATIC: (STATIC, "the admin has a record on it"),
    fate.YIELD: (STATIC, "the admin has a record on it"),
    fate.REFUSE: (REFUSED, "denied just now: popips-db why says by whom"),
    fate.BAR: (REFUSED, "denied just now: popips-db why says by whom"),
    fate.STUCK: (REFUSED, "its stamp may not be changed: lsattr(1) tells whether it is immutable"),
}
AT_WORK = 10.0  # seconds that a granter goes on for others


@dataclass(frozen=True)
class Outcome:
    """What became of a login: one of the words above, the address as it was read, and a reason where there is one."""

    verdict: str
    address: str
    reason: str = ""

    def describe(self, login: Login, where: str) -> str:
        """Return the log line, the same for every program; where: the map, or "-" if it is not known."""
        who = f"user={word(login.user)} service={word(login.service)}"
        reasons = [self.reason, f"logged in on {word(login.host)}" if login.host else ""]
        text = "; ".join(reason for reason in reasons if reason)
        reason = f' reason="{text}"' if text else ""
        return f"{self.verdict}: address={word(self.address)} {who} map={where}{reason}"


Told = Callable[[Login, Outcome], None]  # what hears of each login that was dealt with


def tell(settings: Settings, login: Login, outcome: Outcome) -> None:
    """Log what became of a login, if it is to be logged, in the name of the program that saw it."""
    if outcome.verdict != RENEWED or outcome.reason or settings.log_renewals:
        is_well = outcome.verdict in (GRANTED, RENEWED, STATIC) or outcome.reason == policy.NEVER
        program = "popips-expire" if login.host else login.writer  # which takes up those on other hosts
        Log(program).line(INFO if is_well else WARNING, outcome.describe(login, str(settings.map)))


def grant(site: Site, text: str, login: Login, told: Told) -> Outcome | None:
    """Let the address relay for a window from now on; return what became of it, None if another has dealt with it.

    text: the address as the login's server gave it. told hears of this login, and of all that were dealt with on the
    way. Where the map cannot be had in time, or cannot be used, the request stays for the next run. Raise no error.
    """
    try:
        name = address.parse(text)
        outcome = _at_once(site, name, login)
        if outcome is None:
            return serve(site, told, (requests.leave(site.folder, name, login, site.now),))
        _report(site, told, login, outcome)
    except (address.Refused, StampError, OSError) as error:
        outcome = Outcome(REFUSED, text, watch.reason(error, login.writer))
        told(login, outcome)
    return outcome


def grant_all(site: Site, logins: Iterable[tuple[str, Login, float]], told: Told) -> None:
    """Do what grant() does for many, in one change of the map: each has its address, and counts from its own time on.

    That is in seconds since the epoch, and not later than now.
    """
    left = set()
    for text, login, time_of_it in logins:
        try:
            name = address.parse(text)
            outcome = _at_once(site.at(time_of_it), name, login)
            if outcome:
                _report(site, told, login, outcome)
            else:
                left.add(requests.leave(site.folder, name, login, time_of_it))
        except (address.Refused, StampError, OSError) as error:
            told(login, Outcome(REFUSED, text, watch.reason(error, login.writer)))
    if left:
        serve(site, told, left)


def _report(site: Site, told: Told, login: Login, outcome: Outcome) -> None:
    """Let told hear of a login; of one from a network of `never` once an hour, for webmail logs in all the time."""
    if outcome.reason != policy.NEVER or watch.is_news(site.folder, NEVER + outcome.address, site.now):
        told(login, outcome)


def _at_once(site: Site, name: str, login: Login) -> Outcome | None:
    """Return what becomes of a login that needs no request; None if it does, or if that cannot be read just now."""
    try:
        reason = refusal(site, policy.strict(site), name, login)
        if reason or lane.renewed(site, name, login):
            return Outcome(REFUSED if reason else RENEWED, name, reason)
    except StampFailed:
        pass
    return None


def refusal(site: Site, bars: Bars, name: str, login: Login) -> str:
    """Return the reason why a login from the canonical address gets no grant, "" if it gets one."""
    return policy.of_login(site.settings, login) or bars(name)


def serve(site: Site, told: Told, own: Collection[str] = ()) -> Outcome | None:
    """Deal with all requests that there are; told hears of each.

    own: the names of requests' files; return what became of the last of them, None if another process has dealt with
    it. Raise no error.
    """
    outcome: Outcome | None = None
    is_granter, begun, began = False, time.monotonic(), site.now

    def is_over() -> bool:
        return bool(own) and not is_granter and not any(requests.is_there(site.folder, file) for file in own)

    try:
        while (batch := requests.there(site.folder, site.now)) and time.monotonic() < begun + AT_WORK:
            is_granter = requests.mark(site.folder, site.now)
            for request, what in _dealt(site, batch, is_over):
                _report(site, told, request.login, what)
                if request.file in own:
                    outcome = what
            # or else a login of this moment would get the time at which this process began, and a shorter window
            site = site.at(began + time.monotonic() - begun)
            if is_granter and not requests.there(site.folder, site.now):
                requests.unmark(site.folder)  # and then look once more
                is_granter = False
    except NotNeeded:
        pass
    except (MapError, StampError, OSError) as error:
        left = [request for request in requests.there(site.folder, site.now) if request.file in own]
        for request in left:
            outcome = Outcome(DEFERRED, request.address, watch.reason(error, request.login.writer))
            told(request.login, outcome)
    finally:
        if is_granter:
            requests.unmark(site.folder)
    return outcome


def _dealt(site: Site, batch: list[Request], is_over: Callable[[], bool]) -> list[tuple[Request, Outcome]]:
    """Deal with these requests, and return what became of each. Raise MapError, StampError."""
    judged = _judged(site, batch)  # before the lock: it may ask LDAP for a group
    good = [(outcome.address, request) for request, outcome in judged if outcome.verdict == GRANTED]
    if not good:
        return _done(site, judged)
    with site.writer(is_over) as writer:
        latest = {name: request for name, request in good if requests.is_there(site.folder, request.file)}
        fates = _settled(site, writer, latest)
        opened = {name: request.login for name, request in latest.items() if fates[name] in fate.OPENING}
        over = limits.surplus(site, opened)
        ended = settle(site, writer, over, {}, limits.bars(site, over)) if over else {}
        gone = {name: over[name] for name, what in ended.items() if what == fate.BAR}
        there = [(request, outcome) for request, outcome in judged if outcome.address in fates or outcome.reason]
        return _done(site, [(request, _known(request, outcome, fates, gone)) for request, outcome in there])


def foreseen(
    site: Site, records: Lookup, there: dict[str, Held], batch: list[Request]
) -> list[tuple[Request, Outcome]]:
    """Return what would become of these logins, if they were dealt with now.

    records: as they would be then. there: the live grants by address, which this brings to what they would be after.
    """
    judged = _judged(site, batch)
    latest = {outcome.address: request for request, outcome in judged if outcome.verdict == GRANTED}
    fates = {
        name: fate.fate(site.case(records, site.text.records(), name, asked=True, barred=False)) for name in latest
    }
    opened = {name: request for name, request in latest.items() if fates[name] in fate.OPENING}
    there.update({name: Held(name, request.time, request.login) for name, request in opened.items()})
    over = limits.surplus(site, {name: request.login for name, request in opened.items()}, there.values())
    for name in [*over, *(name for name, what in fates.items() if what in fate.ENDING)]:
        there.pop(name, None)
    return [(request, _known(request, outcome, fates, over)) for request, outcome in judged]


def _done(site: Site, dealt: list[tuple[Request, Outcome]]) -> list[tuple[Request, Outcome]]:
    for request, _ in dealt:
        site.folder.remove(request.file)
    return dealt


def _known(request: Request, outcome: Outcome, fates: dict[str, str], gone: dict[str, Surplus]) -> Outcome:
    """Return the outcome, now that the map has been looked at; gone: the grants that have ended as one too many."""
    name = outcome.address
    if outcome.verdict != GRANTED:
        return outcome
    if name in gone:  # it has waited, and others have logged in since
        return Outcome(REFUSED, name, gone[name].reason)
    verdict, reason = VERDICTS[fates[name]]
    if verdict in (GRANTED, RENEWED):
        by = request.login.user, address.network(name)
        reason = "; ".join(f"{other} removed: {one.reason}" for other, one in gone.items() if one.whose in by)
    return Outcome(verdict, name, reason)


def _judged(site: Site, batch: list[Request]) -> list[tuple[Request, Outcome]]:
    """Return the outcome of each as far as it can be told without the map. Raise StampFailed: then all of them stay."""
    bars = policy.strict(site)
    return [(request, _judge(site, bars, request)) for request in batch]


def _judge(site: Site, bars: Bars, request: Request) -> Outcome:
    """Return the outcome of a request as far as it can be told without the map: refused, or granted."""
    try:
        name = address.parse(request.address)
    except address.Refused as error:
        return Outcome(REFUSED, request.address, str(error))
    reason = refusal(site, bars, name, request.login)
    if not reason and request.time <= site.now - site.settings.window:
        reason = "the login is longer ago than the window"
    return Outcome(REFUSED if reason else GRANTED, name, reason)


def _settled(site: Site, writer: Writer, latest: dict[str, Request]) -> dict[str, str]:
    bars = policy.bars(site)
    try:
        return settle(site, writer, latest, latest, bars)
    except Unsound:
        rebuild(site, writer, bars, time.monotonic() + site.wait)
        return settle(site, writer, latest, latest, bars)
