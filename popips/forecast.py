"""What a map will say once a run has moved all grants there, or made a map of its own anew: for a dry run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from popips import address, form
from popips.form import Form
from popips.maps import Lookup
from popips.site import Site


@contextmanager
def forecast(site: Site, is_known: bool) -> Iterator[Lookup]:
    """In a `with`: the map as it will be when a run begins to look at the grants. Raise MapError, StampError."""
    kept = form.kept(site.folder) or site.form
    is_same = kept.is_same(site.form)
    if site.form.place.own and not (is_same and is_known):
        site.form.place.refuse_text()
        yield _Anew(site)
        return
    with site.reader() as records:
        yield records if is_same else _Moved(site, kept, records)


class _Anew:
    """A map with the record of each stamp."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def get(self, key: bytes) -> bytes | None:
        """Return the value of the key, None if there is none."""
        name = address.of_key(key.decode())
        stamp = self._site.folder.get(name) if name else None
        return self._site.form.value.encode() if stamp and not self._site.is_due(stamp) else None


class _Moved:
    """A map without the records that were made as popips.conf said before."""

    def __init__(self, site: Site, kept: Form, records: Lookup) -> None:
        self._site, self._records = site, records
        self._kept = kept if kept.place.is_same(site.form.place) else None

    def get(self, key: bytes) -> bytes | None:
        """Return the value of the key, None if there is none."""
        value = self._records.get(key)
        name = address.of_key(key.decode())
        if value is None or name is None or self._kept is None or self._site.text.records().get(key) == value:
            return value
        return None if self._kept.record(name) == (key, value) and self._site.folder.get(name) else value
