"""docs/caveats.md: each caveat has what happens, how it is seen and what to do; and what it says of backups is so."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import Site
from tests.test_docs import ROOT, plain

PAGE = (ROOT / "docs/caveats.md").read_text()
SECTIONS = dict(re.findall(r"^## ([^\n]*)\n\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))
PARTS = ["**What happens:**", "**How you see it:**", "**What to do:**"]
V4, OTHER = "192.0.2.10", "192.0.2.11"
# what popips(7) says in CAVEATS, and the section that says the same, and more
IN_THE_MANUAL = {
    "behind a NAT": "Several people behind one address (NAT)",
    "next holder of a dynamic address": "The next holder of a dynamic address",
    "must fetch mail before they send": "Clients have to fetch first",
    "logs in by IPv4 and sends by IPv6": "Login by IPv4, mail by IPv6",
    "new temporary IPv6 address": "IPv6 privacy addresses",
    "Behind a proxy": "Proxies hide addresses",
    "whoever it takes addresses from": "Trusted networks claim addresses",
    "restored from a backup": "Backups of the stamps",
    "an old access.db": "A map that was restored or rebuilt",
    "most specific record wins": "A login overrules the REJECT of a network",
    "2001:db8::10:5": "Postfix takes a grant of IPv6 for a network, too",
    "edit of the map's text": "An edit of access that waits for make",
    "popips-expire does not run": "When popips-expire does not run",
    "clock is wrong": "A wrong clock",
    "451 to each client": "Removing popips in the wrong order",
}


@pytest.mark.parametrize("heading", SECTIONS)
def test_a_caveat_says_what_happens_how_it_is_seen_and_what_to_do(heading: str) -> None:
    assert re.findall(r"^\*\*[^*]*\*\*", SECTIONS[heading], re.M) == PARTS


def test_the_manual_names_what_the_page_tells_more_of() -> None:
    manual = plain(ROOT / "man/popips.7").replace("\u2010", "-").partition("CAVEATS")[2]
    assert [words for words in IN_THE_MANUAL if words not in manual] == []
    assert [heading for heading in IN_THE_MANUAL.values() if heading not in SECTIONS] == []
    assert set(SECTIONS) - set(IN_THE_MANUAL.values()) == {"Webmail", "PAM against the post-login script"}


def backed_up(site: Site, copy: Path) -> None:
    """Have a backup of the stamps of two grants that have ended since."""
    for address in (V4, OTHER):
        site.login(address)
    shutil.copytree(site.stamps, copy)
    site.pass_window()
    site.expire()
    assert (site.records(), site.names()) == ({}, set())


def test_stamps_that_are_restored_with_their_times_grant_nothing(site: Site, tmp_path: Path) -> None:
    backed_up(site, tmp_path / "backup")
    for address in (V4, OTHER):
        shutil.copy2(tmp_path / "backup" / address, site.stamps / address)
    site.expire()
    assert (site.records(), site.names()) == ({}, set())


def test_stamps_that_are_restored_without_their_times_are_new_logins_for_a_window(site: Site, tmp_path: Path) -> None:
    backed_up(site, tmp_path / "backup")
    for address in (V4, OTHER):
        shutil.copy(tmp_path / "backup" / address, site.stamps / address)
        os.utime(site.stamps / address, (site.now, site.now))  # the time of the copy
    site.build("")  # as after a reboot, the next run looks at all stamps
    site.expire()
    assert site.records() == {V4: "RELAY", OTHER: "RELAY"}
    site.pass_window()
    site.expire()
    assert (site.records(), site.names()) == ({}, set())
