"""Moves all grants, when popips.conf names another map, key or value than their records were made by."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial

from popips import form
from popips.files import opened
from popips.form import Form
from popips.maps import Busy, Full, MapError, Records, Writer
from popips.maps.text import Text
from popips.settle import check_map, nothing
from popips.site import Site
from popips.stamps import JOURNALS
from popips.turns import batches


def move(site: Site) -> None:
    """Take the records of all grants out of where popips.conf had them before, if that has changed.

    Until that is done and noted, under the writers' lock of the old map, nobody makes a record by other settings. Then
    the next look at all grants puts them where they belong now. Raise MapError or StampError.
    """
    while (kept := form.kept(site.folder)) and not kept.is_same(site.form):
        wrong = _wrong(site)  # if it is, the grants are closed all the same, and come back when popips.conf is mended
        old = _named_now(site, kept)
        if not os.path.lexists(old.place.path):
            if wrong:
                raise wrong
            _keep(site, old)
            return
        text = Text(site.settings.source(old.place), old.place.postfix)
        try:
            with replace(site, form=old, text=text).writer() as writer:
                if (again := form.kept(site.folder)) and again.is_same(kept):  # nobody has moved them meanwhile
                    _empty(site, writer, old, text)
                    if not wrong:
                        _keep(site, old)
        except (Busy, Full):
            raise
        except MapError as error:
            cure = "grants of the settings before may be in it: mend it, or remove it if nobody asks it"
            raise type(error)(f"{error}; {cure}") from error
        if wrong:
            raise wrong


def _keep(site: Site, old: Form) -> None:
    """Note that records are made by the settings of now, and which journal the old map leaves behind."""
    path, known = os.fsencode(old.place.journal), site.folder.read(JOURNALS)
    if old.place.row.has_file and old.place.journal != site.form.place.journal and path not in known.splitlines():
        site.folder.replace(JOURNALS, known + path + b"\n", durably=True)
    form.keep(site.folder, site.form)


def _wrong(site: Site) -> MapError | None:
    try:
        check_map(site)
    except (Busy, Full):
        raise
    except MapError as error:
        return error
    return None


def _named_now(site: Site, kept: Form) -> Form:
    """Return the form, its map by the name that popips.conf has for it: the old one may be a link by now."""
    place = kept.place
    if place.own == site.form.place.own and place.is_same(site.form.place):
        place = replace(place, path=site.form.place.path)
    return replace(kept, place=place)


def _empty(site: Site, writer: Writer, kept: Form, text: Text) -> None:
    """Unsettle all stamps, which the next run then looks at whatever it has seen, and take their records out."""
    for batch in batches(name for name, _ in site.followed("grants moved", site.folder.scan())):
        for name in batch:
            site.folder.unsettle(name)
        if not kept.place.own:
            writer.change(partial(_take_out, kept, text, batch), secure=nothing)
    if kept.place.own:
        writer.rebuild([])
        with opened(kept.place.path) as fd:
            os.fsync(fd)  # or a power failure would bring the records back, and nobody would look there


def _take_out(kept: Form, text: Text, names: list[str], records: Records) -> None:
    for name in names:
        kept.take_out(records, text.records(), name)
