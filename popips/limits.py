"""Who may have a grant at all: what popips.conf and the admin's denials say of a login."""

from __future__ import annotations

from popips import address, denials
from popips.stamps import word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from popips.settings import Settings
    from popips.stamps import Folder

BY_HAND = "-"  # the service of a grant that the admin makes
PUSHED = "drop"  # the service of an address that a user put into the drop folder
ANONYMOUS = "anonymous"  # the user of a login that everybody may make
OF_DOVECOT = "dovecot"  # the service of all of Dovecot's logins by PAM, unless it is configured to tell them apart


def refusal(settings: Settings, folder: Folder, name: str, user: str, service: str, now: float) -> str:
    """Give the reason why a login from the canonical address gets no grant, "" if it gets one. Raise StampError."""
    if service != BY_HAND:
        if user.lower() == ANONYMOUS:
            return "an anonymous login: everybody could open the relay by it"
        if settings.only_services and service not in settings.only_services:
            return f"{word(service)} is not one of only_services: {_cure(service)}"
        if settings.only_group and not _is_member(user, settings.only_group):
            return f"{word(user)} is not in the group {settings.only_group} (only_group), or there is none"
    return barred(settings, denials.load(folder), name, now)


def _cure(service: str) -> str:
    if service == OF_DOVECOT:
        return "let its PAM passdb say args = %s (2.4: service_name = %{protocol}), and have a file in pam.d for each"
    return "add it to that in popips.conf, if its logins are to open the relay"


def barred(settings: Settings, denied: list[denials.Denial], name: str, now: float) -> str:
    """Give the reason why nobody at the address gets a grant, "" if there is none."""
    if address.is_in(name, settings.never):
        return "in a network of `never`"
    denial = denials.of(denied, name, now)
    return f"{denial.text} is denied by {denial.by}" if denial else ""


def _is_member(user: str, group: str) -> bool:
    import grp
    import pwd

    try:
        found = grp.getgrnam(group)
        return user in found.gr_mem or pwd.getpwnam(user).pw_gid == found.gr_gid
    except KeyError:
        return False
