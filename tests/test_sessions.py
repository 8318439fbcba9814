"""renew = sessions: an address with a session on a real Dovecot keeps its grant; one without loses it in time."""

from __future__ import annotations

import pytest

from expirer import sessions
from popips import denials
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


def connected(site: Site, *sessions: tuple[str, str, str], **settings: str) -> None:
    """Have Dovecot say that these are there: service, address, user."""
    doveadm = site.folder / "doveadm"
    who = '{"service":"%s","ip":"%s","username":"%s"}'
    doveadm.write_text(f"#!/bin/sh\necho '[{','.join(who % one for one in sessions)}]'\n")
    doveadm.chmod(0o755)
    site.configure(renew="sessions", doveadm=str(doveadm), **settings)


def renewed(site: Site) -> set[str]:
    """Renew them, and return the addresses that have a new time."""
    with site.host as host:
        number = sessions.renew(host, lambda: site.now + 100)
    names = {name for name in site.names() if (site.stamps / name).stat().st_mtime > site.now}
    assert len(names) == number
    return names


def test_only_services_that_fetch_mail_and_only_addresses_count(site: Site) -> None:
    there = [
        ("imap", V4, "alice"),
        ("submission", GONE, "alice"),
        ("imap", GONE, "anonymous"),
        ("imap", ENDED, "alice"),
        ("pop3", "..", "alice"),
        ("imap", "", "alice"),
        ("pop3", "2001:DB8:0::10", "alice"),
    ]
    connected(site, *there)
    for client in (V4, V6, GONE, ENDED):
        site.login(client)
    (site.stamps / ENDED).unlink()
    assert renewed(site) == {V4, V6}
    assert ENDED not in site.names()


@pytest.mark.parametrize(
    "settings",
    [
        {"only_services": "pop3"},
        {"only_group": "daemon"},
        {"never": V4},
        {"only_group": "nosuchgroup"},
    ],
    ids=str,
)
def test_who_would_get_no_grant_by_a_login_keeps_none_by_a_session(site: Site, settings: dict[str, str]) -> None:
    site.login(V4, "bin", "imap")
    connected(site, ("imap", V4, "bin"), **settings)
    assert renewed(site) == set()
    connected(site, ("imap", V4, "bin"))
    assert renewed(site) == {V4}


def test_a_denied_address_keeps_no_grant_by_a_session(site: Site) -> None:
    site.login(V4)
    connected(site, ("imap", V4, "alice"))
    with site.host as host:
        denials.add(host.folder, denials.Denial(V4, denials.FOR_EVER, "admin"), site.now)
    assert renewed(site) == set()


def test_denials_that_cannot_be_read_renew_nothing_and_stop_no_run(site: Site) -> None:
    site.login(V4)
    connected(site, ("imap", V4, "alice"))
    (site.stamps / ".denied").write_text("nonsense\n")
    assert renewed(site) == set()


def test_a_grant_that_is_to_end_is_not_renewed_by_a_session(site: Site) -> None:
    """Its stamp is not settled: only under the writers' lock can anybody say whether it has a record."""
    site.login(V4)
    connected(site, ("imap", V4, "alice"))
    (site.stamps / V4).chmod(0o600)
    assert renewed(site) == set()


@pytest.mark.parametrize("user", ["al ice", "j\xf6rg", "a@one.test", "100%"])
def test_one_session_of_several_is_enough(site: Site, user: str) -> None:
    site.login(V4, user)
    connected(site, ("imap", V4, "anonymous"), ("imap", V4, user), ("pop3", V4, "bob"))
    assert renewed(site) == {V4}
