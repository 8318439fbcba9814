"""What becomes of an address: the one decision that a login, a run, a dry run, a rebuild and `why` ask for."""

from __future__ import annotations

from dataclasses import dataclass

# of a stamp
NONE, DUE, LIVE, SETTLED = "none", "due", "live", "settled"  # settled: live, and its record was seen in the map
# of the map
OURS, ADMINS = "ours", "admin's"  # or NONE; ours is the very record that a grant of the address has

# what is to be done
LEAVE = "leave"  # nothing
PUT = "put"  # make the stamp if there is none, put the record, settle the stamp
RENEW = "renew"  # the stamp is there, and its record: set its time
SETTLE = "settle"  # the same, without a login
REFUSE = "refuse"  # a login that gets no grant
STATIC = "static"  # a login that needs none: the admin has a record on the address
YIELD = "yield"  # end the grant, for the admin has a record on the address by now
BAR = "bar"  # end it, for nobody at the address gets one any more
EXPIRE = "expire"  # end it, for the last login is longer ago than the window
ELSEWHERE = "elsewhere"  # not of the table: the end of one that was ended on another host
STUCK = "stuck"  # not of the table: the login's stamp may not be changed, so that no grant can be made

ENDING = frozenset((YIELD, BAR, EXPIRE))
OPENING = frozenset((PUT, RENEW, SETTLE))


@dataclass(frozen=True)
class Case:
    """All that the fate of an address depends on."""

    stamp: str  # none, due, live or settled
    record: str  # none, ours or admin's
    named: bool = False  # whether the admin's text names the address, as the map does not say yet
    asked: bool = False  # whether somebody has logged in, and nobody has looked at that
    barred: bool = False  # whether nobody at the address gets a grant: never, denied, more than a limit


ANY, STAMP, RECORD = None, (DUE, LIVE, SETTLED), (OURS, ADMINS)

# stamp, record, named, asked, barred: the first row that fits counts
TABLE: tuple[tuple[object, object, bool | None, bool | None, bool | None, str], ...] = (
    (NONE, ANY, ANY, False, ANY, LEAVE),  # a record without a stamp is the admin's
    (NONE, ANY, ANY, True, True, REFUSE),
    (NONE, RECORD, ANY, True, False, STATIC),
    (NONE, NONE, True, True, False, STATIC),
    (NONE, NONE, False, True, False, PUT),
    (STAMP, ANY, ANY, ANY, True, BAR),
    (STAMP, ADMINS, ANY, ANY, False, YIELD),
    (STAMP, ANY, True, ANY, False, YIELD),
    (STAMP, NONE, False, True, False, PUT),
    (STAMP, OURS, False, True, False, RENEW),
    (DUE, ANY, False, False, False, EXPIRE),
    (STAMP, NONE, False, False, False, PUT),  # the map has lost it
    (LIVE, OURS, False, False, False, SETTLE),
    (SETTLED, OURS, False, False, False, LEAVE),
)


def fate(case: Case) -> str:
    """Return what is to be done."""
    if case.stamp == SETTLED and case.record == OURS and not (case.named or case.asked or case.barred):
        return LEAVE  # nearly always
    found = (case.stamp, case.record, case.named, case.asked, case.barred)
    return next(row[5] for row in TABLE if all(map(_fits, row, found)))


def _fits(wanted: object, there: object) -> bool:
    return wanted is None or there == wanted or (isinstance(wanted, tuple) and there in wanted)
