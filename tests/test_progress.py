"""Long work shows how far it has come on a terminal, and nothing in a pipe."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest

from popips import progress, run
from popips import site as sites
from tests.conftest import Installed, Site
from tests.terminal import shown

COUNT = 2500


class Told(progress.Progress):
    """What a site tells of its work."""

    def __init__(self) -> None:
        super().__init__("test")
        self.steps: list[tuple[str, int]] = []

    def step(self, what: str, count: int) -> None:
        self.steps.append((what, count))


def stamps(site: Site, settled: bool = False) -> None:
    for number in range(COUNT):
        path = site.stamps / f"10.0.{number // 250}.{number % 250 + 1}"
        path.touch(mode=0o700 if settled else 0o600)


WORK: dict[str, tuple[dict[str, str], Callable[[Site], None], str]] = {
    "the first reconcile": ({}, stamps, "grants settled"),
    "a look at all": ({}, lambda site: stamps(site, settled=True), "grants looked at"),
    "a map of its own made anew": ({"own_map": "yes"}, stamps, "records put"),
}


@pytest.mark.parametrize("which", WORK)
def test_long_work_tells_how_far_it_has_come(installed: Installed, which: str) -> None:
    settings, prepare, what = WORK[which]
    site = installed.site
    if settings:
        site.access.unlink()
        site.configure(**settings)
    prepare(site)
    told = Told()
    with sites.site(site.settings, time.time(), progress=told) as host:
        run.run(host, lambda *_: None)
    assert [count for its, count in told.steps if its == what] == [500, 1000, 1500, 2000, 2500]


def test_the_line_is_written_over_and_gone_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    line = progress.Progress("popips-expire")
    line.step("grants settled", 500)
    assert capsys.readouterr().err == ""  # work of less than a second is not long
    line._next = 0
    line.step("grants settled", 1000)
    line.step("grants settled", 1500)  # a moment later
    assert capsys.readouterr().err == "\rpopips-expire: grants settled: 1000\x1b[K"
    line.end()
    line.end()
    assert capsys.readouterr().err == "\r\x1b[K"


def test_a_pipe_gets_none_of_it(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    assert progress.of("x") is None
    stamps(installed.site)
    done = installed.run("popips-expire")
    assert "\r" not in done.stderr + done.stdout


def test_a_terminal_gets_it(installed: Installed) -> None:
    """Of work that lasts for more than a second: a program that looks at the clock of a slow machine."""
    stamps(installed.site)
    module = installed.programs / "lib/popips/popips/progress.py"
    text = module.read_text()
    try:
        module.write_text(re.sub(r"^AFTER = .*", "AFTER = 0.0", text, flags=re.MULTILINE))
        command = [str(installed.path("popips-expire")), "-c", str(installed.site.conf)]
        status, seen = shown(command)
    finally:
        module.write_text(text)
    assert status == 0
    assert re.search(r"\rpopips-expire: grants settled: \d+\x1b\[K", seen)
    assert seen.endswith("\r\x1b[K")
