"""How many live grants one user, or one network, may have: which are more than max_per_user and max_per_network.

By the drop folder a user has one address at a time, whatever the settings say: with the next, the one before ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from popips import address
from popips.login import BY_HAND, PUSHED, Login, word
from popips.policy import Bars
from popips.site import Site


@dataclass(frozen=True)
class Surplus:
    """A grant that is one too many: when its last login was, in seconds since the epoch, by which setting, and of whom.

    whose: a user, or a network.
    """

    last: float
    setting: str
    whose: str

    @property
    def reason(self) -> str:
        """What a log line says of it."""
        return f"{self.setting}: {word(self.whose)}"


@dataclass(frozen=True)
class Held:
    """A live grant: its address, when its last login was, and whose that was, as far as a limit asks for it."""

    name: str
    last: float
    login: Login | None


def held(site: Site, with_logins: bool) -> Iterator[Held]:
    """Return the live grants; with_logins: whether it is to be read whose they are."""
    for name, stamp in site.folder.scan():
        if not site.is_due(stamp):
            yield Held(name, stamp.time, site.folder.login(name) if with_logins else None)


def surplus(
    site: Site, latest: dict[str, Login] | None = None, there: Iterable[Held] | None = None
) -> dict[str, Surplus]:
    """Return the oldest grants that are more than a limit, by address.

    latest: the logins that were dealt with just now, by address; then only their users and networks are looked at. A
    stamp from the future counts as made now, but before those. there: the live grants, if not those of the stamps.
    """
    limits = _limits(site, latest)
    if not limits:
        return {}
    concerned = None
    if latest is not None:
        concerned = {login.user for login in latest.values()} | {address.network(name) for name in latest}
    ages: dict[tuple[str, str], list[tuple[float, bool, str, float]]] = {}
    of_users = bool(limits.keys() - {"max_per_network"})
    for grant in held(site, of_users) if there is None else there:
        age = (min(grant.last, site.now), grant.name in (latest or ()), grant.name, grant.last)
        for setting, whose in _counted(grant, limits):
            if concerned is None or whose in concerned:
                ages.setdefault((setting, whose), []).append(age)
    return {
        name: Surplus(last, setting, whose)
        for (setting, whose), his in ages.items()
        for _, _, name, last in sorted(his)[: max(0, len(his) - limits[setting])]
    }


def _limits(site: Site, latest: dict[str, Login] | None) -> dict[str, int]:
    """Return the limits that there are."""
    limits = {"max_per_user": site.settings.max_per_user, "max_per_network": site.settings.max_per_network}
    if latest is not None and any(login.service == PUSHED for login in latest.values()):
        limits[PUSHED] = 1
    return {setting: most for setting, most in limits.items() if most}


def _counted(grant: Held, limits: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Return by which limits a grant counts, each with the user or network."""
    if "max_per_network" in limits:
        yield "max_per_network", address.network(grant.name)
    if grant.login and grant.login.service != BY_HAND:
        if "max_per_user" in limits:
            yield "max_per_user", grant.login.user
        if PUSHED in limits and grant.login.service == PUSHED:
            yield PUSHED, grant.login.user


def bars(site: Site, over: dict[str, Surplus]) -> Bars:
    """Return who is kept out as one too many: whoever has not logged in again since that was found."""

    def reason(name: str) -> str:
        stamp = site.folder.get(name)
        return over[name].reason if stamp and stamp.time == over[name].last else ""

    return reason


def is_anothers(there: Login | None, login: Login) -> bool:
    """Whether a login must not make the grant of an address its user's own.

    Anybody can push any address into the drop folder: the grant of another user there must not end with his next one.
    """
    return login.service == PUSHED and (there is None or there.user != login.user)
