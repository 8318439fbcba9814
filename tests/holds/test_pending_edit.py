"""An edit of the text that waits to be built, and many changes meanwhile, with a real sendmail whose client stays."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.box import Box
from tests.holds.room import addresses

V4 = "192.0.2.10"  # the client's; his network is the lab's
SESSION = """
import smtplib, sys
with smtplib.SMTP("192.0.2.1", 25, "client.example.test", 60, (sys.argv[1], 0)) as session:
    session.ehlo()
    while True:
        session.rset()
        session.mail("alice@example.test")
        print(session.rcpt("bob@outside.example")[0], flush=True)
        if not sys.stdin.readline():
            break
"""
MAKEFILE = "{db}: {text}\n\t@echo built\n"  # as of /etc/mail: built if the text is newer


class Session:
    """One SMTP connection that stays open."""

    def __init__(self, box: Box) -> None:
        words = ["ip", "netns", "exec", "cli", sys.executable, "-c", SESSION, V4]
        self.process = subprocess.Popen(box._entered(words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.first = self._answer()

    def _answer(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def rcpt(self) -> str:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        self.process.communicate()


def make_builds(box: Box) -> bool:
    makefile = box.scratch / "Makefile"
    makefile.write_text(MAKEFILE.format(db=f"{box.access}.db", text=box.access))
    done = subprocess.run(["make", "-s", "-f", str(makefile), f"{box.access}.db"], capture_output=True, text=True)
    return "built" in done.stdout


def seen_within(session: Session, code: str, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if session.rcpt() == code:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("pending", [False, True], ids=["no edit", "an edit waits"])
@pytest.mark.parametrize("many", [0, 120], ids=["one change", "many changes"])
def test_an_open_connection_sees_a_removal_within_three_seconds_and_make_still_sees_the_edit(
    box: Box, pending: bool, many: int
) -> None:
    box.write_access("x.example\tOK\n")
    box.start_sendmail()
    box.pam_login(V4)
    box.popips("popips-expire")
    session = Session(box)
    assert session.first == "250"
    if pending:
        box.access.write_text("x.example\tOK\nspammer.example\tREJECT\n")
        assert make_builds(box)
    if many:  # far more than one a second
        box.popips("popips-db", "ins", "-", stdin="".join(f"{name}\n" for name in addresses(many)))
        for name in addresses(20, "172.17"):
            box.pam_login(name)
        session.rcpt()
    box.let_the_window_pass(V4)
    assert box.popips("popips-expire").returncode == 0
    assert seen_within(session, "550", 3)
    assert make_builds(box) == pending
    assert os.stat(f"{box.access}.db").st_mtime <= time.time() + 1
    session.end()


def test_an_open_connection_sees_a_denial_and_an_end_within_three_seconds(box: Box) -> None:
    box.start_sendmail()
    for words in (["end", V4], ["deny", V4], ["del", V4]):
        box.popips("popips-db", "undeny", V4)
        box.pam_login(V4)
        session = Session(box)
        assert session.first == "250"
        box.access.write_text("# an edit waits\n")
        assert box.popips("popips-db", *words).returncode == 0
        box.popips("popips-expire")
        assert seen_within(session, "550", 3), words
        assert make_builds(box)
        box.write_access("")
        session.end()


def test_a_rebuild_after_many_changes_is_seen_by_an_open_connection(box: Box) -> None:
    """No change of popips may leave the map's time ahead of the clock."""
    box.start_sendmail()
    for name in addresses(40, "172.17"):
        box.pam_login(name)
    session = Session(box)
    assert session.first == "550"
    assert os.stat(f"{box.access}.db").st_mtime <= time.time()
    time.sleep(1.1 - time.time() % 1)  # makemap's own gap: two changes in one second
    box.write_access(f"{V4}\tRELAY\n")
    assert session.rcpt() == "250"
    session.end()


def test_an_edit_that_make_has_not_built_stays_visible_for_as_long_as_it_takes(box: Box) -> None:
    """Runs, logins and expiry for days: whenever make looks, it sees the edit."""
    box.pam_login(V4)
    box.popips("popips-expire")
    box.access.write_text("spammer.example\tREJECT\n")
    for number in range(12):
        box.pam_login(f"198.51.100.{number + 1}")
        box.let_the_window_pass(f"198.51.100.{number}")
        assert box.popips("popips-expire").returncode == 0
        assert make_builds(box), number
    assert Path(box.access).read_text() == "spammer.example\tREJECT\n"
