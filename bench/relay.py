"""The measurements of MTAs that ask popips-mapd: RCPTs beside a hash map's, and the first one while it hangs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from bench.lab import Lab, told_by
from bench.mapd import compiled
from bench.site import SENDER
from bench.table import Row, Times
from tests.box import Box
from tests.mapd.test_mtas import DELAYED, Host
from tests.postfix import start_postfix

TURNS = 5
COUNT = 1000  # RCPTs of a turn
# milliseconds that an MTA waits for a server that hangs, and what it says then: contrib/sendmail/mapd.mc, and
# contrib/postfix/mapd.cf, which asks it twice, with a second between
HUNG = {"sendmail": (2000.0, "451"), "postfix": (5000.0, "554")}


def relay(lab: Lab) -> Iterator[Row]:
    """Time RCPTs to other domains from a client with a grant. Each host asks another, by otherwise the same lines."""
    for mta, (patience, refused) in HUNG.items():
        programs, scratch = lab.box.programs, lab.box.scratch
        others = {"hash": _with_map, "C": _with_c} if mta == "sendmail" else {"hash": _with_map}  # no C for policies
        with ExitStack() as stack:
            # a host of its own for each: a box has but one MTA
            boxes = {name: stack.enter_context(Box(programs, scratch / f"{mta}-{name}")) for name in ("mapd", *others)}
            host = Host(boxes["mapd"], mta)
            boxes["mapd"].pam_login(SENDER)
            for name, prepare in others.items():
                prepare(lab, boxes[name], mta)
            spent: dict[str, Times] = {name: [] for name in boxes}
            for _ in range(TURNS):
                for name, box in boxes.items():
                    spent[name].append(sum(_rcpts(box, COUNT)))
            what = f"{COUNT:,} RCPTs through {mta}, mapd"
            yield Row(what, "a hash map", 1 / 0.85, spent["mapd"], spent["hash"])
            if "C" in others:
                yield Row(what, "C, epoll and lstat", 2.5, spent["mapd"], spent["C"])
            host.kill("STOP")
            hung = _rcpts(boxes["mapd"], 1, refused)
            host.kill("CONT")
            yield Row(f"the first RCPT through {mta}, mapd hangs", "its time-out", 1.1, hung, [patience])


def _with_map(_: Lab, box: Box, mta: str) -> None:
    """Have the MTA ask a hash map, in which popips puts the sender."""
    box.configure(map=f"hash:{box.access}", **({"mta": "postfix"} if mta == "postfix" else {}))
    box.pam_login(SENDER)
    if mta == "postfix":
        start_postfix(box, f"hash:{box.access}")
    else:
        box.start_sendmail(before=DELAYED)


def _with_c(lab: Lab, box: Box, mta: str) -> None:
    """Have sendmail ask the C program, by the lines that it asks popips-mapd by."""
    host = Host(box, mta)
    box.pam_login(SENDER)
    host.end()
    box.daemon([str(compiled(lab)), "serve", host.socket, str(box.stamps), "900"])
    box.until("the C program", lambda: box.run(["test", "-S", host.socket]).returncode == 0)


def _rcpts(box: Box, count: int, wanted: str = "250") -> Times:
    """Return the milliseconds that each of so many RCPTs took, and see that it was answered so."""
    return [1000 * seconds for seconds in told_by(box, "rcpts", str(count), wanted)]
