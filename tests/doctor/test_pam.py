"""The stacks of PAM as libpam walks them: tests/data/pam-stacks.tsv has what it did."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from popips.doctor import pam as doctor_pam
from popips.doctor.check import FAIL, OK, SKIP, WARN, Patient
from popips.probe.machine import Machine
from popips.probe.pam import ACCOUNT, AUTH, Broken, Line
from popips.probe.pam_walk import CASES, walk
from popips.settings import Settings

DATA = Path(__file__).parent.parent / "data" / "pam-stacks.tsv"
ROWS = [line.split("\t") for line in DATA.read_text().splitlines() if not line.startswith("#")]
INSTALLED = "unix deny permit exec env cap faildelay localuser debug nologin umask"
DEBIANS = {"1.5.2": "1.5.2-6+deb12u1", "1.7.0": "1.7.0-5"}


def is_hook(line: Line) -> bool:
    return line.module == "pam_exec.so" and "popips-hook" in line.words[-1]


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
            reached = walk(machine, "dovecot", is_hook, case).reached(AUTH, ACCOUNT)
        except Broken:
            reached = False
        found.append({True: "reached", False: "not", None: "depends"}[reached])
    assert found == wanted


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_check_says_what_libpam_does_and_its_cure_is_one(tmp_path: Path, row: list[str]) -> None:
    _, files, wrong, right, expired = row
    texts = json.loads(files)
    machine = host(tmp_path, texts, "1.5.2")
    patient = Patient(machine, "/etc/popips.conf", Settings(), 0.0)
    checks = {check.id: check for check in doctor_pam.look(patient)}
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
    root = str(tmp_path)
    done = subprocess.run(["sh", "-e", "-c", check.fix.replace("/etc/pam.d", f"{root}/etc/pam.d")], check=False)
    assert done.returncode == 0, check.fix
    assert {check.id: check for check in doctor_pam.look(patient)}[f"pam.{service}"].status == OK, check.fix


def test_a_line_of_the_auth_phase_acts_with_phase_auth_only(tmp_path: Path) -> None:
    line = "auth requisite pam_unix.so nodelay\nauth optional pam_exec.so quiet /x/popips-hook{}\n"
    account = "account requisite pam_unix.so\n"
    for option, wanted in (("", FAIL), (" --phase auth", FAIL), (" --phase account", FAIL)):
        machine = host(tmp_path, {"/etc/pam.d/dovecot": line.format(option) + account}, "1.7.0")
        assert doctor_pam.judged(machine, "dovecot")[0] == wanted  # --phase auth: an expired account is granted


def test_a_module_that_is_not_known_is_named(tmp_path: Path) -> None:
    stack = (
        "auth requisite pam_unix.so\naccount requisite pam_unix.so\n"
        "account [success=ignore default=1] pam_succeed_if.so user ingroup popips\n"
        "account optional pam_exec.so quiet /x/popips-hook\n"
    )
    machine = host(tmp_path, {"/etc/pam.d/sshd": stack}, "1.7.0")
    (tmp_path / "usr/lib/x86_64-linux-gnu/security/pam_succeed_if.so").touch()
    status, found = doctor_pam.judged(machine, "sshd")
    assert (status, "depends on pam_succeed_if.so" in found) == (WARN, True)
