"""A map of popips' own beside the admin's access map, in each of the three ways of contrib/, as sendmail asks them."""

from __future__ import annotations

import pytest

from tests.box import SENDERS, WAYS, Box

A, B, SIX = "192.0.2.10", "192.0.2.11", "2001:db8::10"
SIX_KEY = "ipv6:2001:db8:0:0:0:0:0:10"


@pytest.mark.parametrize("before", ["", "FEATURE(`delay_checks', `friend', `n')dnl\n"], ids=["", "delay_checks"])
@pytest.mark.parametrize("way", WAYS)
def test_sendmail_asks_a_map_of_its_own_beside_access_db(box: Box, way: str, before: str) -> None:
    box.configure(map=f"hash:{box.scratch}/popips.db", own_map="yes")
    box.stamps.joinpath(".expire").touch()
    box.start_sendmail(access=way, before=before)
    # a missing map only denies
    assert [box.rcpt(client) for client in (A, SIX)] == ["550", "550"]
    for client in (A, SIX):
        box.pam_login(client)
    assert [box.rcpt(client) for client in (A, B, SIX)] == ["250", "550", "250"]
    # the admin's rebuild of access changes nothing, and a static REJECT wins
    box.write_access(f"connect:{A}\tREJECT\n")
    assert [box.rcpt(client) for client in (A, B, SIX)] == ["550", "550", "250"]
    box.write_access(f"connect:{SIX_KEY}\tREJECT\n")
    assert [box.rcpt(client) for client in (A, B, SIX)] == ["250", "550", "550"]
    box.write_access("from:alice@\tREJECT\n")
    assert [box.rcpt(client) for client in (A, SIX)] == ["550", "550"]
    box.write_access("from:alice@\tREJECT\n")
    assert [box.rcpt(client) for client in (A, B, SIX)] == ["550", "550", "550"]
    box.write_access("")
    assert [box.rcpt(client) for client in (A, B, SIX)] == ["250", "550", "250"]
    # gone, it only denies, until the next run
    (box.scratch / "popips.db").unlink()
    assert [box.rcpt(client) for client in (A, SIX)] == ["550", "550"]
    assert box.popips("popips-expire").returncode == 0
    assert [box.rcpt(client) for client in (A, B, SIX)] == ["250", "550", "250"]
    box.let_the_window_pass()
    assert box.popips("popips-expire").returncode == 0
    assert [box.rcpt(client) for client in (A, SIX)] == ["550", "550"]


@pytest.mark.parametrize("before", ["", "FEATURE(`delay_checks', `friend', `n')dnl\n"], ids=["", "delay_checks"])
@pytest.mark.parametrize("way", WAYS)
def test_the_sender_is_looked_at_as_without_popips(box: Box, way: str, before: str) -> None:
    box.configure(map=f"hash:{box.scratch}/popips.db", own_map="yes")
    box.pam_login(A)
    box.start_sendmail(access=way, before=before)
    assert [box.rcpt(A, sender) for sender in SENDERS] == list(SENDERS.values())


@pytest.mark.parametrize(("value", "answer"), [("OK", "550"), ("RELAY", "250")])
def test_only_the_value_relay_opens_by_check_rcpt(box: Box, value: str, answer: str) -> None:
    """Whatever else a map says, a temporary failure for instance, closes."""
    box.configure(map=f"hash:{box.scratch}/popips.db", own_map="yes", value=value)
    box.pam_login(A)
    box.start_sendmail(access="own-check-rcpt.mc")
    assert box.rcpt(A) == answer


@pytest.mark.parametrize(
    ("way", "answer"),
    [("access.mc", "250"), ("own-drac.mc", "550"), ("own-check-rcpt.mc", "550"), ("own-sequence.mc", "250")],
)
def test_a_networks_reject_is_overruled_where_the_most_specific_record_wins(box: Box, way: str, answer: str) -> None:
    if way != "access.mc":
        box.configure(map=f"hash:{box.scratch}/popips.db", own_map="yes")
    box.write_access("192.0.2\tREJECT\n")
    box.start_sendmail(access=way)
    assert box.rcpt(A) == "550"
    box.pam_login(A)
    assert box.rcpt(A) == answer


@pytest.mark.parametrize(
    ("way", "answer"), [("own-drac.mc", "451"), ("own-check-rcpt.mc", "451"), ("own-sequence.mc", "250")]
)
def test_the_trap_of_each_way_is_as_its_file_says(box: Box, way: str, answer: str) -> None:
    """Without access.db, its REJECTs are gone in a sequence."""
    box.configure(map=f"hash:{box.scratch}/popips.db", own_map="yes")
    box.pam_login(A)
    box.write_access(f"connect:{A}\tREJECT\n")
    (box.scratch / "access.db").unlink()
    box.start_sendmail(access=way)
    assert box.rcpt(A) == answer
