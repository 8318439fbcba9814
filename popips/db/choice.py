"""Which grants the admin means, where he names no addresses: a user's, those in a network, or all."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator

from popips import address, command, requests, revoke
from popips.address import Network
from popips.db import words
from popips.db.known import Known
from popips.elsewhere import bars
from popips.login import Login
from popips.site import Site


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose grants."""
    parser.add_argument(
        "--user",
        metavar="USER",
        help="the grants of a user: those of addresses from which that user was the last to log in",
    )
    parser.add_argument("--network", metavar="ADDRESS/BITS", help="the grants in a network")
    lost = "records that look like a grant, but belong neither to a login nor to you"
    parser.add_argument("--orphans", action="store_true", help=lost)


def check(options: argparse.Namespace, named: list[str], ways: str) -> None:
    """Raise UsageError unless the command line chooses in one way; ways: what else there is to write."""
    chosen = [named, options.user is not None, options.network is not None, options.orphans, vars(options).get("all")]
    if sum(map(bool, chosen)) != 1:
        raise command.UsageError(f"{options.verb}: write {ways}, --user USER, --network ADDRESS/BITS, or --orphans")


def network(options: argparse.Namespace) -> Network | None:
    """Return the network that is chosen, None if none is; raise UsageError for what is none."""
    return words.network(options.network) if options.network is not None else None


def names(site: Site, options: argparse.Namespace) -> Iterator[str]:
    """Return the addresses of the grants that are chosen, and of the logins that wait."""
    within = network(options)
    waiting = {
        name: one.login for one in requests.there(site.folder, site.now) if (name := address.of_key(one.address))
    }
    for name in revoke.all_grants(site):
        logins = (waiting.get(name), site.folder.login(name)) if options.user is not None else ()
        if _is_chosen(options, within, name, logins):
            yield name


def elsewhere(site: Site, others: Known, options: argparse.Namespace) -> Iterator[str]:
    """Return the addresses that are chosen at which the relay is open by a login on another host, or will be."""
    within = network(options)
    for name in others.opening(bars(site)):
        there = others.elsewhere(name) if options.user is not None else None
        if _is_chosen(options, within, name, [there.login] if there else ()):
            yield name


def _is_chosen(options: argparse.Namespace, within: Network | None, name: str, logins: Iterable[Login | None]) -> bool:
    if within is not None:
        return address.is_in(name, (within,))
    return options.user is None or any(login.user == options.user for login in logins if login)


def none(options: argparse.Namespace) -> str:
    """Return that nothing is as it was chosen, in words."""
    return f"{options.user or options.network}: no grant" if options.user or options.network else "no grants"
