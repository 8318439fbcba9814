"""The stacks of PAM as libpam walks them: tests/data/pam-stacks.tsv has what it did."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from popips.probe.machine import Machine
from popips.probe.pam import ACCOUNT, AUTH, Broken, Line
from popips.probe.pam_walk import CASES, walk

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
