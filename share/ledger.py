"""What all hosts together know of each address: the newest login, or the end of all logins up to then.

The newest of two events counts, and of the same moment the end: so it is the same on all hosts, in whichever order they
hear of them. All times are by this host's clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

UNKNOWN = "-"  # who has logged in, and by which service, where nobody says
SAME = 1.0  # seconds: a login is told with its age in milliseconds, so one that is told twice is not quite the same
EARLY = 60.0  # seconds before a grant is due elsewhere by which its renewal is told


@dataclass(frozen=True)
class Event:
    """A login, or the end of all logins up to then; user, service and host say whose it was, and where.

    is_own: whether it is this host that has told the others of it, as the stream says.
    """

    time: float
    is_live: bool
    user: str = ""
    service: str = ""
    host: str = ""
    is_own: bool = False


def is_newer(event: Event, known: Event | None) -> bool:
    """Whether the event changes what is known of its address."""
    if known is None or event.time > known.time + SAME:
        return True
    if event.is_live and known.is_live:
        return False
    return event.time > known.time or (event.time == known.time and not event.is_live)


def is_ahead(event: Event, now: float) -> bool:
    """Whether an event is of the future: it is of before this host's clock was put back."""
    return event.time > now + SAME


def covering(event: Event, login: Event | None, now: float) -> Event:
    """Return the event; an end, so that it covers the login before it on this host, should that be of the future."""
    if event.is_live or login is None or login.time <= now:
        return event
    return replace(event, time=max(event.time, login.time))


def when(last: float, known: Event | None, now: float, window: float) -> float | None:
    """Return when the others are to be told of the last login at an address here; None: not at all.

    A renewal can wait until just before the grant is due there: so clients that look for mail all the time cost but
    one entry a window, and nobody is denied for it.
    """
    if not now - window < last <= now + SAME:
        return None
    if known is None or known.time <= now - window:
        return now
    if not known.is_live:
        return now if last > known.time else None
    if last <= known.time + SAME:
        return None
    return max(now, known.time + window - min(EARLY, window / 2))
