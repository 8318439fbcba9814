"""How the records were made is kept beside the stamps: the map, the style of the key, and the value."""

from __future__ import annotations

import pytest

from popips import form
from popips.grant import GRANTED
from popips.maps import Place
from tests.conftest import Site

B = "192.0.2.11"


@pytest.mark.parametrize(
    "place",
    [
        Place("hash", "/etc/mail/access.db"),
        Place("btree", "/x y/\xfc.db", own=True),
        Place("lmdb", "/x.lmdb", own=True, postfix=True),
    ],
    ids=str,
)
@pytest.mark.parametrize("value", ["RELAY", '550 5.7.1 "no" %', "\xfc"])
def test_what_is_kept_is_what_was_there(site: Site, place: Place, value: str) -> None:
    made = form.Form(place, "connect", True, value)
    with site.host as host:
        form.keep(host.folder, made)
        kept = form.kept(host.folder)
    assert kept and (kept, kept.place.own, kept.place.postfix) == (made, place.own, place.postfix)


@pytest.mark.parametrize("content", ["", "nonsense", "hash\n/x\n000\nbare\n", "a\n" * 9, "hash\n/x\n0x\nbare\nOK\n"])
def test_what_cannot_be_read_of_it_counts_as_nothing_kept(site: Site, content: str) -> None:
    (site.stamps / ".made-by").write_text(content)
    assert site.login(B) == GRANTED
    assert site.expire() == {}
