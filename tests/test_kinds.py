"""One table for all kinds of maps: each does the same for a login, as the MTA's own tools and a real Postfix see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.box import Box
from tests.postfix import start_postfix, unpack_postfix
from tests.sendmail_cdb import take_berkeley_db_away

V4, OTHER, V6 = "192.0.2.10", "192.0.2.11", "2001:db8::10"


@dataclass(frozen=True)
class Kind:
    """A kind of map: who asks it, whether it is popips' own, what its file ends in, what prints one of sendmail's."""

    mta: str
    kind: str
    own: bool
    suffix: str = ".db"
    dump: str = "makemap -u {kind} {file}"

    def __str__(self) -> str:
        return f"{self.mta}-{self.kind}{'-own' if self.own else ''}"

    @property
    def postfix(self) -> bool:
        return self.mta == "postfix"

    def key(self, address: str) -> str:
        return address if self.postfix or ":" not in address else "ipv6:2001:db8:0:0:0:0:0:10"

    @property
    def value(self) -> str:
        return "OK" if self.postfix else "RELAY"


KINDS = [Kind(mta, kind, own) for mta in ("sendmail", "postfix") for kind in ("hash", "btree") for own in (False, True)]
KINDS += [
    Kind("postfix", "lmdb", True, ".lmdb"),
    Kind("postfix", "cdb", True, ".cdb"),
    Kind("sendmail", "cdb", True, ".cdb"),
]
WHOLE = [kind for kind in KINDS if kind.kind in ("lmdb", "cdb")]
STATIC = "198.51.100.7"


class Host:
    """A box with the tools of the MTA, and a map of that kind in use."""

    def __init__(self, box: Box, kind: Kind) -> None:
        self.box, self.kind = box, kind
        self.text = box.scratch / "clients"
        self.file = box.scratch / f"clients{kind.suffix}"
        if kind.postfix:
            unpack_postfix(box)
        elif kind.kind == "cdb":
            take_berkeley_db_away(box)
        settings = {"own_map": "yes"} if kind.own else {}
        box.configure(mta=kind.mta, map=f"{kind.kind}:{self.text}", **settings)
        if kind.own:
            self.expire()
        else:
            self.build(f"{STATIC} REJECT\n")

    def build(self, text: str) -> None:
        """Build the map from its text, as the admin does."""
        self.text.write_text(text)
        command = ["postmap", f"{self.kind.kind}:{self.text}"]
        if not self.kind.postfix:
            command = ["sh", "-c", f"makemap {self.kind.kind} {self.text} < {self.text}"]
        done = self.box.run(command)
        assert done.returncode == 0, done.stderr

    def ask(self, address: str) -> str:
        """What the MTA's own tool finds for the client's address."""
        key = self.kind.key(address)
        if self.kind.postfix:
            return self.box.run(["postmap", "-q", key, f"{self.kind.kind}:{self.text}"]).stdout.strip()
        command = self.kind.dump.format(kind=self.kind.kind, file=self.file).split()
        found = (line.partition("\t") for line in self.box.run(command).stdout.splitlines())
        return {name: value for name, _, value in found}.get(key, "")

    def expire(self) -> None:
        done = self.box.popips("popips-expire")
        assert (done.returncode, done.stderr) == (0, "")

    @property
    def static(self) -> str:
        """What the map says of the admin's record: a map of its own has none."""
        return "" if self.kind.own else "REJECT"


@pytest.fixture(params=KINDS, ids=str)
def host(box: Box, request: pytest.FixtureRequest) -> Host:
    return Host(box, request.param)


def test_a_login_puts_its_record_and_expiry_takes_it_out(host: Host) -> None:
    for address in (V4, V6):
        assert host.ask(address) == ""
        host.box.pam_login(address)
        assert host.ask(address) == host.kind.value
    host.expire()
    host.box.pam_login(V4)
    host.box.let_the_window_pass(V6)
    host.expire()
    assert [host.ask(address) for address in (V4, V6, STATIC)] == [host.kind.value, "", host.static]


def test_a_map_that_was_rebuilt_or_is_missing_or_damaged_gets_its_grants_back(host: Host) -> None:
    host.box.pam_login(V4)
    host.expire()
    if host.kind.own:
        damages: tuple[Callable[[], object], ...] = (
            host.file.unlink,
            lambda: host.file.write_bytes(b""),
            lambda: host.file.write_bytes(b"x" * 9000),
        )
        for number, damage in enumerate(damages):
            new = f"198.51.100.{number + 60}"  # a known one would not look at the map
            damage()
            host.box.pam_login(new)
            assert [host.ask(address) for address in (V4, new)] == [host.kind.value] * 2
            damage()
            host.expire()
            assert [host.ask(address) for address in (V4, new)] == [host.kind.value] * 2
    else:
        host.build(f"{STATIC} REJECT\n{OTHER} REJECT\n")
        assert host.ask(V4) == ""
        host.box.pam_login(OTHER)
        host.expire()
        assert [host.ask(address) for address in (V4, OTHER, STATIC)] == [host.kind.value, "REJECT", "REJECT"]


@pytest.mark.parametrize("host", WHOLE, ids=str, indirect=True)
def test_a_map_whose_text_was_not_made_by_popips_is_left_alone(host: Host) -> None:
    host.file.unlink()
    host.text.write_text(f"{STATIC} REJECT\n")
    done = host.box.popips("popips-expire")
    assert (done.returncode, "not made by popips" in done.stderr) == (65, True)
    assert host.text.read_text() == f"{STATIC} REJECT\n"


@pytest.mark.parametrize("host", WHOLE, ids=str, indirect=True)
def test_where_its_program_fails_the_map_stays_and_the_next_run_mends_it(host: Host) -> None:
    host.box.pam_login(V4)
    program = "/usr/sbin/postmap" if host.kind.postfix else "/usr/sbin/makemap"
    host.box.run(["sh", "-c", "printf '#!/bin/sh\necho no space >&2; exit 1\n' > /run/fails; chmod 755 /run/fails"])
    host.box.run(["mount", "--bind", "/run/fails", program])
    host.box.pam_login(OTHER)
    done = host.box.popips("popips-expire")
    assert (done.returncode, "no space" in done.stderr) == (74, True)
    host.box.run(["umount", program])
    assert [host.ask(address) for address in (V4, OTHER)] == [host.kind.value, ""]
    host.expire()
    assert [host.ask(address) for address in (V4, OTHER)] == [host.kind.value, host.kind.value]


def test_popips_db_lists_inserts_deletes_denies_and_tells_why(host: Host) -> None:
    host.box.pam_login(V4)
    key, value = host.kind.key(V6), host.kind.value
    assert host.box.popips("popips-db", "ins", V6).returncode == 0
    listed = host.box.popips("popips-db", "lst").stdout.splitlines()
    expected = {f"{V4}\t{value}", f"{key}\t{value}", *([] if host.kind.own else [f"{STATIC}\tREJECT"])}
    assert set(listed) == expected
    assert host.box.popips("popips-db", "lst", V6).stdout == f"{key}\t{value}\n"
    assert host.box.popips("popips-db", "why", V6).returncode == 0
    assert host.box.popips("popips-db", "del", V6).returncode == 0
    assert host.box.popips("popips-db", "deny", V4).returncode == 0
    assert [host.ask(address) for address in (V4, V6, STATIC)] == ["", "", host.static]


# ---- a real Postfix


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.postfix], ids=str)
def test_postfix_relays_from_login_to_expiry_and_serves_nothing_stale(box: Box, kind: Kind) -> None:
    settings = {"own_map": "yes"} if kind.own else {}
    text = box.scratch / "clients"
    box.configure(mta="postfix", map=f"{kind.kind}:{text}", **settings)
    start_postfix(box, f"{kind.kind}:{text}")
    if kind.own:
        assert box.popips("popips-expire").returncode == 0
    else:
        text.write_text(f"{STATIC} REJECT\n")
        box.run(["postmap", f"{kind.kind}:{text}"])
    box.run(["postfix", "reload"])

    # each change is seen by the next client, also if it comes within the same second
    for _ in range(3):
        for client in (V4, V6):
            assert box.rcpt(client) == "554"
            box.pam_login(client)
            assert (box.rcpt(client), box.rcpt(OTHER)) == ("250", "554")
        for client in (V4, V6):
            assert box.popips("popips-db", "del", client).returncode == 0
            assert box.rcpt(client) == "554"
    box.pam_login(V4)
    box.let_the_window_pass(V4)
    assert box.rcpt(V4) == "250"
    assert box.popips("popips-expire").returncode == 0
    assert box.rcpt(V4) == "554"


def test_a_type_that_postfix_does_not_have_is_named_with_those_it_has(box: Box) -> None:
    unpack_postfix(box)
    box.run(["sed", "-i", "/^lmdb/d", "/etc/postfix/dynamicmaps.cf"])
    box.configure(mta="postfix", map=f"lmdb:{box.scratch}/clients", own_map="yes")
    done = box.popips("popips-expire")
    assert done.returncode == 65
    assert f"lmdb:{box.scratch}/clients.lmdb: this Postfix has no lmdb: install postfix-lmdb, or name" in done.stderr
    assert " hash " in done.stderr and " cdb " in done.stderr
    box.pam_login(V4)  # passes
    assert len(list((box.stamps / ".requests").iterdir())) == 1
