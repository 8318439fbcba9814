"""Says what is wrong with a site after what was done to it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from popips.login import unpack
from popips.maps.journal import is_idle
from popips.stamps import NEVER, OWN_FILES, REQUESTS
from tests.torture.ground import Ground, saved
from tests.torture.programs import EXPIRE, KNOWN, MADE_BY_NEXT, NEW, OTHER, STATIC, Program, hook
from tests.torture.running import Sendmail
from tests.torture.scenarios import Scenario
from tests.torture.trace import spread

SITE_FILES = {"popips.conf.lane", "access", "popips", "popips.conf"}
RENEWED = hook(NEW)  # of those that come next
FINISHED = 2.0  # seconds until what a killed login left in the background is gone


@dataclass(frozen=True)
class Verdict:
    """What is wrong, how many of the admin's records are lost, and how many of ours are without a stamp."""

    fault: str
    lost: int = 0
    bare: int = 0
    found: dict[str, str] = field(default_factory=dict)  # some of the records, as the MTA's own program reads them


class Judge:
    """Judges one site, and looks at each of its states once."""

    def __init__(self, ground: Ground, scenario: Scenario, static: dict[str, str]) -> None:
        """static: the admin's records."""
        self.ground, self.static = ground, static
        self.free, self.owed = scenario.touched | MADE_BY_NEXT, scenario.owed
        self.known: dict[tuple[bytes, str, bool], Verdict] = {}
        self.asked = {NEW, KNOWN, OTHER, STATIC, *spread(list(static), 20)}

    def after(self, program: Program, sendmail: Sendmail | None = None) -> Verdict:
        """Return what is wrong after a run of that program; sendmail: one that had the map open when it began.

        A run of the expirer leaves nothing to do, and an open connection sees all that it did. A login that renews its
        grant does not look at the map.
        """
        is_run = program is EXPIRE
        seen = sendmail.ask(self.asked) if sendmail and is_run else None
        state = saved(self.ground).digest, program.name, program == RENEWED
        if state not in self.known:
            self.known[state] = self._look(program)
        verdict = self.known[state]
        if seen is not None and not verdict.fault and seen != verdict.found:
            return Verdict(f"a running sendmail sees {seen}, not {verdict.found}", verdict.lost, verdict.bare)
        return verdict

    def _look(self, program: Program) -> Verdict:
        try:
            records = self.ground.records()
        except subprocess.CalledProcessError:
            return Verdict("the MTA's own program cannot read the map", len(self.static))
        lost = [key for key, value in self.static.items() if key not in self.free and records.get(key) != value]
        ours = {key: value for key, value in records.items() if key not in self.static and key not in self.free}
        bare = ours.keys() - self.ground.names()
        faults = [
            f"lost {lost[:3]}" if lost else "",
            f"without a stamp {sorted(bare)[:3]}" if bare else "",
            f"stray files {stray}" if (stray := self._stray()) else "",
            self.ground.damage(),
            "" if program == RENEWED or is_idle(self.ground.place) else "the journal is not done with",
            *(self._left_undone(ours) if program is EXPIRE else ()),
        ]
        found = {key: records[key] for key in self.asked & records.keys()}
        return Verdict("; ".join(filter(None, faults)), len(lost), len(bare), found)

    def _stray(self) -> set[str]:
        maps = {self.ground.db.name, f"{self.ground.db.name}.popips"}
        stray = {path.name for path in self.ground.folder.iterdir()} - SITE_FILES - maps
        own = {path.name for path in self.ground.stamps.iterdir() if path.name.startswith(".")}
        return stray | {name for name in own - OWN_FILES if not name.startswith(NEVER)}

    def _left_undone(self, ours: dict[str, str]) -> Iterable[str]:
        """Return what the expirer should have done."""
        stamps, names = self.ground.stamps, self.ground.names()
        settings = self.ground.settings
        odd = sorted(names - ours.keys())
        other = [key for key, value in ours.items() if value != settings.value]
        unsettled = [name for name in names if not (stamps / name).stat().st_mode & 0o100]
        due = [name for name in names if (stamps / name).stat().st_mtime <= time.time() - settings.window]
        denied = stamps / ".denied"
        kept_out = denied.read_text().split() if denied.exists() else []
        requests = [path.name for path in (stamps / REQUESTS).glob("*") if unpack(path.read_bytes())]
        yield f"stamps without a record {odd[:3]}" if odd else ""
        yield f"records of other settings {other[:3]}" if other else ""
        yield f"unsettled {unsettled[:3]}" if unsettled else ""
        yield f"due {due[:3]}" if due else ""
        yield f"logins lost {sorted(self.owed - names)}" if self.owed - names else ""
        yield f"denied and granted {both}" if (both := names & set(kept_out)) else ""
        yield f"requests {requests}" if requests else ""


def until_gone(is_there: Callable[[], bool]) -> None:
    """Wait for what a killed login has left in the background."""
    end = time.monotonic() + FINISHED
    while is_there() and time.monotonic() < end:
        time.sleep(0.01)
