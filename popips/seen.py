"""What the last whole run saw: as long as that is what there is, nothing but logins has changed any grant since."""

from __future__ import annotations

from popips.files import identity, identity_of
from popips.maps import Records, exists
from popips.site import Site
from popips.stamps import DENIED, DENIED_ELSEWHERE, SEEN

EVERY = 3600.0  # seconds after which a run looks at all grants, whatever it knows


def holds(site: Site) -> bool:
    """Whether popips.conf, the admin's text and the denials are what they were, and that is not too long ago."""
    line, _, rest = site.folder.read(SEEN).decode(errors="replace").partition("\n")
    time, _, _ = rest.partition("\n")
    return line == saw(site) and time.isdigit() and 0 <= site.now - int(time) < EVERY


def is_all(site: Site) -> bool:
    """Whether nothing but popips has changed the map, either. Raise MapError."""
    if not exists(site.form.place.path):
        return False
    with site.writer() as writer:
        return holds(site) and writer.sealed()


def forget(site: Site) -> None:
    """Have the next run look at all grants, until keep() is called: this one may be killed."""
    site.folder.remove(SEEN)


def keep(site: Site, saw: str, unbuilt: str) -> None:
    """Note what a run saw when it began, see saw(), and what the map lacks of the admin's text, see unbuilt()."""
    site.folder.replace(SEEN, f"{saw}\n{int(site.now)}\n{unbuilt}\n".encode())


def saw(site: Site) -> str:
    """Return what holds() compares, to be asked before the grants are looked at."""
    states = (site.folder.state(file) for file in (DENIED, DENIED_ELSEWHERE))
    denied = " ".join(identity(state) if state else "-" for state in states)
    return f"{site.settings.identity} {identity_of(site.text.path)} {denied}"


def unbuilt_then(site: Site) -> str:
    """Return what unbuilt() told the last run that looked at all grants."""
    return site.folder.read(SEEN).decode(errors="replace").partition("\n")[2].partition("\n")[2].strip()


def unbuilt(site: Site, records: Records) -> str:
    """Return how many records of the admin's text the map lacks, and the cure, "" if it lacks none."""
    lacks = [key for key, value in site.text.records().items() if records.get(key) != value]
    if not lacks:
        return ""
    what = f"{lacks[0].decode(errors='replace')}" + (f" and {len(lacks) - 1} more" if lacks[1:] else "")
    place = site.form.place
    return f"{site.text.path}: {what} not in {place.path} yet; build it: {place.build(site.text.path)}"
