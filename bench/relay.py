"""The measurements of MTAs that ask popips-mapd: RCPTs beside a hash map's, and the first one while it hangs."""

from __future__ import annotations

from collections.abc import Iterator

from bench.lab import Lab, told_by
from bench.site import SENDER
from bench.table import Row, Times
from tests.box import Box
from tests.mapd.test_mtas import Host
from tests.postfix import start_postfix

TURNS = 5
COUNT = 1000  # RCPTs of a turn
# milliseconds that an MTA waits for a server that hangs, and what it says then: contrib/sendmail/mapd.mc, and
# contrib/postfix/mapd.cf, which asks it twice, with a second between
HUNG = {"sendmail": (2000.0, "451"), "postfix": (5000.0, "554")}


def relay(lab: Lab) -> Iterator[Row]:
    """Time RCPTs to other domains from a client with a grant."""
    for mta, (patience, refused) in HUNG.items():
        programs, scratch = lab.box.programs, lab.box.scratch
        # a host of its own for each: a box has but one MTA
        with Box(programs, scratch / f"{mta}-hash") as theirs, Box(programs, scratch / f"{mta}-mapd") as ours:
            _with_map(theirs, mta)
            host = Host(ours, mta)
            ours.pam_login(SENDER)
            spent, waits = Times(), Times()
            for _ in range(TURNS):
                spent.append(sum(_rcpts(ours, COUNT)))
                waits.append(sum(_rcpts(theirs, COUNT)))
            yield Row(f"{COUNT:,} RCPTs through {mta}, mapd", "a hash map", 1 / 0.85, spent, waits)
            host.kill("STOP")
            hung = _rcpts(ours, 1, refused)
            host.kill("CONT")
            yield Row(f"the first RCPT through {mta}, mapd hangs", "its time-out", 1.1, hung, [patience])


def _with_map(box: Box, mta: str) -> None:
    """Have the MTA ask a hash map, in which popips puts the sender."""
    box.configure(map=f"hash:{box.access}", **({"mta": "postfix"} if mta == "postfix" else {}))
    box.pam_login(SENDER)
    if mta == "postfix":
        start_postfix(box, f"hash:{box.access}")
    else:
        box.start_sendmail()


def _rcpts(box: Box, count: int, wanted: str = "250") -> Times:
    """Return the milliseconds that each of so many RCPTs took, and see that it was answered so."""
    return [1000 * seconds for seconds in told_by(box, "rcpts", str(count), wanted)]
