"""Walks Postfix's restrictions as its smtpd does for a RCPT to somebody elsewhere: postconf(5), access(5)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from popips import address
from popips.probe.postfix import LISTS, RECIPIENT, RELAY, Config, Restriction, is_mine

# what a table may say of a client; a number alone permits
REFUSES = re.compile(r"(REJECT|DEFER|DEFER_IF_PERMIT|DISCARD|DROP|[45]\d\d(?!\s*$))\b", re.I)
PERMITS = re.compile(r"(OK|permit)\b|\d+$", re.I)
GOES_ON = re.compile(r"(DUNNO|BCC|FILTER|HOLD|INFO|PREPEND|REDIRECT|WARN)\b", re.I)  # what else names restrictions
# what an entry's table has of keys, and a complaint
Query = Callable[[Restriction, Sequence[str]], tuple[dict[str, str], str]]


@dataclass(frozen=True)
class Verdict:
    """What the lists say to a client. by: the entry that has decided, and its list; found: the records on the way.

    complaint: why a table could not be asked, which Postfix answers with 451; table: which one that is. unclear:
    records that name restrictions, which are not looked into.
    """

    relays: bool
    by: str
    found: tuple[str, ...]
    complaint: str = ""
    table: str = ""
    unclear: tuple[str, ...] = ()


def walk(config: Config, name: str, query: Query) -> Verdict:
    """Return what becomes of a client with this canonical address.

    What depends on more than its address lets it pass, as it does a client that is in order.
    """
    key = address.key(name, "postfix", False)
    keys = [each.decode() for each in (key, *address.wider(key))]  # a network's record is for want of the address's own
    found: list[str] = []
    unclear: list[str] = []
    permitted = ""
    for list_ in LISTS:
        for entry in config.restrictions(list_):
            record = ""
            if entry.name in ("check_client_access", "check_policy_service"):
                answers, complaint = query(entry, keys)
                if complaint:
                    return Verdict(False, f"{entry} in {list_}", tuple(found), complaint, entry.of)
                its = next((each for each in keys if each in answers), "")
                record = answers.get(its, "")
                found += [f"{its} {record}"] if its else []
                if record and not any(kind.match(record) for kind in (REFUSES, PERMITS, GOES_ON)):
                    unclear.append(f"{its} {record}")
            if entry.refuses_strangers or REFUSES.match(record):
                return Verdict(False, f"{entry} in {list_}", tuple(found), unclear=tuple(unclear))
            is_own = entry.name == "permit_mynetworks" and is_mine(config, name)
            if entry.permits_all or is_own or PERMITS.match(record):
                permitted = permitted or (f"{entry} in {list_}" if list_ in (RELAY, RECIPIENT) else "")
                break
    by = permitted or "nothing in its restrictions refuses it"
    return Verdict(True, by, tuple(dict.fromkeys(found)), unclear=tuple(unclear))
