"""Logins, runs, the admin's hand, locked maps, changed settings and time, in any order, end as a small model says."""

from __future__ import annotations

import fcntl
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from popips.fate import LEAVE, SETTLE
from popips.grant import DEFERRED, GRANTED, REFUSED, RENEWED, STATIC
from tests.conftest import Site

A, B, C = "192.0.2.10", "192.0.2.11", "198.51.100.1"
WINDOW = 900
addresses = st.sampled_from([A, B, C])
texts = st.dictionaries(addresses, st.sampled_from(["RELAY", "REJECT"]))


class Life(RuleBasedStateMachine):
    """What must be so after each run; between two of them, no record of ours is without its stamp."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        folder = self.folder / str(len(list(self.folder.iterdir())))
        folder.mkdir()
        self.site = Site(folder)
        self.value = self.made_by = "RELAY"  # in popips.conf, and of the records that there are
        self.text: dict[str, str] = {}  # what the admin's text file says
        self.map: dict[str, str] = {}  # what the map says
        self.last: dict[str, float] = {}  # the last login of each address that has a grant
        self.waiting: dict[str, float] = {}  # the last login of each address that waits for somebody to look at it
        self.denied: set[str] = set()

    # ---- the model

    def end(self, address: str) -> None:
        """End a grant: its record goes, unless the text says that very record."""
        del self.last[address]
        if self.map.get(address) == self.made_by != self.text.get(address):
            del self.map[address]

    def is_static(self, address: str) -> bool:
        there = self.map.get(address)
        is_ours = there is None or (there == self.made_by and address in self.last)
        return address in self.text or not is_ours

    def serve(self) -> None:
        """Deal with all that wait."""
        waiting, self.waiting = self.waiting, {}
        for address, time in waiting.items():
            if address in self.denied or time <= self.site.now - WINDOW:
                continue
            if self.is_static(address):
                if address in self.last:
                    self.end(address)
            else:
                self.last[address] = max(time, self.last.get(address, 0))
                self.map[address] = self.made_by

    def move(self) -> None:
        if self.made_by != self.value:
            for address in self.last:
                if self.map.get(address) == self.made_by != self.text.get(address):
                    del self.map[address]
            self.made_by = self.value

    def run(self) -> None:
        self.move()
        self.serve()
        for address, time in list(self.last.items()):
            if address in self.denied or self.is_static(address) or time <= self.site.now - WINDOW:
                self.end(address)
            else:
                self.map[address] = self.made_by

    # ---- what happens

    @rule(address=addresses)
    def login(self, address: str) -> None:
        is_live = self.last.get(address, 0) > self.site.now - WINDOW
        verdict = self.site.login(address)
        if address in self.denied:
            assert verdict == REFUSED
        elif self.made_by != self.value:
            assert verdict == DEFERRED
            self.waiting[address] = self.site.now
        elif verdict == RENEWED and is_live and self.map.get(address) is None:
            self.last[address] = self.site.now  # by the lane: the next run sees to the map
        elif verdict == RENEWED and is_live and self.is_static(address):
            self.last[address] = self.site.now
        else:
            self.waiting[address] = self.site.now
            expected = STATIC if self.is_static(address) else GRANTED if address not in self.map else RENEWED
            waiting = dict(self.waiting)
            if verdict == RENEWED and is_live:  # perhaps by the lane, and then those who wait go on waiting
                self.last[address] = self.site.now
                del self.waiting[address]
                if set(self.waiting) & self._requests():
                    return
                self.waiting = waiting
            self.serve()
            assert verdict == expected

    def _requests(self) -> set[str]:
        folder = self.site.stamps / ".requests"
        return {path.name.rpartition("-")[0] for path in folder.iterdir()} if folder.exists() else set()

    def has(self, address: str) -> bool:
        """Whether the address has a grant, or waits for one: else there is nothing to end, and nothing is looked at."""
        return address in self.last or address in self._requests()

    @rule(address=addresses)
    def login_while_the_map_is_locked(self, address: str) -> None:
        is_live = self.last.get(address, 0) > self.site.now - WINDOW
        with Path(f"{self.site.db}.popips").open("a") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            verdict = self.site.login(address)
        if address in self.denied:
            assert verdict == REFUSED
        elif verdict == RENEWED:
            assert is_live
            self.last[address] = self.site.now
        else:
            assert verdict == DEFERRED
            self.waiting[address] = self.site.now

    @rule(seconds=st.sampled_from([1, 300, 899, 900]))
    def wait(self, seconds: int) -> None:
        self.site.now += seconds

    @rule()
    def expire(self) -> None:
        quiet = not self.waiting  # a dry run says beside it what becomes of those
        would = self.site.expire(dry_run=True)
        told = self.site.expire()
        self.run()
        if quiet:
            assert {k: v for k, v in would.items() if k not in (LEAVE, SETTLE)} == {
                k: v for k, v in told.items() if k not in (LEAVE, SETTLE)
            }
        assert self.site.records() == self.map
        assert not self._requests()

    @rule(address=addresses, value=st.sampled_from(["RELAY", "REJECT"]))
    def make_static(self, address: str, value: str) -> None:
        self.site.put(address, value)
        self.move()
        self.waiting.pop(address, None)
        if address in self.last:
            self.end(address)
        self.map[address] = value

    @rule(address=addresses)
    def take_out(self, address: str) -> None:
        missing = self.site.take_out(address)
        self.move()
        self.waiting.pop(address, None)
        assert missing == ([] if address in self.last or address in self.map else [address])
        self.last.pop(address, None)
        self.map.pop(address, None)

    @rule(address=addresses)
    def end_one(self, address: str) -> None:
        is_there = self.has(address)
        assert self.site.end(address) == ([address] if address in self.last else [])
        if is_there:
            self.move()
        self.waiting.pop(address, None)
        if address in self.last:
            self.end(address)

    @rule(address=addresses)
    def deny(self, address: str) -> None:
        is_there = self.has(address)
        self.site.deny(address)
        if is_there:
            self.move()
        self.denied.add(address)
        self.waiting.pop(address, None)
        if address in self.last:
            self.end(address)

    @rule(address=addresses)
    def undeny(self, address: str) -> None:
        denied = self.site.stamps / ".denied"
        lines = denied.read_text().splitlines(True) if denied.exists() else []
        denied.write_text("".join(line for line in lines if not line.startswith(f"{address} ")))
        self.denied.discard(address)

    @rule(text=texts)
    def edit(self, text: dict[str, str]) -> None:
        self.site.access.write_text("".join(f"{key} {value}\n" for key, value in text.items()))
        self.text = dict(text)

    @rule(text=texts)
    def rebuild(self, text: dict[str, str]) -> None:
        self.site.build("".join(f"{key} {value}\n" for key, value in text.items()))
        self.text, self.map = dict(text), dict(text)

    @rule(value=st.sampled_from(["RELAY", "OK"]))
    def configure(self, value: str) -> None:
        self.site.configure(value=value, lock_timeout="0.01s")
        if not (self.site.stamps / ".made-by").exists():
            self.made_by = value
        self.value = value

    @invariant()
    def no_record_of_ours_is_without_its_stamp(self) -> None:
        assert self.site.names() == set(self.last)
        there = self.site.records()
        assert there.keys() <= self.map.keys() | self.last.keys()
        assert {key: value for key, value in there.items() if key not in self.last} == {
            key: value for key, value in self.map.items() if key not in self.last
        }


def test_any_order_of_things_ends_as_the_model_says(tmp_path: Path) -> None:
    class LifeHere(Life):
        folder = tmp_path

    run_state_machine_as_test(LifeHere, settings=settings(max_examples=40, stateful_step_count=20, deadline=None))
