"""A run looks at all grants if anything but logins has changed since the last: told by what files are, not when."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from popips import denials, run, seen
from popips.fate import BAR, EXPIRE, PUT, YIELD
from popips.grant import GRANTED
from popips.stamps.folder import Folder
from tests.conftest import Site

A, B = "192.0.2.10", "192.0.2.11"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site with two settled grants, of which all is known."""
    made = Site(tmp_path)
    made.build("198.51.100.1\tREJECT\n")
    (made.stamps / ".denied").write_text("198.51.100.2 - admin\n")
    made.login(A)
    made.login(B)
    made.expire()
    assert looks_at_all(made) is False
    return made


def looks_at_all(site: Site) -> bool:
    """Run the expirer, and tell whether it looked at all grants."""
    looked: list[bool] = []
    look = run._Run.look_at_all
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run._Run, "look_at_all", lambda self: looked.append(True) or look(self))  # type: ignore[func-returns-value]
        site.expire()
    return bool(looked)


def put_back(path: Path, content: str, seconds: float) -> None:
    """Write a file anew, with an mtime so much later than the old one's: as a backup brings it, or an editor."""
    then = path.stat().st_mtime_ns + int(seconds * 1e9)
    path.write_text(content)
    os.utime(path, ns=(then, then))


@pytest.mark.parametrize("seconds", [-86400, -1, 0, 1])
@pytest.mark.parametrize("by", ["write", "rename"])
def test_a_denial_that_comes_with_a_list_of_any_time_is_seen(site: Site, by: str, seconds: float) -> None:
    path = site.stamps / ".denied"
    content = f"{A} - admin12\n"
    assert len(content) == path.stat().st_size
    then = path.stat().st_mtime_ns
    if by == "rename":
        path.unlink()
        path.touch(0o600)
        os.utime(path, ns=(then, then))
    put_back(path, content, seconds)
    assert site.expire() == {BAR: [A]}
    assert site.records() == {"198.51.100.1": "REJECT", B: "RELAY"}


@pytest.mark.parametrize("seconds", [-86400, -1, 0, 1])
def test_a_text_of_any_time_is_seen_before_it_is_built(site: Site, seconds: float) -> None:
    put_back(site.access, f"{A}\tREJECT\n", seconds)
    assert site.expire(dry_run=True) == site.expire() == {YIELD: [A]}
    assert site.names() == {B}


@pytest.mark.parametrize("seconds", [-86400, -1, 0, 1])
def test_settings_of_any_time_are_seen(site: Site, seconds: float) -> None:
    put_back(site.conf, site.conf.read_text() + f"never = {A}\n", seconds)
    assert site.expire(dry_run=True) == site.expire() == {BAR: [A]}
    assert site.names() == {B}


@pytest.mark.parametrize("seconds", [-86400, -1, 0, 1])
def test_settings_that_move_all_grants_may_be_older_than_those_before(site: Site, seconds: float) -> None:
    put_back(site.conf, site.conf.read_text() + "value = OK\n", seconds)
    assert site.expire() == {PUT: [A, B]}
    assert site.records() == {"198.51.100.1": "REJECT", A: "OK", B: "OK"}


def rebuild(site: Site) -> None:
    """The map alone, by makemap, and with the old mtime."""
    then = site.db.stat()
    text = site.access.read_bytes()
    subprocess.run(["makemap", "hash", str(site.db)], input=text, check=True, stderr=subprocess.DEVNULL)
    os.utime(site.db, ns=(then.st_atime_ns, then.st_mtime_ns))
    assert set(site.records()) == {"198.51.100.1"}


def only_touched(site: Site) -> None:
    os.utime(site.access)


def time_passes(site: Site) -> None:
    site.now += 3600
    for name in site.names():
        os.utime(site.stamps / name, (site.now, site.now))


def clock_goes_back(site: Site) -> None:
    site.now -= 1


def text_away(site: Site) -> None:
    site.access.unlink()


def denials_away(site: Site) -> None:
    (site.stamps / ".denied").unlink()


def nothing(site: Site) -> None:
    site.now += 60


def login(site: Site) -> None:
    assert site.login("192.0.2.12") == GRANTED


def logins_by_the_lane(site: Site) -> None:
    site.now += 60
    assert site.login(A) == "renewed"


def end(site: Site) -> None:
    assert site.end(B) == [B]


def due(site: Site) -> None:
    os.utime(site.stamps / B, (0, 0))


@pytest.mark.parametrize("change", [rebuild, only_touched, time_passes, clock_goes_back, text_away, denials_away])
def test_what_may_have_changed_a_grant_has_all_of_them_looked_at(site: Site, change: Callable[[Site], None]) -> None:
    change(site)
    assert looks_at_all(site)
    assert {A, B} <= set(site.records())
    assert not looks_at_all(site)


@pytest.mark.parametrize("change", [nothing, login, logins_by_the_lane, end, due])
def test_what_popips_does_itself_does_not(site: Site, change: Callable[[Site], None]) -> None:
    change(site)
    assert not looks_at_all(site)
    assert set(site.records()) - {"198.51.100.1"} == site.names()


# ---- a run that was killed has seen nothing, and one sees nothing that came while it looked


def edit(site: Site) -> None:
    put_back(site.access, f"{A}\tREJECT\n", 0)


@pytest.mark.parametrize("step", ["look", "look_at_all", "settle"])
@pytest.mark.parametrize(("change", "left"), [(edit, {B}), (rebuild, {A, B})])
def test_a_run_that_was_killed_has_seen_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch, change: Callable[[Site], None], left: set[str], step: str
) -> None:
    change(site)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run._Run, step, killed)
        with pytest.raises(KeyboardInterrupt):
            site.expire()
    assert looks_at_all(site)
    assert site.names() == set(site.records()) - {"198.51.100.1"} == left


def deny_beside_it(site: Site) -> None:
    """Another popips-db, killed as soon as it has written its list."""
    with Folder(str(site.stamps)) as folder:
        denials.add(folder, denials.Denial(A, denials.FOR_EVER, "admin"), site.now)


def write_beside_it(site: Site) -> None:
    site.access.write_text(f"{A}\tREJECT\n")


def build_beside_it(site: Site) -> None:
    site.build(f"{A}\tREJECT\n")


def configure_beside_it(site: Site) -> None:
    site.configure(never=A)


BESIDE = [deny_beside_it, write_beside_it, build_beside_it, configure_beside_it]


@pytest.mark.parametrize("change", BESIDE)
@pytest.mark.parametrize(
    ("target", "step"), [(run, "_run"), (seen, "saw"), (run._Run, "begin"), (run._Run, "look_at_all"), (seen, "keep")]
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_comes_while_a_run_looks_is_seen_by_that_or_the_next(
    site: Site, monkeypatch: pytest.MonkeyPatch, change: Callable[[Site], None], target: object, step: str, when: str
) -> None:
    site.access.touch()  # so that the run looks at all
    real = getattr(target, step)
    done: list[bool] = []

    def beside(*words: object) -> object:
        if not done and when == "before":
            change(site)
        result = real(*words)
        if not done and when == "after":
            change(site)
        done.append(True)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(target, step, beside)
        site.expire()
    assert done
    site.expire()
    assert site.names() == {B}
    assert site.records().get(A) in (None, "REJECT")


def test_what_the_map_lacks_of_the_text_is_told_with_the_cure(site: Site) -> None:
    with site.host as host:
        assert seen.unbuilt_then(host) == ""
    site.access.write_text("198.51.100.1\tREJECT\nspam.test\tREJECT\nmore.test\tREJECT\n")
    site.expire()
    with site.host as host:
        assert seen.unbuilt_then(host) == (
            f"{site.access}: spam.test and 1 more not in {site.db} yet; "
            f"build it: makemap hash {site.access} < {site.access}"
        )
    site.build(site.access.read_text())
    site.expire()
    with site.host as host:
        assert seen.unbuilt_then(host) == ""


def test_what_a_run_saw_holds_from_that_moment_on(site: Site) -> None:
    site.now += seen.EVERY + 0.7
    assert looks_at_all(site) is True
    assert looks_at_all(site) is False


def test_a_due_grant_ends_though_nothing_else_is_looked_at(site: Site) -> None:
    site.pass_window()
    assert site.expire() == {EXPIRE: [A, B]}
