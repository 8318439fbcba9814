"""A client that a DNSBL lists: whether its grant lets it relay, with each way to ask popips' map that contrib has."""

from __future__ import annotations

import sys

import pytest

from tests.box import LAB, Box
from tests.postfix import start_postfix

GRANTED, OTHER = "192.0.2.10", "192.0.2.11"
ZONE = "dnsbl.example"


@pytest.fixture
def listed(box: Box) -> Box:
    """A box where the DNSBL lists every client."""
    box.daemon([sys.executable, LAB / "dnsbl.py", ZONE])
    box.until("a name server", lambda: "127.0.0.1:53" in box.run(["ss", "-Hlun"]).stdout)
    return box


@pytest.mark.parametrize(
    ("way", "answer"),
    [("access.mc", "250"), ("own-drac.mc", "550"), ("own-check-rcpt.mc", "550"), ("own-sequence.mc", "250")],
)
def test_whether_sendmail_asks_for_the_grant_first_is_as_the_file_says(listed: Box, way: str, answer: str) -> None:
    if way != "access.mc":
        listed.configure(map=f"hash:{listed.scratch}/popips.db", own_map="yes")
    listed.pam_login(GRANTED)
    listed.start_sendmail(access=way, before=f"FEATURE(`dnsbl', `{ZONE}')dnl\n")
    assert [listed.rcpt(client) for client in (GRANTED, OTHER)] == [answer, "550"]
    assert f"listed at {ZONE}" in listed.log.read_text()


def test_postfix_asks_for_the_grant_first(listed: Box) -> None:
    listed.configure(map=f"hash:{listed.scratch}/popips.db", own_map="yes", mta="postfix")
    lines = listed.contrib("postfix/main.cf").partition("#smtpd_client_restrictions =\n")[2]
    rules = " ".join(line.strip("# ") for line in lines.splitlines())
    rules = rules.replace("/etc/postfix/access", str(listed.access)).replace("/var/lib/popips", str(listed.scratch))
    listed.pam_login(GRANTED)
    start_postfix(listed, f"hash:{listed.scratch}/popips", smtpd_client_restrictions=rules)
    assert [listed.rcpt(client) for client in (GRANTED, OTHER)] == ["250", "554"]
    listed.write_access(f"{GRANTED}\tREJECT\n")
    assert [listed.rcpt(client) for client in (GRANTED, OTHER)] == ["554", "554"]
