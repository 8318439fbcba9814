"""What systemd hands to a service, and hears of it: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3)."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

FIRST = 3  # the first descriptor that is handed over


def handed(environment: Mapping[str, str]) -> list[tuple[str, socket.socket]]:
    """Return the sockets that are handed to this process, each with the name that its unit gives it."""
    count = environment.get("LISTEN_FDS", "")
    if environment.get("LISTEN_PID") != str(os.getpid()) or not count.isdigit():
        return []
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    names += [""] * int(count)
    return [(names[number], socket.socket(fileno=FIRST + number)) for number in range(int(count))]


def notify(environment: Mapping[str, str], text: str) -> None:
    """Send systemd one of READY=1, WATCHDOG=1, STOPPING=1 where it listens, and wait for nothing."""
    path = environment.get("NOTIFY_SOCKET", "")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as its:
        try:
            its.sendto(text.encode(), socket.MSG_DONTWAIT, "\0" + path[1:] if path.startswith("@") else path)
        except OSError:
            pass  # nobody is there to hear it


def watchdog(environment: Mapping[str, str]) -> float | None:
    """Return after how many seconds systemd wants to hear again that this process lives; None if it does not."""
    usec, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", str(os.getpid()))
    return int(usec) / 2e6 if usec.isdigit() and int(usec) and pid == str(os.getpid()) else None
