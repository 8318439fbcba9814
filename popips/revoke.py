"""What the admin does to grants and records by hand: end, deny, put records that stay, take records out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from popips import address, denials, elsewhere, fate, policy, requests
from popips.maps import Place, Records, Writer, kinds
from popips.move import move
from popips.settle import nothing, rebuild, settle
from popips.site import PATIENCE, Site
from popips.stamps import StampFailed
from popips.turns import in_turns


def end(site: Site, names: Iterable[str]) -> Iterator[list[str]]:
    """End the grants of these addresses; return a batch of those that had one as soon as it has ended.

    Raise MapError or StampError; what was done until then is whole. StampFailed of what others told comes at the end.
    """
    waiting = requests.addresses(site.folder)
    names = [name for name in dict.fromkeys(names) if name in waiting or site.folder.get(name)]
    if not names:
        return  # the map need not be there
    make_sound(site)
    with site.writer():
        requests.withdraw(site.folder, set(names))
    there = (name for name in names if site.folder.get(name))
    failed: StampFailed | None = None
    for fates in in_turns(site, there, lambda _: "ended by the admin"):
        requests.withdraw(site.folder, fates)
        site.folder.sync()  # or a power failure would bring them back
        ended = [name for name, what in fates.items() if what in fate.ENDING]
        try:
            elsewhere.end(site.settings, ended, time.time())
        except StampFailed as error:
            failed = error
        yield ended
    if failed:
        raise failed


def all_grants(site: Site) -> Iterator[str]:
    """Return the addresses that have a stamp, due ones included, and those whose logins wait."""
    yield from requests.addresses(site.folder)
    yield from (name for name, _ in site.folder.scan())


def denied(site: Site, denial: denials.Denial) -> Iterator[list[str]]:
    """End the grants of those whom a denial keeps out, which is on the list by now; otherwise as end()."""
    return end(site, (name for name in all_grants(site) if address.is_in(name, (denial.network,))))


def make_sound(site: Site) -> None:
    """Have records as popips.conf says, and a map of its own as popips left it. Raise MapError or StampError."""
    move(site)
    if site.form.place.own:
        with site.writer() as writer:
            if not writer.sealed():
                rebuild(site, writer, policy.bars(site), time.monotonic() + site.wait)


@dataclass(frozen=True)
class Edited:
    """A map that the admin changes by hand; text: the path of his text of it, "" if there is none.

    now: seconds since the epoch. site: the host, if this is the map that its grants are in.
    """

    place: Place
    text: str
    now: float
    site: Site | None = None


def put(edited: Edited, pairs: dict[bytes, bytes]) -> None:
    """Put records that stay, and end grants of the addresses that they are on. Raise MapError or StampError.

    All in one change of the map: whoever is killed meanwhile has left the grant or the record.
    """
    site = edited.site
    there: list[str] = []  # the addresses whose grants end

    def step(records: Records) -> None:
        for name in there:
            if site and site.form.record(name)[0] not in pairs:  # in another form, by which the MTA may ask first
                site.form.take_out(records, site.text.records(), name)
        for key, value in pairs.items():
            if records.get(key) != value:
                records.put(key, value)

    with _writer(edited) as writer:
        if not site:
            writer.change(step, secure=nothing)
            return
        folder = site.folder
        names = {name for key in pairs if (name := address.of_key(key.decode()))}
        there += (name for name in names if folder.get(name))
        for name in there:
            folder.unsettle(name)
        writer.change(step, secure=nothing)
        for name in there:
            folder.remove(name)
        requests.withdraw(folder, names)
        folder.sync()


@dataclass(frozen=True)
class Taken:
    """What was taken out of a map: the words that found nothing, and the addresses whose grants have ended."""

    missing: list[str]
    ended: list[str]


def take_out(edited: Edited, wanted: dict[str, list[str]]) -> Taken:
    """Take records out of a map, and end the grants that go with them; elsewhere.end() is left to the caller.

    wanted: for each word of the admin's the keys that it may stand for. Raise MapError or StampError.
    """
    found: set[str] = set()

    def step(records: Records) -> None:
        for word, keys in wanted.items():
            for key in map(str.encode, keys):
                if records.get(key) is not None:
                    records.delete(key)
                    found.add(word)

    with _writer(edited) as writer:
        names = {word: name for word in wanted if (name := address.of_key(word.lower()))}
        ended = _end(edited, writer, set(names.values()))
        found.update(word for word, name in names.items() if name in ended)
        writer.change(step, secure=nothing)
    return Taken([word for word in wanted if word not in found], ended)


def _writer(edited: Edited) -> Writer:
    if edited.site:
        make_sound(edited.site)
    return kinds.writer(edited.place, edited.text, edited.now, time.monotonic() + PATIENCE)


def _end(edited: Edited, writer: Writer, names: set[str]) -> list[str]:
    """End the grants of these addresses, and return which had one."""
    site = edited.site
    if not site:
        return []
    requests.withdraw(site.folder, names)
    there = [name for name in names if site.folder.get(name)]
    if there:
        settle(site, writer, there, {}, lambda _: "ended by the admin")
        site.folder.sync()  # or a power failure would bring them back
    return there
