"""`make install` and `make uninstall`."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

RENAMES = ("rename", "renameat", "renameat2")
MAKE = ["make", "-s", "-C", str(Path(__file__).parent.parent)]


def test_make_install_stages_into_destdir_and_make_uninstall_leaves_map_and_stamps(tmp_path: Path) -> None:
    make = [*MAKE, f"DESTDIR={tmp_path}", "PREFIX=/usr"]
    shared = {tmp_path / "etc/mail": 0o2755, tmp_path / "usr/sbin": 0o2775}  # as Debian has the first
    for folder, mode in shared.items():
        folder.mkdir(parents=True)
        folder.chmod(mode)
    subprocess.run([*make, "install"], check=True)
    assert {folder: folder.stat().st_mode & 0o7777 for folder in shared} == shared
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert {"usr/sbin/popips-db", "usr/libexec/popips/popips-hook", "usr/share/man/man8/popips-db.8"} <= files
    assert "/usr/lib/popips" in (tmp_path / "usr/sbin/popips-db").read_text()
    assert str(tmp_path) not in (tmp_path / "usr/sbin/popips-db").read_text()
    stack = tmp_path / "etc/pam.d/pop3"
    stack.parent.mkdir(parents=True)
    stack.write_text("account optional pam_exec.so quiet /usr/libexec/popips/popips-hook\n")
    stack.with_suffix(".bak").write_text(stack.read_text())
    cron = tmp_path / "etc/cron.d/popips"
    cron.parent.mkdir()
    cron.write_text("* * * * * root /usr/sbin/popips-expire\n")
    refused = subprocess.run([*make, "uninstall"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert f"refuses every login, and cron has nothing to run: {cron} {stack}\n" in refused.stderr
    stack.write_text("# /usr/libexec/popips/popips-hook was here\n")
    cron.unlink()
    subprocess.run([*make, "uninstall"], check=True)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if "popips" in path.name}
    assert left == {"var/lib/popips"}
    assert (tmp_path / "var/lib/popips/stamps").stat().st_mode & 0o777 == 0o700


def test_all_that_is_installed_names_the_prefix_that_it_was_installed_with(tmp_path: Path) -> None:
    subprocess.run([*MAKE, f"DESTDIR={tmp_path}", "PREFIX=/opt/mail", "install"], check=True)
    texts = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    naming = {path: set(re.findall(r"[\w/.]*/(?:libexec/popips/|sbin/popips-)", path.read_text())) for path in texts}
    found_out = {"/libexec/popips/", "/sbin/popips-"}  # popips-db looks where it is installed itself
    assert set().union(*naming.values()) - found_out == {"/opt/mail/libexec/popips/", "/opt/mail/sbin/popips-"}
    pages = {path.name for path, names in naming.items() if names}
    assert {"popips-hook.8", "popips-expire.8", "hook.py", "postlogin.py", "popips-expire.service"} <= pages


def test_make_install_renames_each_file_over_the_one_before(tmp_path: Path) -> None:
    """A login that comes meanwhile must never find a program that is missing, empty or half written."""
    make = [*MAKE, f"DESTDIR={tmp_path}", "PREFIX=/usr", "install"]
    subprocess.run(make, check=True)
    # -A: a process may have the id of one that has ended, and so its log
    traced = ["strace", "-ff", "-A", "-qq", "-s", "999", "-e", "trace=/^open|^unlink|^link|trunc|^rename", "-o"]
    subprocess.run([*traced, str(tmp_path / "log"), *make], check=True)
    log = "".join(path.read_text() for path in tmp_path.glob("log.*"))
    calls = re.findall(rf'^(\w+)\((.*"{tmp_path}/.*)\) += \d', log, re.MULTILINE)
    changed = [words for name, words in calls if name not in RENAMES and re.search("O_WRONLY|O_RDWR", words)]
    changed += [words for name, words in calls if "link" in name or "trunc" in name]
    assert [words for words in changed if "/popips" in words and '.new"' not in words] == []
    renamed = {re.findall('"(.*?)"', words)[-1] for name, words in calls if name in RENAMES}
    installed = {str(path) for path in (tmp_path / "usr").rglob("*") if path.is_file()}
    assert {os.path.normpath(path) for path in renamed} == installed
