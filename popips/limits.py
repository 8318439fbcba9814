"""How many live grants one user, or one network, may have: which are more than max_per_user and max_per_network."""

from __future__ import annotations

from collections.abc import Iterable

from popips import address
from popips.login import BY_HAND, PUSHED, Login, word
from popips.site import Site


def surplus(site: Site, latest: dict[str, Login] | None = None) -> dict[str, str]:
    """Return the oldest grants that are more than a limit: each address with the reason.

    latest: the addresses that have logged in just now, which count as the newest, whatever the clock says; then only
    their users and networks are looked at.
    """
    most = site.settings.max_per_user, site.settings.max_per_network
    if not any(most):
        return {}
    users = None if latest is None else {login.user for login in latest.values()}
    networks = None if latest is None else {address.network(name) for name in latest}
    of_user: dict[str, list[tuple[bool, float, str]]] = {}
    of_network: dict[str, list[tuple[bool, float, str]]] = {}
    for name, stamp in site.folder.scan():
        if site.is_due(stamp):
            continue
        age = (name in (latest or ()), stamp.time, name)
        network = address.network(name)
        if most[1] and (networks is None or network in networks):
            of_network.setdefault(network, []).append(age)
        login = site.folder.login(name) if most[0] else None
        if login and login.service != BY_HAND and (users is None or login.user in users):
            of_user.setdefault(login.user, []).append(age)
    return {
        **{name: f"max_per_user: {word(user)}" for user, name in _oldest(of_user, most[0])},
        **{name: f"max_per_network: {network}" for network, name in _oldest(of_network, most[1])},
    }


def _oldest(grants: dict[str, list[tuple[bool, float, str]]], most: int) -> Iterable[tuple[str, str]]:
    for whose, ages in grants.items():
        for _, _, name in sorted(ages)[: max(0, len(ages) - most)]:
            yield whose, name


def is_anothers(there: Login | None, login: Login) -> bool:
    """Whether a login must not make the grant of an address its user's own.

    Anybody can push any address into the drop folder: the grant of another user there must not end with his next one.
    """
    return login.service == PUSHED and (there is None or there.user != login.user)
