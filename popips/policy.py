"""Who may have a grant at all: what popips.conf and the admin's denials say of a login."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from signal import SIG_DFL, SIGALRM, alarm, signal

from popips import address, denials
from popips.denials import Denial, Denied
from popips.login import BY_HAND, Login, word
from popips.settings import Settings
from popips.site import Site
from popips.stamps import DENIED_ELSEWHERE, StampError, StampFailed

ANONYMOUS = "anonymous"  # the user of a login that everybody may make
OF_DOVECOT = "dovecot"  # the service of all of Dovecot's logins by PAM, unless it is configured to tell them apart

NEVER = "in a network of `never`"
PATIENCE = 1  # seconds that the users' data base, LDAP for instance, has for an answer: a login waits for it


class NoAnswer(StampFailed):
    """The users' data base does not answer; str() says what for, and the cure."""


Bars = Callable[[str], str]  # why nobody at a canonical address gets a grant, "" for no reason


def of_login(settings: Settings, login: Login) -> str:
    """Return the reason why this user's login by this service gets no grant, "" if it may get one."""
    if login.service == BY_HAND:
        return ""
    if login.user.lower() == ANONYMOUS:
        return "an anonymous login: everybody could open the relay by it"
    if settings.only_services and login.service not in settings.only_services:
        return f"{word(login.service)} is not one of only_services: {_cure(login.service)}"
    if settings.only_group and not _is_member(login.user, settings.only_group):
        return f"{word(login.user)} is not in the group {settings.only_group} (only_group), or there is none"
    return ""


def strict(site: Site) -> Bars:
    """Return who is kept out, for logins: everybody, where nobody can tell who is denied. Raise StampFailed."""
    try:
        return bars(site, denied(site, strictly=True))
    except StampFailed:
        raise
    except StampError as error:
        unclear = str(error)
        return lambda _: unclear


def bars(site: Site, known: Denied | None = None) -> Bars:
    """Return who is kept out by `never` and the denials, for a run: by those of them that can be read, if not told."""
    there = denied(site, strictly=False) if known is None else known

    def reason(name: str) -> str:
        if address.is_in(name, site.settings.never):  # this host itself, for instance
            return NEVER
        denial = there.of(name, site.now)
        return f"{told(denial)}: {there.cure(denial)}" if denial else ""

    return reason


def told(denial: Denial) -> str:
    """Return who keeps whom out."""
    return f"{denial.text} is denied by {denial.by}"


def denied(site: Site, strictly: bool, others: Collection[Denial] | None = None) -> Denied:
    """Return whom the admin keeps out, and whom other hosts do, as far as the last run of popips-expire knew.

    Raise StampError; strictly: also if a line of the admin's list cannot be read. others: what is known of them by now.
    """
    return Denied(denials.load(site.folder, strictly), elsewhere(site) if others is None else others)


def elsewhere(site: Site) -> list[Denial]:
    """Return whom other hosts keep out, as far as the last run of popips-expire knew."""
    return denials.load(site.folder, False, DENIED_ELSEWHERE) if site.settings.share else []


def _cure(service: str) -> str:
    if service == OF_DOVECOT:
        return "let its PAM passdb say args = %s (2.4: service_name = %{protocol}), and have a file in pam.d for each"
    return "add it to that in popips.conf, if its logins are to open the relay"


def is_group(group: str) -> bool:
    """Whether there is such a group; raise NoAnswer."""
    return _answered(group, lambda: _gid(group) is not None)


def _is_member(user: str, group: str) -> bool:
    return _answered(group, lambda: _gid(group) in _gids(user))


def _gid(group: str) -> int | None:
    import grp

    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        return None


def _gids(user: str) -> list[int]:
    import pwd

    try:
        return os.getgrouplist(user, pwd.getpwnam(user).pw_gid)  # gr_mem misses a group of two lines, and LDAP's
    except KeyError:
        return []


def _answered(group: str, ask: Callable[[], bool]) -> bool:
    """Return the answer; raise NoAnswer if it does not come.

    A process of its own asks, which an alarm ends: a run that waited for ever would leave all grants open.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal(SIGALRM, SIG_DFL)
            alarm(PATIENCE)
            os.write(write, b"yes" if ask() else b"no")
        finally:
            os._exit(0)
    os.close(write)
    answer = os.read(read, 3)
    os.close(read)
    os.waitpid(child, 0)
    if not answer:
        raise NoAnswer(f"only_group: the users' data base does not answer: does `getent group {group}`?")
    return answer == b"yes"
