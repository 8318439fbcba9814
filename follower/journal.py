"""Lines out of `journalctl -o json`: what journald knows of each entry, in place of a head that anybody can write.

Fields that begin with _ are journald's own, see systemd.journal-fields(7); SYSLOG_IDENTIFIER and MESSAGE are the
writer's. So an entry is a program's only if it comes from a unit of its server as well.
"""

from __future__ import annotations

import json
from fnmatch import fnmatchcase

from follower.heads import Line, Wanted

# bytes of an entry: its message is of 4096 at most, of up to six bytes each in JSON, beside the fields
LONGEST = 1 << 18
KINDS = (".service", ".scope", ".slice", ".socket", ".mount", ".swap")  # of units whose processes can write


def unit(name: str) -> str:
    """Return a unit's whole name, as systemctl(1) takes it: one without an ending is a service's."""
    return name if name.endswith(KINDS) or any(c in name for c in "*?[") else f"{name}.service"


def split(text: str, is_wanted: Wanted, units: tuple[str, ...]) -> Line | None:
    """Return an entry in its parts, its time as `@SECONDS`; None if it is none, or another program's or unit's.

    units: as fnmatch(3) has them.
    """
    if not text.startswith("{"):
        return None
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict):
        return None
    unit, program = entry.get("_SYSTEMD_UNIT"), entry.get("SYSLOG_IDENTIFIER", entry.get("_COMM"))
    if not isinstance(unit, str) or not any(fnmatchcase(unit, pattern) for pattern in units):
        return None
    if not isinstance(program, str) or not is_wanted(program):
        return None
    pid, stamp = entry.get("_PID"), entry.get("__REALTIME_TIMESTAMP")
    message = _text(entry.get("MESSAGE", ""))
    if message is None or not isinstance(stamp, str) or not (stamp.isascii() and stamp.isdigit()):
        return None
    return Line(f"@{stamp[:-6] or 0}.{stamp[-6:]:>06}", program, pid if isinstance(pid, str) else "", message)


def _text(message: object) -> str | None:
    """Return a message: a text, or its bytes if they are no UTF-8; None for a long one, which journalctl leaves out."""
    if isinstance(message, list):  # a writer can also give two messages, which is an array of texts
        try:
            return bytes(message).decode("utf-8", "replace")
        except (TypeError, ValueError):
            return None
    # JSON can name half a character, which nothing else can be made of
    return message.encode("utf-8", "replace").decode() if isinstance(message, str) else None
