"""A set-up that is killed at any of its calls can be undone to the byte, or done to its end; so can an undo."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from popips.setup import apply, runs, undo
from popips.setup.record import Busy
from popips.setup.step import Run, Write
from tests.box import ROOT
from tests.setup import driver
from tests.setup.driver import BUILT, DEEP, EDITED, FRESH, TEXTS
from tests.strace import STRACE, injecting, on

MTIME = 1_700_000_000_123_456_789  # ns
MODES = {EDITED: 0o640, BUILT: 0o604}
BEFORE = {EDITED: "a = b\n", BUILT: "BUILT BY HAND\n"}
NOT_CHANGING = {"execve", "read", "newfstatat", "lseek", "fstat", "statx", "fcntl", "ioctl", "readlink", "access"}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(undo, "REPLACED", str(tmp_path / "replaced"))
    return made(tmp_path / "host")


def made(host: Path) -> Path:
    host.mkdir()
    for name, text in BEFORE.items():
        (host / name).write_text(text)
        (host / name).chmod(MODES[name])
        os.utime(host / name, ns=(MTIME, MTIME))
    return host


def state(host: Path) -> dict[str, tuple[str | None, int, int]]:
    """Return all that is there but for the record: text, mode and time of each file."""
    found: dict[str, tuple[str | None, int, int]] = {}
    for path in sorted(host.rglob("*")):
        if (host / "setup") not in (path, *path.parents):
            time = path.stat().st_mtime_ns if path.is_file() else 0
            found[str(path.relative_to(host))] = (
                path.read_text() if path.is_file() else None,
                path.stat().st_mode,
                time,
            )
    return found


def whole(host: Path) -> dict[str, str]:
    """Return the texts that a whole set-up leaves."""
    return {**TEXTS, BUILT: TEXTS[EDITED].upper(), "told": ""}


def texts(host: Path) -> dict[str, str]:
    return {name: text for name, (text, _, _) in state(host).items() if text is not None}


def run(verb: str, host: Path, *under: str) -> subprocess.CompletedProcess[str]:
    words = [*under, os.path.realpath(sys.executable), "-m", "tests.setup.driver", verb, str(host)]
    env = {"PYTHONPATH": f"{ROOT}:{os.pathsep.join(filter(None, sys.path))}", "PATH": os.environ["PATH"]}
    return subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True)


def paths(host: Path) -> list[Path]:
    names = [*TEXTS, BUILT, "unit.d", "unit.d/popips", "setup", "setup/state.json", "setup/copies", "setup/lock"]
    found = [host, *(host / name for name in names)]
    return [*found, *(path.with_name(f".{path.name}.popips-new") for path in found)]


def points(host: Path, verb: str) -> list[tuple[str, int]]:
    """Return all calls by which the verb changes something, as name and number."""
    log = host.with_name("log")
    assert run(verb, host, *STRACE, "-o", str(log), *on(paths(host))).returncode == 0
    seen: Counter[str] = Counter()
    for name in re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.M):
        seen[name] += 1
    return [
        (name, number) for name, count in seen.items() if name not in NOT_CHANGING for number in range(1, count + 1)
    ]


def test_a_set_up_that_is_killed_is_undone_or_continued(tmp_path: Path) -> None:
    faults = []
    killed_at = points(made(tmp_path / "first"), "apply")
    assert len(killed_at) > 40
    for call, number in killed_at:
        host = made(tmp_path / f"{call}-{number}")
        before = state(host)
        killer = [*injecting(call, f"signal=KILL:when={number}"), *on(paths(host))]
        run("apply", host, *killer)
        if number % 2:
            again = run("apply", host)
            if again.returncode or texts(host) != whole(host):
                faults.append(f"continued after {call} {number}: {texts(host)} {again.stdout}{again.stderr}")
        undone = run("undo", host)
        if undone.returncode or state(host) != before:
            faults.append(f"undone after {call} {number}: {state(host)} {undone.stdout}{undone.stderr}")
        assert not (host / "setup").exists()
    assert not faults, "\n".join(faults)


def test_an_undo_that_is_killed_is_done_to_its_end(tmp_path: Path) -> None:
    faults = []
    first = made(tmp_path / "first")
    assert run("apply", first).returncode == 0
    killed_at = points(first, "undo")
    assert len(killed_at) > 15
    for call, number in killed_at:
        host = made(tmp_path / f"{call}-{number}")
        before = state(host)
        run("apply", host)
        run("undo", host, *injecting(call, f"signal=KILL:when={number}"), *on(paths(host)))
        undone = run("undo", host)
        if undone.returncode or state(host) != before:
            faults.append(f"{call} {number}: {state(host)} {undone.stdout}{undone.stderr}")
    assert not faults, "\n".join(faults)


def test_a_second_set_up_has_nothing_to_do_and_undo_is_to_the_byte(host: Path) -> None:
    before = state(host)
    assert run("apply", host).returncode == 0
    assert texts(host) == whole(host)
    done = state(host)
    assert run("apply", host).stdout == ""
    assert state(host) == done
    assert run("undo", host).returncode == 0
    assert state(host) == before
    assert run("undo", host).stdout == "nothing to undo\n"


def test_what_was_removed_and_set_up_once_more_is_undone_as_well(host: Path) -> None:
    before = state(host)
    run("apply", host)
    (host / EDITED).write_text(before[EDITED][0] or "")
    (host / FRESH).unlink()
    assert run("apply", host).returncode == 0
    (host / FRESH).write_text(f"{TEXTS[FRESH]}mine = yes\n")
    assert undo.undo(driver.record(host), print) == []
    assert texts(host) == {**{name: text for name, (text, _, _) in before.items() if text}, FRESH: "mine = yes\n"}


def test_a_daemon_that_a_command_has_started_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As service(8) starts Dovecot: it keeps what the command had for its output."""
    monkeypatch.setattr(runs, "LONGEST", 10)
    os.mkfifo(tmp_path / "life")
    command = ("sh", "-c", f"cat {tmp_path / 'life'} & echo started; printf '\\377' >&2")
    assert runs.run(command) == (0, "started\n\\xff")
    (tmp_path / "life").write_text("")


def test_what_fails_takes_all_of_it_back(host: Path) -> None:
    before = state(host)
    fails = Run("mta", ("sh", "-c", "echo no room; exit 3"))
    with pytest.raises(apply.Failed, match="status 3: no room"):
        apply.apply([*driver.steps(host), fails], driver.record(host), print)
    assert state(host) == before
    assert not (host / "setup").exists()


def test_a_failure_takes_back_only_what_its_own_run_did(host: Path) -> None:
    run("apply", host)
    done, record = state(host), driver.record(host)
    with pytest.raises(apply.Failed):
        apply.apply([Write("more", str(host / EDITED), "c\n"), Run("more", ("false",))], record, print)
    assert state(host) == done
    assert run("undo", host).returncode == 0
    assert texts(host) == BEFORE


def test_what_others_have_added_stays_and_all_else_is_undone(host: Path) -> None:
    """The file that only setup has made is theirs by now, in their mode."""
    run("apply", host)
    for name, text in ((EDITED, TEXTS[EDITED]), (FRESH, TEXTS[FRESH])):
        (host / name).write_text(f"{text}mine = yes\n")
        (host / name).chmod(0o600)
    undone = run("undo", host)
    assert (undone.returncode, f"keep in {host / EDITED} " in undone.stdout) == (0, True)
    assert texts(host) == {**BEFORE, EDITED: "a = b\nmine = yes\n", FRESH: "mine = yes\n"}
    assert {(host / name).stat().st_mode & 0o777 for name in (EDITED, FRESH)} == {0o600}


def test_blank_lines_that_are_left_are_not_kept_as_those_of_others(host: Path) -> None:
    run("apply", host)
    (host / FRESH).write_text(f"\n{TEXTS[FRESH]}\n\n")
    undone = run("undo", host)
    assert (undone.returncode, "keep in" in undone.stdout) == (0, False)
    assert texts(host) == BEFORE


def test_a_link_that_a_command_has_made_may_lead_elsewhere_by_now(host: Path) -> None:
    """As popips-expire has popips.conf.lane lead to another stamp folder."""
    lane = host / "lane"
    run_ = Run("mta", ("ln", "-sfn", "/there/.lane", str(lane)), touches=(str(lane),))
    apply.apply([run_], driver.record(host), print)
    lane.unlink()
    lane.symlink_to("/elsewhere/.lane")
    assert undo.undo(driver.record(host), print) == []
    assert not lane.is_symlink()


def test_what_others_have_added_between_two_set_ups_stays_too(host: Path) -> None:
    run("apply", host)
    (host / EDITED).write_text(f"{TEXTS[EDITED]}mine = yes\n")
    record = driver.record(host)
    apply.apply([Write("mta", str(host / EDITED), f"{TEXTS[EDITED]}mine = yes\nmore\n")], record, print)
    (host / EDITED).write_text(f"mine, too\n{TEXTS[EDITED]}mine = yes\nmore\n")
    assert undo.undo(driver.record(host), print) == []
    assert texts(host)[EDITED] == "mine, too\na = b\nmine = yes\n"


def test_an_undo_beside_the_lines_of_others_that_is_killed_is_done_to_its_end(tmp_path: Path) -> None:
    def edited(name: str) -> Path:
        host = made(tmp_path / name)
        run("apply", host)
        (host / EDITED).write_text(f"{TEXTS[EDITED]}mine = yes\n")
        (host / FRESH).write_text(f"mine = yes\n{TEXTS[FRESH]}")
        return host

    faults = []
    wanted = {**BEFORE, EDITED: "a = b\nmine = yes\n", FRESH: "mine = yes\n"}
    for call, number in points(edited("first"), "undo"):
        host = edited(f"{call}-{number}")
        run("undo", host, *injecting(call, f"signal=KILL:when={number}"), *on(paths(host)))
        undone = run("undo", host)
        if undone.returncode or texts(host) != wanted:
            faults.append(f"{call} {number}: {texts(host)} {undone.stdout}{undone.stderr}")
    assert not faults, "\n".join(faults)


def test_a_line_of_setup_that_somebody_else_has_changed_is_refused_unless_it_is_forced(
    host: Path, tmp_path: Path
) -> None:
    run("apply", host)
    (host / EDITED).write_text("a = b\nmap = theirs\nmine = yes\n")
    changed = state(host)
    with pytest.raises(undo.Refused, match=f"{host / EDITED}"):
        undo.undo(driver.record(host), print)
    assert state(host) == changed
    assert undo.undo(driver.record(host), print, is_forced=True) == []
    assert texts(host) == BEFORE
    (copy,) = (tmp_path / "replaced").iterdir()
    assert "mine = yes" in copy.read_text()


def test_what_is_forced_loses_nothing_of_others(host: Path) -> None:
    for number, text in enumerate(("one\n", "two\n", "two\n"), 1):
        run("apply", host)
        (host / EDITED).write_text(text)
        (host / FRESH).unlink()
        (host / BUILT).write_text(f"by hand {number}\n")
        assert undo.undo(driver.record(host), print, is_forced=True) == []
        assert texts(host)[EDITED] == BEFORE[EDITED]
    kept = sorted(path.read_text() for path in Path(undo.REPLACED).iterdir())
    assert kept == ["by hand 1\n", "by hand 2\n", "by hand 3\n", "one\n", "two\n"]


def test_a_link_that_others_put_there_is_kept_as_where_it_leads_and_a_folder_is_named(host: Path) -> None:
    run("apply", host)
    (host / EDITED).unlink()
    (host / EDITED).symlink_to("elsewhere")
    (host / FRESH).unlink()
    (host / FRESH).mkdir()
    trouble = undo.undo(driver.record(host), print, is_forced=True)
    assert "elsewhere" in [path.read_text() for path in Path(undo.REPLACED).iterdir()]
    assert (host / EDITED).read_text() == BEFORE[EDITED]
    assert any(str(host / FRESH) in each for each in trouble)


def test_a_failure_is_taken_back_where_somebody_has_removed_a_file_meanwhile(host: Path) -> None:
    removed = Run("mta", ("rm", str(host / FRESH)))
    with pytest.raises(apply.Failed, match="false"):
        apply.apply([*driver.steps(host), removed, Run("mta", ("false",))], driver.record(host), print)
    assert texts(host)[EDITED] == BEFORE[EDITED]
    assert not (host / FRESH).exists()


def test_an_edit_made_while_it_works_is_not_overwritten(host: Path) -> None:
    edit = Run("first", ("sh", "-c", f"echo mine >> {host / EDITED}"))
    with pytest.raises(apply.Failed, match="changed it meanwhile"):
        apply.apply([edit, Write("mta", str(host / EDITED), "ours\n")], driver.record(host), print)
    assert texts(host)[EDITED] == BEFORE[EDITED] + "mine\n"


def test_a_file_gets_a_name_that_nobody_else_has_open(host: Path) -> None:
    theirs = (host / f".{EDITED}.popips-new").open("w+")
    assert run("apply", host).returncode == 0
    theirs.write("theirs\n")
    theirs.close()
    assert texts(host)[EDITED] == TEXTS[EDITED]


@pytest.mark.parametrize("change", ["chmod 600 {}", "rm {}", "rm {0}; ln -s /dev/null {0}"])
def test_a_change_of_mode_or_kind_is_one_too(host: Path, change: str) -> None:
    run("apply", host)
    subprocess.run(["sh", "-c", change.format(host / FRESH if "rm" not in change else host / EDITED)], check=True)
    with pytest.raises(undo.Refused):
        undo.undo(driver.record(host), print)


def test_a_change_between_two_set_ups_is_seen(host: Path) -> None:
    run("apply", host)
    (host / EDITED).write_text("the admin's\n")
    assert run("apply", host).returncode == 0
    with pytest.raises(undo.Refused):
        undo.undo(driver.record(host), print)


def test_what_make_has_made_anew_since_is_made_from_what_was_there_before(host: Path) -> None:
    run("apply", host)
    (host / BUILT).write_text("anew\n")
    assert undo.undo(driver.record(host), print) == []
    assert texts(host) == {EDITED: BEFORE[EDITED], BUILT: BEFORE[EDITED].upper()}


def test_nobody_undoes_while_a_command_of_a_set_up_still_runs(host: Path) -> None:
    with driver.record(host).taken(), pytest.raises(Busy):
        undo.undo(driver.record(host), print)


def test_deep_folders_go_with_their_file_unless_something_else_is_there(host: Path) -> None:
    run("apply", host)
    (host / DEEP).with_name("mine").write_text("")
    run("undo", host)
    assert (host / DEEP).with_name("mine").exists()
    assert not (host / DEEP).exists()
