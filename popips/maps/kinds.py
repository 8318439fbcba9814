"""Which module changes which kind of map. All are read by berkeley.Reader."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from popips.maps import Place, berkeley, own


def writer(place: Place, source: str, now: float, until: float) -> berkeley.Writer | own.Writer:
    """Give the one writer of the map; raise Busy at `until` (time.monotonic()), MapError if it cannot be used.

    source: the map's text file, "" if there is none. now: seconds since the epoch.
    """
    if place.own:
        from popips.maps import own

        return own.Writer(place, now, until)
    from popips.maps import berkeley

    return berkeley.Writer(place, source, now, until)
