"""The stacks of PAM as libpam walks them: tests/data/pam-stacks.tsv has what it did."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from popips.doctor import pam as doctor_pam
from popips.doctor.check import FAIL, OK, SKIP, WARN, Check, Patient
from popips.probe.machine import Machine
from popips.probe.pam import ACCOUNT, AUTH, Broken, Line, services, stacks
from popips.probe.pam_walk import CASES, RIGHT, WRONG, is_hook, runs_in, walk
from popips.settings import Settings

DATA = Path(__file__).parent.parent / "data" / "pam-stacks.tsv"
ROWS = [line.split("\t") for line in DATA.read_text().splitlines() if not line.startswith("#")]
INSTALLED = "unix deny permit exec env cap faildelay localuser debug nologin umask"
DEBIANS = {"1.5.2": "1.5.2-6+deb12u1", "1.7.0": "1.7.0-5"}


def comes_by(kind: str, line: Line) -> bool:
    return kind in (AUTH, ACCOUNT) and is_hook(line) and runs_in(line, kind)


def host(folder: Path, files: dict[str, str], libpam: str) -> Machine:
    modules = {f"/usr/lib/x86_64-linux-gnu/security/pam_{name}.so": "" for name in INSTALLED.split()}
    status = f"Package: libpam0g\nStatus: install ok installed\nVersion: {DEBIANS[libpam]}\n\n"
    for path, text in (files | modules | {"/var/lib/dpkg/status": status}).items():
        where = folder / path.lstrip("/")
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(text)
    return Machine(str(folder))


@pytest.mark.parametrize("libpam", DEBIANS)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_stack_comes_to_the_hook_where_libpam_did(tmp_path: Path, row: list[str], libpam: str) -> None:
    name, files, *wanted = row
    if name == "continuation+comment line" and libpam == "1.7.0":
        wanted = ["not", "not", "not"]  # it refuses every login there
    machine = host(tmp_path, json.loads(files), libpam)
    found = []
    for case in CASES:
        try:
            reached = walk(machine, stacks(machine, "dovecot"), case, comes_by).reached
        except Broken:
            reached = False
        found.append({True: "reached", False: "not", None: "depends"}[reached])
    assert found == wanted


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_check_says_what_libpam_does_and_its_cure_is_one(tmp_path: Path, row: list[str]) -> None:
    _, files, wrong, right, expired = row
    texts = json.loads(files)
    machine = host(tmp_path, texts, "1.5.2")
    checks = checks_of(machine)
    there = [line for path, text in texts.items() if "pam.d" in path for line in text.splitlines()]
    lines = [line for line in there if "popips-hook" in line and not line.lstrip().startswith("#")]
    service = "other" if "/etc/pam.d/other" in texts else "dovecot"
    if not lines:
        assert checks[f"pam.{service}"].status == SKIP
        return
    check = checks[f"pam.{service}"]
    if all(line.split()[0].lower() == "auth" for line in lines):  # where it does nothing without --phase
        right = wrong = expired = "not"
    is_well = (wrong, right, expired) == ("not", "reached", "not")
    assert check.status == (OK if is_well else FAIL), check
    if is_well:
        return
    assert check.fix
    pasted(tmp_path, check.fix)
    assert checks_of(machine)[f"pam.{service}"].status == OK, check.fix


def checks_of(machine: Machine) -> dict[str, Check]:
    """Return the checks of a host's services."""
    return {check.id: check for check in doctor_pam.look(Patient(machine, "/etc/popips.conf", Settings(), 0.0))}


def pasted(root: Path, fix: str) -> None:
    """Run what a check says to paste, on the files below a folder."""
    assert fix
    here = fix.replace("/usr/lib/pam.d", f"{root}/usr/lib/pam.d").replace("/etc/pam.d", f"{root}/etc/pam.d")
    assert subprocess.run(["sh", "-e", "-c", here], check=False).returncode == 0, fix


def test_a_line_of_the_auth_phase_acts_with_phase_auth_only(tmp_path: Path) -> None:
    line = "auth requisite pam_unix.so nodelay\nauth optional pam_exec.so quiet /x/popips-hook{}\n"
    account = "account requisite pam_unix.so\n"
    for option, wanted in (("", FAIL), (" --phase auth", FAIL), (" --phase account", FAIL)):
        machine = host(tmp_path, {"/etc/pam.d/dovecot": line.format(option) + account}, "1.7.0")
        assert doctor_pam.judged(machine, "dovecot")[0] == wanted  # --phase auth: an expired account is granted


HOOK_LINE = "account optional pam_exec.so quiet /x/popips-hook\n"
UNIX = "auth requisite pam_unix.so nodelay\naccount requisite pam_unix.so\n"


def dovecot(*lines: str, **others: str) -> dict[str, str]:
    """Return the files of a service of these lines, and of others by their names."""
    return {"/etc/pam.d/dovecot": "".join(lines)} | {f"/etc/pam.d/{name}": text for name, text in others.items()}


# What libpam 1.5.2 and 1.7.0 did, as in the table; random stacks led here, where the walk once came elsewhere.
SEEN = {
    "an empty include is there": (dovecot("@include none\n", UNIX, HOOK_LINE, none=""), "not reached not"),
    "an absolute include": (dovecot("@include /etc/pam.d/all\n", HOOK_LINE, all=UNIX), "not reached not"),
    "an absolute typed include": (
        dovecot("auth include /etc/pam.d/all\naccount include /etc/pam.d/all\n", HOOK_LINE, all=UNIX),
        "not reached not",
    ),
    "words behind @include": (dovecot("@include all # or none\n", HOOK_LINE, all=UNIX), "not reached not"),
    "the hook behind a control that cannot be read": (
        dovecot(UNIX, HOOK_LINE.replace("optional", "optionaly")),
        "not reached not",
    ),
    "a jump by nothing": (dovecot(UNIX, HOOK_LINE.replace("optional", "[success=0]")), "not reached not"),
    "a control in brackets": (dovecot(UNIX.replace("requisite", "[requisite]"), HOOK_LINE), "not reached not"),
    "controls in upper case": (
        dovecot("auth requisite pam_unix.so\naccount [Success=ok Default=die] pam_unix.so\n", HOOK_LINE),
        "not reached reached",
    ),
    "no blank between two actions": (
        dovecot(UNIX.replace("requisite", "[success=okdefault=die]"), HOOK_LINE),
        "not reached not",
    ),
    "the first default is the one": (
        dovecot("auth requisite pam_unix.so\naccount [default=ignore default=die] pam_unix.so\n", HOOK_LINE),
        "not reached reached",
    ),
    "success that was ignored": (
        dovecot("auth [ignore=done default=die] pam_debug.so auth=ignore\n", UNIX, HOOK_LINE),
        "not not not",
    ),
    "an unknown type in a typed include": (
        dovecot(UNIX, "account include a\n", HOOK_LINE, a="acount requisite pam_unix.so\n"),
        "not not not",
    ),
    "an include of unknown type": (
        dovecot("acount include a\n", UNIX, HOOK_LINE, a="auth requisite pam_deny.so\n"),
        "not not not",
    ),
    "other cannot be read, and is not needed": (dovecot(UNIX, HOOK_LINE, other="@include gone\n"), "not not not"),
    "a file that ends in a continued line": (
        dovecot(UNIX, HOOK_LINE, "session optional pam_unix.so \\\n"),
        "not not not",
    ),
    "lines that end as in DOS": (dovecot(UNIX.replace("\n", "\r\n"), HOOK_LINE), "not not not"),
    "type= of another phase": (
        dovecot("auth required pam_exec.so type=account /x/popips-hook\n", UNIX, HOOK_LINE),
        "not reached not",
    ),
    "a folder in place of a file": (
        {**dovecot("@include sub\n", UNIX, HOOK_LINE), "/etc/pam.d/sub/x": ""},
        "not reached not",
    ),
}


@pytest.mark.parametrize("name", SEEN)
def test_odd_files_are_read_as_libpam_reads_them(tmp_path: Path, name: str) -> None:
    files, wanted = SEEN[name]
    machine = host(tmp_path, files, "1.7.0")
    found = []
    for case in CASES:
        try:
            found.append(walk(machine, stacks(machine, "dovecot"), case, comes_by).reached)
        except Broken:
            found.append(False)
    assert found == [word == "reached" for word in wanted.split()]


@pytest.mark.parametrize(("libpam", "wanted"), [("1.5.2", False), ("1.7.0", True)])
def test_an_empty_line_ends_a_continued_one_from_1_7_on(tmp_path: Path, libpam: str, wanted: bool) -> None:
    stack = "auth requisite pam_unix.so\naccount optional \\\n\npam_deny.so\naccount [success=1] pam_unix.so\n"
    machine = host(tmp_path, dovecot(stack, HOOK_LINE), libpam)
    in_auth = [line for line in stacks(machine, "dovecot")[AUTH] if not line.module]
    assert bool(in_auth) == wanted  # the rest of the line has a type that libpam does not know


def test_any_number_of_unknown_modules_is_tried_in_full(tmp_path: Path) -> None:
    modules = [f"pam_site{number}.so" for number in range(12)]
    lines = "".join(
        f"account [success=ok new_authtok_reqd=ok acct_expired=die default=ignore] {name}\n" for name in modules
    )
    machine = host(tmp_path, dovecot("auth requisite pam_unix.so\n", lines, HOOK_LINE), "1.7.0")
    for name in modules:
        (tmp_path / f"usr/lib/x86_64-linux-gnu/security/{name}").touch()
    verdict = walk(machine, stacks(machine, "dovecot"), RIGHT, comes_by)
    assert (
        verdict.reached is None
    )  # a code that only a control names is one of the answers, of the first module as well
    assert verdict.unknown == tuple(modules)
    assert walk(machine, stacks(machine, "dovecot"), WRONG, comes_by).reached is False


def test_a_file_of_the_vendors_is_copied_and_not_changed(tmp_path: Path) -> None:
    stack = UNIX.replace("account requisite", "account required") + HOOK_LINE
    machine = host(tmp_path, {"/usr/lib/pam.d/dovecot": stack, "/etc/pam.d/other": UNIX}, "1.7.0")
    check = checks_of(machine)["pam.dovecot"]
    assert check.status == FAIL
    pasted(tmp_path, check.fix)
    assert (tmp_path / "usr/lib/pam.d/dovecot").read_text() == stack
    assert checks_of(machine)["pam.dovecot"].status == OK


SSHD = "@include common-auth\naccount required pam_nologin.so\n@include common-account\nsession required pam_env.so\n"
COMMON = {
    "/etc/pam.d/common-auth": "auth [success=2 default=ignore] pam_unix.so\n"
    "auth [success=1 default=ignore] pam_sss.so\nauth requisite pam_deny.so\nauth required pam_permit.so\n",
    "/etc/pam.d/common-account": "account [success=1 new_authtok_reqd=done default=ignore] pam_unix.so\n"
    "account requisite pam_deny.so\naccount required pam_permit.so\naccount sufficient pam_localuser.so\n"
    "account [default=bad success=ok user_unknown=ignore] pam_sss.so\n",
}


@pytest.mark.parametrize("service", ["sshd", "dovecot"])
def test_no_cure_takes_away_what_lets_other_users_in(tmp_path: Path, service: str) -> None:
    wrong = "auth optional pam_exec.so --phase auth /x/popips-hook\n"
    files = {f"/etc/pam.d/{service}": wrong + SSHD, **COMMON}
    machine = host(tmp_path, files, "1.7.0")
    (tmp_path / "usr/lib/x86_64-linux-gnu/security/pam_sss.so").touch()
    check = checks_of(machine)[f"pam.{service}"]
    assert check.status == FAIL
    pasted(tmp_path, check.fix)  # sufficient pam_localuser ends the stack before any line behind it: the hook goes
    assert (tmp_path / "etc/pam.d" / service).read_text() == SSHD
    for path, text in COMMON.items():
        assert (tmp_path / path.lstrip("/")).read_text() == text


@pytest.mark.parametrize("libpam", DEBIANS)
def test_a_line_for_which_libpam_refuses_all_is_taken_out(tmp_path: Path, libpam: str) -> None:
    stack = "# Dovecot\n@include common-auth\n@include gone\n@include common-account\n"
    common = {"/etc/pam.d/common-auth": COMMON["/etc/pam.d/common-auth"], "/etc/pam.d/common-account": UNIX[35:]}
    machine = host(tmp_path, {"/etc/pam.d/dovecot": stack + HOOK_LINE, **common}, libpam)
    (tmp_path / "usr/lib/x86_64-linux-gnu/security/pam_sss.so").touch()
    check = checks_of(machine)["pam.dovecot"]
    assert (check.status, "dovecot:3: there is no /etc/pam.d/gone" in check.found) == (FAIL, True)
    pasted(tmp_path, check.fix)
    assert (tmp_path / "etc/pam.d/dovecot").read_text() == stack.replace("@include gone", "#@include gone") + HOOK_LINE
    assert checks_of(machine)["pam.dovecot"].status == OK


def test_a_line_is_added_behind_a_last_line_without_its_end(tmp_path: Path) -> None:
    machine = host(tmp_path, {"/etc/pam.d/dovecot": HOOK_LINE + UNIX.rstrip()}, "1.7.0")
    pasted(tmp_path, checks_of(machine)["pam.dovecot"].fix)
    assert (tmp_path / "etc/pam.d/dovecot").read_text() == UNIX + HOOK_LINE


@pytest.mark.parametrize("hook", ["#" + HOOK_LINE, HOOK_LINE.replace("account", "session")])
def test_no_cure_lets_a_wrong_password_in(tmp_path: Path, hook: str) -> None:
    checks = "@include common-passwords\naccount requisite pam_unix.so\nauth optional pam_permit.so\n"
    machine = host(tmp_path, {"/etc/pam.d/sshd": checks + hook}, "1.7.0")
    check = checks_of(machine)["pam.sshd"]  # without the line that is not there, everybody would get in
    assert (check.status, check.fix) == (FAIL, "")


def test_neither_a_file_that_includes_itself_nor_a_pipe_holds_anybody_up(tmp_path: Path) -> None:
    round_and_round = "".join(f"auth include {name}\n" for name in ("a", "b", "a", "b", "a", "b"))
    machine = host(tmp_path, dovecot(round_and_round, HOOK_LINE, a=round_and_round, b=round_and_round), "1.7.0")
    os.mkfifo(tmp_path / "etc/pam.d/pop3")
    assert checks_of(machine)["pam.dovecot"].status == FAIL


def test_a_control_that_cannot_be_read_fails_the_line_whatever_it_says_first(tmp_path: Path) -> None:
    stack = "auth requisite pam_unix.so\naccount [default=ok success=oops] pam_unix.so\n"
    machine = host(tmp_path, dovecot(stack, "session optional pam_exec.so /x/popips-hook\n"), "1.7.0")
    (outcome,) = walk(machine, stacks(machine, "dovecot"), RIGHT, comes_by).outcomes
    assert (outcome.refused, outcome.passes) == (ACCOUNT, False)


def test_a_hook_that_is_never_reached_is_not_blamed_on_a_session_that_nobody_opens(tmp_path: Path) -> None:
    for account, why in (("[success=done default=die]", "ends, or jumps"), ("[default=die]", "password is refused")):
        stack = f"auth requisite pam_unix.so\naccount {account} pam_unix.so\n"
        machine = host(tmp_path, dovecot(stack, HOOK_LINE), "1.7.0")
        assert why in checks_of(machine)["pam.dovecot"].found


def test_reset_goes_back_to_what_was_before_the_substack(tmp_path: Path) -> None:
    sub = "account [default=reset] pam_deny.so\naccount sufficient pam_permit.so\n" + HOOK_LINE
    for first, wanted in (("pam_permit.so", False), ("pam_deny.so", True)):  # a failure keeps sufficient from ending it
        stack = f"auth requisite pam_unix.so\naccount required {first}\naccount substack sub\n"
        machine = host(tmp_path, dovecot(stack, sub=sub), "1.7.0")
        assert walk(machine, stacks(machine, "dovecot"), RIGHT, comes_by).reached is wanted


def test_fragments_and_folders_are_no_services(tmp_path: Path) -> None:
    files = {"/etc/pam.d/sshd": SSHD, **COMMON, "/etc/pam.d/old/sshd": "x", "/etc/pam.d/sshd.dpkg-old": "x"}
    files |= {"/etc/pam.d/imap": "@include pop3\n", "/etc/pam.d/pop3": UNIX}
    machine = host(tmp_path, files, "1.7.0")
    assert [name for name in services(machine) if name != "old"] == ["imap", "pop3", "sshd"]
    assert {id: check.status for id, check in checks_of(machine).items()} == {"pam.imap": SKIP, "pam.pop3": SKIP}


def test_a_session_that_dovecot_does_not_open_runs_no_hook(tmp_path: Path) -> None:
    files = dovecot(UNIX, "session optional pam_exec.so /x/popips-hook\n")
    conf = "passdb {{\n  driver = pam\n  args = {}dovecot\n}}\n"
    for option, wanted in (("", FAIL), ("session=yes ", OK)):
        machine = host(tmp_path, {**files, "/etc/dovecot/dovecot.conf": conf.format(option)}, "1.7.0")
        assert checks_of(machine)["pam.dovecot"].status == wanted
    (tmp_path / "etc/dovecot/dovecot.conf").unlink()
    assert checks_of(machine)["pam.dovecot"].status == OK  # whoever asks this service may open sessions


def test_a_module_that_is_not_known_is_named(tmp_path: Path) -> None:
    stack = (
        "auth requisite pam_unix.so\naccount requisite pam_unix.so\n"
        "account [success=ignore default=1] pam_succeed_if.so user ingroup popips\n"
        "account optional pam_exec.so quiet /x/popips-hook\n"
    )
    machine = host(tmp_path, {"/etc/pam.d/sshd": stack}, "1.7.0")
    (tmp_path / "usr/lib/x86_64-linux-gnu/security/pam_succeed_if.so").touch()
    check = checks_of(machine)["pam.sshd"]
    assert (check.status, "depends on pam_succeed_if.so" in check.found, check.fix) == (WARN, True, "")
