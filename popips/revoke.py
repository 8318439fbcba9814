"""What the admin does to grants and records by hand: end, deny, put records that stay, take records out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from popips import address, denials, policy, requests
from popips.maps import Place, Records, Writer, kinds
from popips.move import move
from popips.settle import nothing, rebuild, settle
from popips.site import PATIENCE, Site
from popips.turns import in_turns


def end(site: Site, names: Iterable[str]) -> Iterator[list[str]]:
    """End the grants of these addresses; return a batch of those that had one as soon as it has ended.

    Raise MapError or StampError; what was done until then is whole.
    """
    make_sound(site)
    there = (name for name in names if site.folder.get(name))
    for fates in in_turns(site, there, lambda _: "ended by the admin"):
        requests.withdraw(site.folder, fates)
        site.folder.sync()  # or a power failure would bring them back
        yield list(fates)


def all_grants(site: Site) -> Iterator[str]:
    """Return the addresses that have a stamp, due ones included."""
    return (name for name, _ in site.folder.scan())


def deny(site: Site, denial: denials.Denial) -> Iterator[list[str]]:
    """Keep an address or network out, and end its grants; return their addresses. Raise MapError or StampError."""
    denials.add(site.folder, denial, site.now)
    return end(site, (name for name in all_grants(site) if address.is_in(name, (denial.network,))))


def make_sound(site: Site) -> None:
    """Have records as popips.conf says, and a map of its own as popips left it. Raise MapError or StampError."""
    move(site)
    if site.form.place.own:
        with site.writer() as writer:
            if not writer.sealed():
                rebuild(site, writer, policy.bars(site, denials.legible(site.folder)))


def put(site: Site | None, place: Place, text: str, pairs: dict[bytes, bytes], now: float) -> None:
    """Put records that stay, by key and value; grants of addresses that they are on end. Raise MapError or StampError.

    site: the host, if the place is its map. text: the path of the admin's text of the place, "" if there is none.
    """

    def step(records: Records) -> None:
        for key, value in pairs.items():
            if records.get(key) != value:
                records.put(key, value)

    if site:
        make_sound(site)
    with _writer(place, text, now) as writer:
        if site:
            _end(site, writer, {name for key in pairs if (name := address.of_key(key.decode()))})
        writer.change(step, secure=nothing)


def take_out(site: Site | None, place: Place, text: str, keys: dict[str, list[bytes]], now: float) -> list[str]:
    """Take records out of a map, and end the grants that go with them; return the words that found neither.

    keys: for each word of the admin's the keys that it may stand for. Otherwise as put().
    """
    found: set[str] = set()

    def step(records: Records) -> None:
        for word, its in keys.items():
            for key in its:
                if records.get(key) is not None:
                    records.delete(key)
                    found.add(word)

    if site:
        make_sound(site)
    with _writer(place, text, now) as writer:
        if site:
            names = {name: word for word in keys if (name := address.of_key(word.lower()))}
            found.update(names[name] for name in _end(site, writer, names))
        writer.change(step, secure=nothing)
    return [word for word in keys if word not in found]


def _writer(place: Place, text: str, now: float) -> Writer:
    return kinds.writer(place, text, now, time.monotonic() + PATIENCE)


def _end(site: Site, writer: Writer, names: Iterable[str]) -> list[str]:
    there = [name for name in names if site.folder.get(name)]
    if there:
        settle(site, writer, there, {}, lambda _: "ended by the admin")
        requests.withdraw(site.folder, there)
        site.folder.sync()
    return there
