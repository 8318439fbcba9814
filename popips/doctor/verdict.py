"""What all checks come to in a line: whether a login opens the relay, and whether that ends."""

from __future__ import annotations

from collections.abc import Iterable

from popips.doctor.check import FAIL, Check
from popips.doctor.mapd import NO_FILE
from popips.doctor.share import is_cut_off

ENDS = ("expirer.started", "expirer.run")  # without them no record is taken out of a map
OPEN, CLOSED = "open to logins", "NOT open to logins"
UNSWEPT = "open to logins, and stamps are not swept"  # with popips-mapd, a grant ends by the time of its stamp
APART = "open to logins here, NOT to those on other hosts"
STAYS, OLD_ONES_STAY = "open, and STAYS open", "NOT open, grants stay"  # for nothing ends what there is


def verdict(checks: Iterable[Check]) -> str:
    """Return the verdict; OPEN or APART where no check fails."""
    there = list(checks)
    failed = {check.id for check in there if check.status == FAIL}
    if all(name.startswith("share.") for name in failed):
        return APART if any(map(is_cut_off, there)) else OPEN
    by_mapd = any(check.found == NO_FILE for check in there)  # which looks at the stamps' times itself
    if not failed.intersection(ENDS) or by_mapd:
        return UNSWEPT if by_mapd and failed <= set(ENDS) else CLOSED
    return STAYS if failed <= set(ENDS) else OLD_ONES_STAY
