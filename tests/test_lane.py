"""The fast lane: it is open after a whole run, for a stamp that is settled, and whatever may not be well closes it.

sh and Python have to agree on that, so there is one table for both.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from popips import lane, run
from popips.fate import PUT
from popips.login import Login
from popips.site import PATIENCE
from popips.site import site as host_of
from popips.stamps.survey import WHOLE, Bound, Survey
from tests.box import ROOT
from tests.conftest import Installed, Site
from tests.logins import ENVIRONMENT
from tests.strace import STRACE

A, B = "192.0.2.10", "192.0.2.11"
PAM = {"PAM_RHOST": A, "PAM_USER": "alice", "PAM_SERVICE": "pop3", "PAM_TYPE": "account"}
LONG_AGO = 100  # seconds: as old as the stamp is before a login


@pytest.fixture
def opened(installed: Installed) -> Installed:
    """A site on which A is granted, and the expirer has run."""
    assert installed.pam(A).returncode == 0
    assert installed.run("popips-expire").returncode == 0
    age(installed.site.stamps / A, LONG_AGO)
    return installed


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def was_renewed(site: Site) -> bool:
    return (site.stamps / A).stat().st_mtime > time.time() - LONG_AGO / 2


@pytest.mark.parametrize(
    ("program", "words", "env", "line"),
    [
        ("popips-hook", [], PAM, "alice pop3 popips-hook"),
        ("popips-hook", [], PAM | {"PAM_USER": "bob@example.test"}, "bob@example.test pop3 popips-hook"),
        ("popips-postlogin", ["/bin/true"], {"IP": A, "USER": "bob"}, "bob pop3 popips-postlogin"),
        ("popips-postlogin", ["/bin/true"], {"IP": A, "USER": "bob", "AUTH_TOKEN": "x"}, "bob imap popips-postlogin"),
    ],
)
def test_a_login_on_the_open_lane_renews_its_stamp_without_python(
    opened: Installed, program: str, words: list[str], env: dict[str, str], line: str
) -> None:
    before = opened.site.db.read_bytes()
    assert not opened.starts_python(program, *words, **env)
    assert was_renewed(opened.site)
    assert (opened.site.stamps / A).read_text().splitlines()[0] == line
    assert opened.site.db.read_bytes() == before


@pytest.mark.parametrize(("program", "words"), [("popips-hook", []), ("popips-postlogin", ["/bin/true"])])
def test_on_the_open_lane_the_environment_is_not_read(
    opened: Installed, program: str, words: list[str], tmp_path: Path
) -> None:
    """dash reads byte by byte: that would take as long as all the rest."""
    command = [str(opened.path(program)), "-c", str(opened.site.conf), *words]
    traced = [*STRACE, "-e", "trace=openat,execve", "-o", str(tmp_path / "log"), *command]
    subprocess.run(traced, env=ENVIRONMENT[program], check=True)
    log = (tmp_path / "log").read_text()
    assert ("environ" in log, "python" in log, was_renewed(opened.site)) == (False, False, True)


def test_two_logins_that_write_the_stamp_at_once_leave_it_a_whole_line(opened: Installed, tmp_path: Path) -> None:
    """dash reads byte by byte: here another user's login writes after each word that is read."""
    stamp = opened.site.stamps / A
    other = f"printf '%s\\n' 'somebody.with.a.long.name imap popips-postlogin' 1<>'{stamp}'"
    lane_sh, program = ((ROOT / "pam_hook" / part).read_text() for part in ("lane.sh", "hook.sh"))
    hook = tmp_path / "hook"
    hook.write_text('read() { command read "$@" && ' + other + "; }\n" + program.replace("# @LANE@\n", lane_sh))
    for user in ("bo", "alice", "another.with.a.name.that.is.longer"):
        age(stamp, LONG_AGO)
        subprocess.run(["/bin/sh", hook, "-c", opened.site.conf], env=PAM | {"PAM_USER": user}, check=True)
        assert was_renewed(opened.site)
        assert stamp.read_text().startswith(f"{user} pop3 popips-hook\n")


def edit_the_configuration(site: Site) -> None:
    site.configure(never="192.0.2.0/24")
    age(site.conf, -1)


def let_the_expirer_be_dead(site: Site) -> None:
    age(site.conf, 1000)  # it was edited before that
    age(site.stamps / ".expire", 301)
    age(site.stamps / ".alive", 1)


def put_the_clock_back(site: Site) -> None:
    age(site.stamps / ".expire", -60)
    age(site.stamps / ".alive", -360)


CLOSES: list[Callable[[Site], object]] = [
    let_the_expirer_be_dead,
    put_the_clock_back,
    lambda site: (site.stamps / ".lane").unlink(),
    lambda site: (site.stamps / ".lane").write_bytes(b""),
    lambda site: (site.stamps / A).chmod(0o600),
    lambda site: (site.stamps / A).chmod(0o400),
    lambda site: (site.stamps / A).unlink(),
]


@pytest.mark.parametrize("close", CLOSES)
def test_what_closes_the_lane_closes_it_for_sh_and_python(opened: Installed, close: Callable[[Site], object]) -> None:
    site, login = opened.site, Login("alice", "pop3", "test")
    with host_of(site.settings, time.time(), PATIENCE) as host:
        assert lane.renewed(host, A, login)
    age(site.stamps / A, LONG_AGO)
    close(site)
    with host_of(site.settings, time.time(), PATIENCE) as host:
        assert not lane.renewed(host, A, login)
    assert opened.starts_python(**PAM)


NOBODY = 65534
CODE = "touch @; touch '@'\n"


def put_code(path: Path) -> None:
    """Put into the place of a file what a shell would run."""
    path.unlink()
    path.write_text(CODE.replace("@", str(path.parent / "run")))
    path.chmod(0o755)


def give_away(path: Path, what: Path | None = None) -> None:
    os.chown(path, NOBODY, NOBODY)
    if what and what != path:
        put_code(what)


def link_away(site: Site) -> None:
    (site.stamps / A).rename(site.stamps / "elsewhere")
    (site.stamps / A).symlink_to("elsewhere")


# whoever owns one of these can put there what he likes
OTHERS: list[Callable[[Site], object]] = [
    lambda site: give_away(site.stamps, site.stamps / ".lane"),
    lambda site: give_away(site.folder, Path(f"{site.conf}.lane")),
    lambda site: give_away(site.stamps / ".lane"),
    lambda site: give_away(site.stamps),
    lambda site: give_away(site.folder),
    lambda site: give_away(site.stamps / A),
    lambda site: put_code(site.stamps / ".lane"),
    link_away,
]


@pytest.mark.parametrize("other", OTHERS)
def test_what_another_user_can_write_is_neither_run_nor_followed(
    opened: Installed, tmp_path: Path, other: Callable[[Site], object]
) -> None:
    """Python, of which other tests tell, does nothing here."""
    other(opened.site)
    hook = tmp_path / "hook"
    hook.write_text(opened.path("popips-hook").read_text().replace("python=/usr/bin/python3", "python=/bin/true"))
    subprocess.run(["/bin/sh", hook, "-c", opened.site.conf], env=PAM, check=True)
    assert not was_renewed(opened.site)
    assert not list(opened.site.folder.rglob("run"))


def test_an_edit_of_the_configuration_closes_the_lane(opened: Installed) -> None:
    edit_the_configuration(opened.site)
    assert opened.starts_python(**PAM)
    assert not was_renewed(opened.site)  # for now it is in `never`
    opened.run("popips-expire")
    assert (opened.site.names(), opened.site.records()) == (set(), {})


@pytest.mark.parametrize(
    "odd",
    [
        {"PAM_RHOST": "::ffff:192.0.2.10"},
        {"PAM_RHOST": "192.0.2.10 "},
        {"PAM_RHOST": "../popips/192.0.2.10"},
        {"PAM_RHOST": B},
        {"PAM_RHOST": ""},
        {"PAM_RHOST": ".lane"},
        {"PAM_USER": "alice smith"},
        {"PAM_USER": "alice\n"},
        {"PAM_USER": "a" * 65},
        {"PAM_USER": ""},
        {"PAM_SERVICE": "$(id)"},
        {"PAM_USER": "Anonymous"},
    ],
    ids=str,
)
def test_an_unusual_login_takes_the_long_way(opened: Installed, odd: dict[str, str]) -> None:
    assert opened.starts_python(**PAM | odd)


@pytest.mark.parametrize(
    ("program", "env"),
    [
        ("popips-hook", PAM | {"PAM_USER": "anonymous"}),
        ("popips-postlogin", {"IP": A, "USER": "anonymous"}),
        ("popips-postlogin", {"IP": A, "USER": "guest", "AUTH_MECH": "ANONYMOUS"}),
    ],
)
def test_an_anonymous_login_renews_nobodys_grant(opened: Installed, program: str, env: dict[str, str]) -> None:
    done = opened.run(program, *(["/bin/true"] if program == "popips-postlogin" else []), env=env)
    assert done.returncode == 0
    assert "user=anonymous" in done.stderr and "an anonymous login" in done.stderr
    assert not was_renewed(opened.site)


def test_other_phases_cost_nothing(opened: Installed) -> None:
    for kind in ("close_session", "password", ""):
        assert not opened.starts_python(**PAM | {"PAM_TYPE": kind})
        assert not was_renewed(opened.site)
    for phase, kind in (("auth", "auth"), ("account", "account"), ("session", "open_session")):
        age(opened.site.stamps / A, LONG_AGO)
        assert not opened.starts_python("popips-hook", "--phase", phase, **PAM | {"PAM_TYPE": kind})
        assert was_renewed(opened.site)


def test_logins_that_are_to_be_logged_take_the_long_way(opened: Installed) -> None:
    opened.site.configure(log_renewals="yes")
    opened.run("popips-expire")
    assert opened.starts_python(**PAM)


def test_a_new_grant_leaves_the_lane_open_for_others(opened: Installed) -> None:
    opened.pam(B)
    assert opened.site.records() == {A: "RELAY", B: "RELAY"}
    for address in (A, B):
        assert not opened.starts_python(**PAM | {"PAM_RHOST": address})


CHANGES: list[Callable[[Installed], object]] = [
    lambda installed: installed.run("popips-db", "ins", B, "OK"),
    lambda installed: installed.run("popips-db", "del", B),
    lambda installed: installed.run("popips-db", "deny", B),
    lambda installed: installed.site.build(""),
    lambda installed: installed.site.db.unlink(),
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_becomes_of_the_map_or_of_others_closes_the_lane_for_nobody(
    opened: Installed, change: Callable[[Installed], object]
) -> None:
    opened.pam(B)
    change(opened)
    assert not opened.starts_python(**PAM)
    assert was_renewed(opened.site)


@pytest.mark.parametrize("verb", ["end", "del", "deny"])
def test_a_grant_that_the_admin_ends_takes_the_long_way_from_then_on(opened: Installed, verb: str) -> None:
    opened.run("popips-db", verb, A)
    assert opened.starts_python(**PAM)
    assert opened.site.names() == (set() if verb == "deny" else {A})


def test_logins_from_networks_of_never_are_told_once_an_hour_and_start_no_python_between(opened: Installed) -> None:
    here = PAM | {"PAM_RHOST": "127.0.0.1"}
    assert "in a network of `never`" in opened.pam("127.0.0.1").stderr
    assert not opened.starts_python(**here)
    told = opened.site.stamps / ".never-127.0.0.1"
    age(told, 3601)
    age(opened.site.conf, 4000)
    opened.run("popips-expire")
    assert not told.exists()
    assert opened.starts_python(**here)


@pytest.mark.parametrize("due", [False, True])
def test_a_rebuild_during_a_run_is_seen_by_the_next(site: Site, monkeypatch: pytest.MonkeyPatch, due: bool) -> None:
    for address in (A, B):
        site.login(address)
    site.expire()
    if due:
        age_to(site, B, site.now - site.settings.window)
    look = run._Run.look

    def rebuilt_meanwhile(self: run._Run, bound: Bound = WHOLE) -> Survey:
        site.build("")
        return look(self, bound)

    with monkeypatch.context() as patch:
        patch.setattr(run._Run, "look", rebuilt_meanwhile)
        site.expire()
    site.expire()
    assert site.records().keys() == site.names()


def age_to(site: Site, address: str, when: float) -> None:
    os.utime(site.stamps / address, (when, when))


def test_a_run_looks_up_nothing_while_nobody_else_changes_the_map(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.login(A)
    site.expire()
    monkeypatch.setattr("popips.run._Run.look_at_all", lambda _: pytest.fail("looked at all of the map"))
    site.expire()
    site.login(B)
    site.expire()
    with pytest.raises(pytest.fail.Exception):
        site.build("")
        site.expire()


def test_a_run_leads_to_the_lane_though_one_was_killed_when_it_did(site: Site) -> None:
    link = Path(f"{site.conf}.lane")
    Path(f"{link}.new").symlink_to("/nowhere")
    with site.host as host:
        lane.lead(host)
    assert link.readlink() == site.stamps / ".lane"


def test_a_stamp_made_by_hand_gets_its_record_while_the_lane_is_open(site: Site) -> None:
    site.login(A)
    site.expire()
    (site.stamps / B).touch()
    os.utime(site.stamps / B, (site.now, site.now))
    assert site.expire() == {PUT: [B]}
    assert site.records() == {A: "RELAY", B: "RELAY"}
