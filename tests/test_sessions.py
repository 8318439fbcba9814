"""renew = sessions: an address with a session on a real Dovecot keeps its grant; one without loses it in time."""

from __future__ import annotations

import os

import pytest

from expirer import sessions
from tests.box import Box
from tests.conftest import Site

V4, V6, GONE, ENDED = "192.0.2.10", "2001:db8::10", "192.0.2.11", "192.0.2.12"


def granted(box: Box) -> set[str]:
    assert box.popips("popips-expire").returncode == 0
    return {stamp.name for stamp in box.stamps.iterdir() if not stamp.name.startswith(".")}


def test_a_session_that_lasts_keeps_its_grant(box: Box) -> None:
    doveadm = f"doveadm -c {box.scratch}/dovecot.conf"
    box.configure(renew="sessions", doveadm=doveadm)
    box.start_dovecot()
    for client in (V4, V6, GONE):
        assert box.login("imap", client) == "ok"
    with box.idling(V4), box.idling(V6):
        box.let_the_window_pass()
        (box.stamps / V6).unlink()  # what has no stamp gets none
        assert granted(box) == {V4}
        box.configure(doveadm=doveadm)  # renew = logins, the default
        box.let_the_window_pass()
        assert granted(box) == set()


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("echo '['", "Expecting value"),
        ("echo '[{\"ip\": 1}]'", "'service'"),
        ("echo 7", "not iterable"),
        ('echo \'[{"service": "imap", "ip": null}]\'', "NoneType"),
        ("echo no such socket >&2; exit 75", "no such socket"),
        ("kill -9 $$", "died with <Signals.SIGKILL"),
    ],
)
def test_where_dovecot_does_not_tell_that_is_logged_and_all_else_is_done(box: Box, printed: str, said: str) -> None:
    doveadm = box.scratch / "doveadm"
    doveadm.write_text(f"#!/bin/sh\n{printed}\n")
    doveadm.chmod(0o755)
    box.configure(renew="sessions", doveadm=str(doveadm))
    box.pam_login(V4)
    box.let_the_window_pass()
    assert granted(box) == set()
    (line,) = [line for line in box.logged() if line.startswith("error: ")]
    assert said in line and "set doveadm in popips.conf" in line


def test_only_services_that_fetch_mail_and_only_addresses_count(site: Site) -> None:
    doveadm = site.folder / "doveadm"
    who = '{"service":"%s","ip":"%s","username":"%s"}'
    there = [
        ("imap", V4, "alice"),
        ("submission", GONE, "alice"),
        ("imap", GONE, "anonymous"),
        ("imap", ENDED, "alice"),
        ("pop3", "..", "alice"),
        ("imap", "", "alice"),
        ("pop3", "2001:DB8:0::10", "alice"),
    ]
    doveadm.write_text(f"#!/bin/sh\necho '[{','.join(who % one for one in there)}]'\n")
    doveadm.chmod(0o755)
    site.configure(renew="sessions", doveadm=str(doveadm))
    for client in (V4, V6, GONE, ENDED):
        site.login(client)
    os.utime(site.stamps / ENDED, (0, 0))
    assert sessions.renew(site.settings, lambda: site.now + 100) == 2
    assert {name for name in (V4, V6, GONE, ENDED) if (site.stamps / name).stat().st_mtime > site.now} == {V4, V6}
