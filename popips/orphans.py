"""Orphans: records that look like a grant, and are none. Its stamp was lost, or an old map was put in place.

A run only tells of them, for such a record can be the admin's: `popips-db end --orphans` ends them.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

from popips import address, register
from popips.maps import Records
from popips.settle import nothing
from popips.site import Site
from popips.stamps import TOLD
from popips.turns import batches


def orphans(site: Site, records: Records) -> list[str]:
    """Return the keys of records of one address that have key and value of a grant, and no stamp.

    Nor are they in the admin's text or in the register of what he has put. In a map of its own there are none: it is
    made anew from the stamps. Raise MapError or StampError.
    """
    if site.form.place.own:
        return []
    value, put = site.form.value.encode(), register.load(site.folder)
    ours = (key for key, there in records.items() if there == value)
    return [key.decode() for key in ours if _is_orphan(site, put, key)]


def news(site: Site, is_dry: bool = False) -> list[str]:
    """Return the orphans that were not told of yet; only a dry run does not note that they are told now.

    Raise MapError or StampError.
    """
    there, told = _twice(site), set(site.folder.read(TOLD["orphans"]).decode(errors="replace").split())
    if set(there) != told and not is_dry:
        site.folder.replace(TOLD["orphans"], "".join(f"{key}\n" for key in there).encode())
    return [key for key in there if key not in told]


def _twice(site: Site) -> list[str]:
    """Return those that are orphans at each of two looks: a grant may end between a look at the map and its stamp."""
    found: set[str] | None = None
    for _ in range(2):
        with site.reader() as records:
            keys = [key for key in orphans(site, records) if found is None or key in found]
        if not keys:
            return []
        found = set(keys)
    return keys


def _is_orphan(site: Site, put: Container[register.Pair], key: bytes) -> bool:
    """Whether a record with the value of a grant is nobody's."""
    value = site.form.value.encode()
    name = address.of_key(key.decode(errors="replace"))
    if name is None or site.form.record(name) != (key, value):
        return False
    return (key, value) not in put and key not in site.text.records() and site.folder.get(name) is None


def end(site: Site) -> Iterator[list[str]]:
    """Take the orphans out; return the keys of each batch as soon as that is done. Raise MapError or StampError."""
    with site.reader() as records:
        left = orphans(site, records)
    for batch in batches(left):
        ended: list[str] = []

        def step(records: Records, batch: list[str] = batch, ended: list[str] = ended) -> None:
            """Look once more, under the lock: the admin may have put it by now."""
            ended.clear()
            put = register.load(site.folder)
            for key in (text.encode() for text in batch):
                if records.get(key) == site.form.value.encode() and _is_orphan(site, put, key):
                    records.delete(key)
                    ended.append(key.decode())

        with site.writer() as writer:
            writer.change(step, secure=nothing)
        yield ended
