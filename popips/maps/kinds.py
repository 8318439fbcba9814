"""Which module reads and changes which kind of map."""

from __future__ import annotations

from popips.maps import BY_POSTMAP, MapError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from popips.maps import Place, berkeley, own, postmap

    Writer = berkeley.Writer | own.Writer | postmap.Writer
    Reader = berkeley.Reader | postmap.Reader


def writer(place: Place, source: str, now: float, until: float) -> Writer:
    """Give the one writer of the map; raise Busy at `until` (time.monotonic()), MapError if it cannot be used.

    source: the map's text file, "" if there is none. now: seconds since the epoch.
    """
    if place.own:
        return own_writer(place, now, until)
    if place.kind in BY_POSTMAP:
        raise MapError(f"{place}: postmap makes it anew as a whole; popips changes only one with own_map = yes")
    from popips.maps import berkeley

    return berkeley.Writer(place, source, now, until)


def own_writer(place: Place, now: float, until: float) -> own.Writer | postmap.Writer:
    """Give the one writer of a map of its own, which can make it anew; otherwise as writer()."""
    if place.kind in BY_POSTMAP:
        from popips.maps import postmap

        return postmap.Writer(place, now, until)
    from popips.maps import own

    return own.Writer(place, now, until)


def reader(place: Place, until: float) -> Reader:
    """Give the records of the map in a `with`; raise Busy at `until` (time.monotonic()), MapError."""
    if place.kind in BY_POSTMAP:
        from popips.maps import postmap

        return postmap.Reader(place)
    from popips.maps import berkeley

    return berkeley.Reader(place, until)
