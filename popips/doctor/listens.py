"""mta.listens: whether anybody but the host itself can reach the MTA, and so make use of a grant."""

from __future__ import annotations

import re
from collections.abc import Iterator

from popips.doctor.check import FAIL, Check, Finding, Patient, judged, skipped
from popips.probe import postfix, sendmail, units

ID, WANTED = "mta.listens", "an MTA that clients elsewhere can reach"


def look(patient: Patient) -> Iterator[Check]:
    """Look at the addresses at which the MTA listens."""
    if patient.settings.mta == "postfix":
        yield judged(ID, WANTED, "", list(_postfix(patient)))
    elif patient.cf:
        yield judged(ID, WANTED, "", list(_sendmail(patient, patient.cf)))
    else:
        yield skipped(ID, f"there is no {sendmail.CF}")


def _postfix(patient: Patient) -> Iterator[Finding]:
    at = patient.postfix.values.get("inet_interfaces", "")
    if postfix.is_loopback(at):
        again = "systemctl restart postfix" if units.has_systemd(patient.machine) else "postfix stop; postfix start"
        fix = f"postconf -e 'inet_interfaces = all'; {again}"  # a reload does not open another socket: postconf(5)
        yield Finding(FAIL, "Postfix listens on loopback only, and serves nobody else", f"inet_interfaces = {at}", fix)


def _sendmail(patient: Patient, cf: sendmail.Cf) -> Iterator[Finding]:
    if cf.is_local_only:
        ports = "; ".join(f"DaemonPortOptions={port}" for port in cf.ports)
        yield Finding(FAIL, "sendmail listens on loopback only, and serves nobody else", ports, _edit(patient))


def _edit(patient: Patient) -> str:
    """Return the command that has sendmail serve others: by IPv6, too, with a socket that takes both."""
    edit = "s/^(DAEMON_OPTIONS\\(`Family=inet6?, .*Port=smtp), Addr=[^,'\\'']*/\\1/"
    debians = "s/^(DAEMON_OPTIONS\\(`Family=inet), +Name=MTA-v4, Port=smtp, Addr=[^,'\\'']*/\\16, Name=MTA, Port=smtp/"
    if not re.search(r"^DAEMON_OPTIONS\(`Family=inet6", patient.machine.read(sendmail.MC), re.M):
        edit = f"{debians};{edit}"
    return f"sed -i -E '{edit}' {sendmail.MC}; {sendmail.MAKE_AND_RESTART}"
