"""A grant: what a login makes, and how its stamp and its record belong together. popips.upkeep does the rest.

The order is everything. The stamp is made before the record and removed after it, so a record of ours is never without
its stamp, whoever is killed when; and a record without a stamp is the admin's, whatever its value.
"""

from __future__ import annotations

import time

from popips import address, denials, lane, limits, watch
from popips.log import INFO, WARNING
from popips.maps import Busy, MapError, Unsound, kinds, source
from popips.maps.journal import is_idle
from popips.stamps import Folder, Line, Stamp, StampError, word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from popips.log import Log
    from popips.maps import Records
    from popips.settings import Settings

GRANTED, RENEWED, STATIC, REFUSED, DEFERRED = "granted", "renewed", "static", "refused", "deferred"


class Login:
    """Who logged in: user, service (pop3, imap ...), and the program of popips that saw it."""

    __slots__ = ("service", "user", "writer")

    def __init__(self, user: str, service: str, writer: str) -> None:
        self.user, self.service, self.writer = user, service, writer


class Outcome:
    """What became of a login: one of the words above, the address as it was read, and a reason where there is one."""

    __slots__ = ("address", "reason", "verdict")

    def __init__(self, verdict: str, address: str, reason: str = "") -> None:
        self.verdict, self.address, self.reason = verdict, address, reason

    def describe(self, login: Login, where: str) -> str:
        """Give the log line, the same for every program; where: the map, or "-" if it is not known."""
        words = f"address={word(self.address)} user={word(login.user)} service={word(login.service)} map={where}"
        return f"{self.verdict}: {words}" + (f' reason="{self.reason}"' if self.reason else "")


def tell(log: Log, settings: Settings, login: Login, outcome: Outcome) -> None:
    """Log what became of a login, if it is to be logged."""
    if outcome.verdict != RENEWED or outcome.reason or settings.log_renewals:
        is_well = outcome.verdict in (GRANTED, RENEWED, STATIC)
        log.line(INFO if is_well else WARNING, outcome.describe(login, str(settings.map)))


def grant(settings: Settings, text: str, login: Login, now: float) -> Outcome:
    """Let the address relay for a window from now: its stamp, then its record.

    text: the address as the login's server gave it. now: seconds since the epoch. It waits for locks no longer than
    settings.lock_timeout; if they are not to be had, or the map cannot be used, the stamp stays for the next run.
    """
    try:
        name = address.parse(text)
    except address.Refused as error:
        return Outcome(REFUSED, text, str(error))
    until = time.monotonic() + settings.lock_timeout
    try:
        with Folder(settings.stamps) as folder:
            reason = limits.refusal(settings, folder, name, login.user, login.service, now)
            if reason:
                return Outcome(REFUSED, name, reason)
            try:
                is_current = lane.renewed(settings, folder, name, now)
                verdict = RENEWED if is_current else _granted(settings, folder, name, login, now, until)
                is_his = verdict == GRANTED or (verdict == RENEWED and _note(settings, folder, name, login, now))
                if is_his and verdict == RENEWED and not folder.get(name):  # ended just now, as another user's grant
                    verdict = _granted(settings, folder, name, login, now, until)
                gone = _one_too_many(settings, folder, name, login, now, until) if is_his else []
            except (MapError, OSError) as error:
                if not (is_seen(folder.get(name)) and folder.renew(name, now)):
                    folder.write(name, _new_line(settings, name, login), now, pending=True)
                return Outcome(DEFERRED, name, watch.reason(error, login.writer))
    except (StampError, OSError) as error:
        return Outcome(REFUSED, name, watch.reason(error, login.writer))
    reasons = {STATIC: "the admin has a record on it", REFUSED: "denied just now"}
    return Outcome(verdict, name, f"max_per_user: {' '.join(gone)} removed" if gone else reasons.get(verdict, ""))


def _granted(settings: Settings, folder: Folder, name: str, login: Login, now: float, until: float) -> str:
    # renewed before the look at the map: an expirer about to take the record out looks at the stamp once more
    may_read = not settings.map.own  # a copy of a big map takes longer than to look in place
    if is_seen(folder.get(name)) and folder.renew(name, now) and may_read and is_idle(settings.map.path):
        with kinds.reader(settings.map, until) as records:
            verdict = standing(settings, folder, records, name)
        if verdict:
            return verdict
    verdict = GRANTED

    def step(records: Records) -> None:
        nonlocal verdict
        verdict = standing(settings, folder, records, name) or (STATIC if _is_to_be_static(settings, name) else GRANTED)
        if limits.barred(settings, denials.load(folder), name, now):
            verdict = REFUSED  # just now: whoever said so takes out what there is
        elif verdict == GRANTED:
            line = _new_line(settings, name, login)
            folder.write(name, line, now)
            records.put(line.key.encode(), line.value.encode())
        elif verdict == RENEWED:
            folder.renew(name, now)
        elif not is_seen(folder.get(name)):
            folder.remove(name)

    def change() -> None:
        with kinds.writer(settings.map, settings.source(settings.map), now, until) as writer:
            moved = writer.change(step, ready=folder.sync)
            if verdict == GRANTED:
                folder.settle(name)
            lane.follow(folder, moved)

    try:
        change()
    except Unsound:
        rebuild(settings, folder, now, until)
        change()
    return verdict


def rebuild(settings: Settings, folder: Folder, now: float, until: float) -> None:
    """Make a map of its own anew, with the record of each live stamp. Raise Busy at `until` (time.monotonic()).

    A stamp whose address is barred by now gets none, and becomes due. One that is due is settled no more: a login may
    renew it at any moment, and the next run has to look.
    """
    unsettled: list[str] = []
    denied = denials.legible(folder)

    def records() -> Iterator[tuple[bytes, bytes]]:
        for name, stamp in folder.scan():
            if time.monotonic() > until:
                raise Busy(f"{settings.map.path}: too many stamps to make it anew now; popips-expire does it")
            is_barred = bool(limits.barred(settings, denied, name, now))
            is_live = stamp.time > now - settings.window and not is_barred
            if not (is_live and stamp.settled):
                folder.unsettle(name, durably=False)
            if is_barred:
                folder.renew(name, 0)
            if not is_live:
                continue
            if not stamp.settled:
                unsettled.append(name)
            yield record(settings, folder, name)

    with kinds.own_writer(settings.map, now, until) as writer:
        writer.rebuild(records())
        for name in unsettled:
            folder.settle(name)


def standing(settings: Settings, folder: Folder, records: Records, name: str) -> str | None:
    """Tell whether the address has its record (renewed) or one of the admin's (static); None if it has neither."""
    if settings.map.own:
        if folder.get(name) is None:
            return None
        key, value = record(settings, folder, name)
        return RENEWED if records.get(key) == value else None
    if is_seen(folder.get(name)):
        key, value = record(settings, folder, name)
        there = records.get(key)
        if there is not None:
            return RENEWED if there == value else STATIC
    forms = (address.key(name, style, settings.compressed_ipv6) for style in settings.styles)
    return STATIC if any(records.get(form) is not None for form in forms) else None


def _is_to_be_static(settings: Settings, name: str) -> bool:
    """Tell whether the admin has written a record on the address into the map's text, and not built the map since."""
    if not watch.edit_is_pending(settings):
        return False
    static = said(settings)
    return any(address.key(name, style, settings.compressed_ipv6) in static for style in settings.styles)


def said(settings: Settings) -> dict[bytes, bytes]:
    """Give the records that the map's text says. Raise MapError."""
    return source.records(settings.source(settings.map), settings.map.postfix)


def record(settings: Settings, folder: Folder, name: str) -> tuple[bytes, bytes]:
    """Give key and value of the record that belongs to a stamp.

    A map of its own is made anew after an edit of popips.conf, with the same key and value for all: to read a million
    stamps for that would take half an hour on a host that has just been started.
    """
    line = (None if settings.map.own else folder.line(name)) or _new_line(settings, name, Login("", "", ""))
    return line.key.encode(), line.value.encode()


def _new_line(settings: Settings, name: str, login: Login) -> Line:
    key = address.key(name, settings.key, settings.compressed_ipv6).decode()
    return Line(login.user, login.service, login.writer, key, settings.value)


def _note(settings: Settings, folder: Folder, name: str, login: Login, now: float) -> bool:
    """Let the stamp say who logged in last; tell whether that is another user than before."""
    line = folder.line(name)
    if line:
        latest = Line(login.user, login.service, login.writer, line.key, line.value)
    else:
        latest = _new_line(settings, name, login)
    is_another = not line or latest.user != line.user
    if login.service == limits.PUSHED and is_another:
        return False  # anybody can push any address: that must not make another's grant his own, to end it by the next
    if not line or latest.pack() != line.pack():
        folder.note(name, latest, now)
    return is_another


def _one_too_many(settings: Settings, folder: Folder, name: str, login: Login, now: float, until: float) -> list[str]:
    """Take the user's oldest grants away that are more than max_per_user with this one; give their addresses."""
    if not settings.max_per_user or login.service == limits.BY_HAND:
        return []
    return limit(settings, folder, now, until, word(login.user), name)


def limit(settings: Settings, folder: Folder, now: float, until: float, user: str = "", latest: str = "") -> list[str]:
    """End each user's oldest grants that are more than max_per_user; give their addresses. user, latest: see _surplus.

    Raise MapError or StampError.
    """

    def which() -> list[str]:
        return _surplus(settings, folder, now, user, latest)

    return take_out(settings, folder, which, now, until) if which() else []


def _surplus(settings: Settings, folder: Folder, now: float, user: str, latest: str) -> list[str]:
    """Give the addresses of each user's oldest grants that are more than max_per_user; of one user only, if named.

    latest: an address whose login has just been, whatever the clock says.
    """
    grants_of: dict[str, list[tuple[bool, float, str]]] = {}
    for name, stamp in folder.scan():
        line = folder.line(name) if stamp.time > now - settings.window else None
        if line and line.service != limits.BY_HAND and user in ("", line.user):
            grants_of.setdefault(line.user, []).append((name == latest, stamp.time, name))
    most = settings.max_per_user
    return [name for his in grants_of.values() for _, _, name in sorted(his)[: max(0, len(his) - most)]]


def take_out(settings: Settings, folder: Folder, which: Callable[[], list[str]], now: float, until: float) -> list[str]:
    """End grants before their time: the records of ours, and then the stamps; give their addresses.

    which tells them, under the writers' lock, so that no login comes in between. Raise MapError or StampError.
    """
    names: list[str] = []

    def step(records: Records) -> None:
        static = said(settings)  # now: whatever the map holds by now is in the text by now
        for name in names:
            key, value = record(settings, folder, name)
            if static.get(key) != value and standing(settings, folder, records, name) == RENEWED:
                records.delete(key)

    with kinds.writer(settings.map, settings.source(settings.map), now, until) as writer:
        names += which()
        if names:
            lane.withdraw(folder)
            writer.change(step)
        for name in names:
            folder.remove(name)
    return names


def is_seen(stamp: Stamp | None) -> bool:
    """Tell whether there is a stamp, and it was made with a look at the map."""
    return stamp is not None and not stamp.pending
