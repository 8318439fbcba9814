"""The main job on the real servers: Dovecot, PAM, sendmail, makemap and cron, in a private box."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from pathlib import Path

import pytest

from tests.box import PASSWORD, Box

DENIED, RELAYED = "550", "250"
V4, V6, OTHER_V4, OTHER_V6 = "192.0.2.10", "2001:db8::10", "192.0.2.11", "2001:db8::11"
V6_KEY = "ipv6:2001:db8:0:0:0:0:0:10"


def expire(box: Box) -> None:
    done = box.popips("popips-expire")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("by", ["pam", "postlogin"])
def test_a_login_opens_the_relay_for_its_address_and_the_expirer_closes_it(box: Box, by: str) -> None:
    box.start_sendmail()
    box.start_dovecot(by)
    for protocol, address, other in (
        ("pop3", V4, OTHER_V4),
        ("pop3", V6, OTHER_V6),
        ("imap", V4, OTHER_V4),
        ("imap", V6, OTHER_V6),
    ):
        assert box.rcpt(address) == DENIED
        assert "Authentication failed" in box.login(protocol, address, password="wrong")
        assert box.rcpt(address) == DENIED
        assert box.login(protocol, address) == "ok"
        assert box.rcpt(address) == RELAYED
        assert box.rcpt(other) == DENIED
        assert box.login(protocol, address) == "ok"
        expire(box)
        assert box.rcpt(address) == RELAYED
        box.let_the_window_pass()
        expire(box)
        assert box.rcpt(address) == DENIED
        assert box.records() == {}
    where = f"map=hash:{box.access}.db"
    expected = [
        line
        for address, service in ((V4, "pop3"), (V6, "pop3"), (V4, "imap"), (V6, "imap"))
        for line in (
            f"granted: address={address} user=alice service={service} {where}",
            f"removed: address={address} {where}",
        )
    ]
    assert box.logged() == expected


@pytest.mark.parametrize("by", ["pam", "postlogin"])
def test_an_expired_account_opens_nothing(box: Box, by: str) -> None:
    box.start_dovecot(by)
    assert box.login("pop3", V4, user="carol") != "ok"
    assert box.login("imap", V6, user="carol") != "ok"
    assert (box.records(), os.listdir(box.stamps)) == ({}, [".expire"])


@pytest.mark.parametrize("by", ["pam", "postlogin"])
def test_static_records_on_the_clients_address_survive_login_and_expiry(box: Box, by: str) -> None:
    static = {V4: "RELAY", OTHER_V4: "REJECT", f"connect:{V6_KEY}": "REJECT"}
    box.write_access("".join(f"{key}\t{value}\n" for key, value in static.items()))
    box.start_sendmail()
    box.start_dovecot(by)
    verdicts = {V4: RELAYED, OTHER_V4: "550", V6: "550", OTHER_V6: DENIED}
    for address in (V4, OTHER_V4, V6):
        assert box.rcpt(address) == verdicts[address]
        assert box.login("pop3", address) == "ok"
        assert box.rcpt(address) == verdicts[address]
    box.let_the_window_pass()
    expire(box)
    assert box.records() == static
    assert [line.split()[0] for line in box.logged()] == ["static:"] * 3


@pytest.mark.parametrize("style", [{}, {"key": "connect"}], ids=["bare", "connect"])
def test_an_ipv4_mapped_address_is_its_ipv4_address(box: Box, style: dict[str, str]) -> None:
    """As Dovecot gives it on from XCLIENT and PROXY."""
    box.configure(**style)
    box.start_sendmail()
    box.pam_login("::ffff:192.0.2.10")
    assert [name for name in os.listdir(box.stamps) if not name.startswith(".")] == [V4]
    assert box.rcpt(V4) == RELAYED
    box.let_the_window_pass()
    expire(box)
    assert box.rcpt(V4) == DENIED


def test_compressed_keys_serve_a_sendmail_that_wants_them(box: Box) -> None:
    box.configure(compressed_ipv6="yes")
    box.start_sendmail("-OUseCompressedIPv6Addresses=true")
    box.pam_login(V6)
    assert box.rcpt(V6) == RELAYED
    box.configure(compressed_ipv6="no")
    box.let_the_window_pass()
    expire(box)
    assert box.rcpt(V6) == DENIED


@pytest.mark.parametrize("how", ["makemap in place", "a new file renamed over it"])
def test_a_rebuilt_map_gets_the_live_grants_back_at_the_next_run(box: Box, how: str) -> None:
    box.start_sendmail()
    box.pam_login(V4)
    box.pam_login(V6)
    rebuild = box.write_access if how == "makemap in place" else box.rename_access
    rebuild(f"{OTHER_V4} RELAY\n")
    assert (box.rcpt(V4), box.rcpt(V6), box.rcpt(OTHER_V4)) == (DENIED, DENIED, RELAYED)
    expire(box)
    assert (box.rcpt(V4), box.rcpt(V6), box.rcpt(OTHER_V4)) == (RELAYED, RELAYED, RELAYED)
    box.let_the_window_pass()
    expire(box)
    assert box.records() == {OTHER_V4: "RELAY"}


def test_a_login_passes_while_the_map_is_locked_and_is_granted_at_the_next_run(box: Box) -> None:
    box.start_dovecot()
    with Path(f"{box.access}.db").open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        start = time.monotonic()
        assert box.login("pop3", V4) == "ok"
        took = time.monotonic() - start
        assert [path.name.startswith(V4) for path in box.stamps.joinpath(".requests").iterdir()] == [True]
        assert [line.split()[0] for line in box.logged()] == ["deferred:"]
        assert took < HELD
    box.start_sendmail()
    assert box.rcpt(V4) == DENIED
    expire(box)
    assert box.rcpt(V4) == RELAYED


HELD = 10  # seconds for which the lock would be held, had the login not passed before


def test_an_open_connection_sees_grants_of_one_second_after_the_next_run(box: Box) -> None:
    """sendmail looks at the map's mtime in whole seconds, so that of two changes in one it sees the first."""
    soon = time.time() + 30
    os.utime(f"{box.access}.db", (soon, soon))  # however slow the machine, no login is in a later second
    box.start_sendmail()
    with box.session(V4) as rcpt:
        assert rcpt() == "550"
        for address in ("198.51.100.1", "198.51.100.2", V4):
            box.pam_login(address)
        expire(box)
        assert rcpt() == "250"


def test_python_pam_drives_the_stack(box: Box) -> None:
    """Without a server: the stack of contrib/pam.d/pop3, with the address that a server would set."""
    box.start_dovecot()
    program = f"""
import pam
asked = pam.PamAuthenticator()
for password in ("wrong", {PASSWORD!r}):
    print(asked.authenticate("alice", password, service="pop3", call_end=False))
    asked.pam_set_item(asked.handle, 4, b"{V6}")  # PAM_RHOST
    print(asked.pam_acct_mgmt(asked.handle, 0) if asked.code == 0 else "-")
"""
    done = box.run([sys.executable, "-c", program])
    assert done.stdout.split() == ["False", "-", "True", "0"], done
    assert box.records() == {V6_KEY: "RELAY"}


def test_who_waits_in_vain_is_shown_what_the_servers_said(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    box.start_dovecot()
    box.start_sendmail()
    assert box.rcpt(V4) == DENIED
    box.logged()  # all of it has come
    monkeypatch.setattr("tests.box.PATIENCE", 0)
    with pytest.raises(TimeoutError, match="no miracle") as waited:
        box.until("miracle", lambda: False)
    with pytest.raises(RuntimeError, match="no session: smtp") as refused:
        box.client("smtp", V4, OTHER_V4)  # where no server is
    for error in (waited, refused):
        assert "starting up for pop3, imap" in str(error.value)
        assert f"[{V4}], reject=550" in str(error.value)


def test_what_the_admin_puts_and_deletes_for_good_is_logged(box: Box) -> None:
    box.popips("popips-db", "ins", V4, "RELAY")
    box.popips("popips-db", "del", V4)
    where = f"user=root map=hash:{box.access}.db"
    assert box.logged() == [f"inserted: key={V4} value=RELAY {where}", f"deleted: key={V4} {where}"]


def test_popips_holds_nothing_and_leaves_no_process(box: Box) -> None:
    box.start_dovecot()
    assert box.login("pop3", V4) == "ok"
    expire(box)
    running = box.run(["ps", "-eo", "args"]).stdout
    assert str(box.programs) not in running
    with Path(f"{box.access}.db").open("r+b") as db, Path(f"{box.access}.db.popips").open("r+b") as journal:
        fcntl.flock(db, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_cron_runs_the_line_of_contrib(box: Box) -> None:
    """cron itself, at its minute, is seen in `make demo`; here its line is run as cron would."""
    text = (Path(__file__).parent.parent / "contrib" / "cron.d" / "popips").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("*"))
    *when, user, command = line.split(None, 6)
    assert (when, user) == (["*"] * 5, "root")
    box.pam_login(V4)
    box.let_the_window_pass()
    words = command.replace("/usr/local", str(box.programs)).split()
    done = box.run(["/bin/sh", "-c", " ".join([*words, "-c", str(box.conf)])])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert box.records() == {}
