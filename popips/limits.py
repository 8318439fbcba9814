"""How many live grants one user, or one network, may have: which are more than max_per_user and max_per_network."""

from __future__ import annotations

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


def surplus(site: Site, latest: dict[str, Login] | None = None) -> dict[str, Surplus]:
    """Return the oldest grants that are more than a limit, by address.

    latest: the logins that were dealt with just now, by address; then only their users and networks are looked at. A
    stamp from the future counts as made now, and before those.
    """
    most = site.settings.max_per_user, site.settings.max_per_network
    if not any(most):
        return {}
    users = None if latest is None else {login.user for login in latest.values()}
    networks = None if latest is None else {address.network(name) for name in latest}
    of_user: dict[str, list[tuple[float, bool, str, float]]] = {}
    of_network: dict[str, list[tuple[float, bool, str, float]]] = {}
    for name, stamp in site.folder.scan():
        if site.is_due(stamp):
            continue
        age = (min(stamp.time, site.now), name in (latest or ()), name, stamp.time)
        network = address.network(name)
        if most[1] and (networks is None or network in networks):
            of_network.setdefault(network, []).append(age)
        login = site.folder.login(name) if most[0] else None
        if login and login.service != BY_HAND and (users is None or login.user in users):
            of_user.setdefault(login.user, []).append(age)
    found: dict[str, Surplus] = {}
    for ages, limit, setting in ((of_user, most[0], "max_per_user"), (of_network, most[1], "max_per_network")):
        for whose, his in ages.items():
            for _, _, name, last in sorted(his)[: max(0, len(his) - limit)]:
                found[name] = Surplus(last, setting, whose)
    return found


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
