"""The fast lane: a login whose grant is settled has only to renew its stamp, without Python, lock or look at the map.

Nobody closes it: who ends a grant unsettles its stamp first, and looks at its time after that. So a login that finds
the stamp settled after it has renewed it has been seen. What a rebuild of the map has lost comes back with the next
run, as it does for all who do not log in meanwhile.

Each whole run writes the file .lane for pam_hook/lane.sh, a line for each word that sh needs, and one for us: what
popips.conf was. The lane is open while popips.conf is that, and the run is young.
"""

from __future__ import annotations

import os

from popips import limits
from popips.login import Login
from popips.site import Site
from popips.stamps import ALIVE, LANE, RUN_FILE
from popips.watch import DEAD_AFTER


def renewed(site: Site, name: str, login: Login) -> bool:
    """Renew the stamp of the address if the lane is open for it; return whether no more is to be done."""
    stamp, folder = site.folder.get(name), site.folder
    if stamp is None or not stamp.settled or site.is_due(stamp) or stamp.time > site.now:
        return False
    last_run = folder.time_of(RUN_FILE)
    if last_run is None or not 0 <= site.now - last_run <= DEAD_AFTER or folder.read(LANE) != _content(site):
        return False
    there = folder.login(name)
    if site.settings.max_per_user and (there is None or there.user != login.user):
        return False
    return folder.renew(name, None if limits.is_anothers(there, login) else login, site.now)


def open_(site: Site) -> None:
    """Open the lane, at the end of a whole run: every settled stamp has its record."""
    site.folder.replace(LANE, _content(site))
    site.folder.touch(ALIVE, site.now + DEAD_AFTER)


def _content(site: Site) -> bytes:
    of = site.settings
    conf = "" if of.lane_is_closed else of.path
    words = (conf, of.stamps, " ".join(of.only_services), "yes" if of.max_per_user else "", of.identity)
    return "".join(f"{word}\n" for word in words).encode()


def lead(site: Site) -> None:
    """Make the link by which lane.sh finds the lane: it stands beside popips.conf."""
    link, target = f"{site.settings.path}.lane", f"{site.settings.stamps}/{LANE}"
    try:
        if os.readlink(link) == target:
            return
    except OSError:
        pass  # there is none
    try:
        if os.path.lexists(link + ".new"):  # of a run that was killed here
            os.unlink(link + ".new")
        os.symlink(target, link + ".new")
        os.rename(link + ".new", link)
    except OSError:
        pass  # in a folder that is read only, say, each login takes the long way
