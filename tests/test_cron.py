"""Which lines of cron's tables run popips-expire each minute, and which only name it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from popips.probe import cron
from popips.probe.machine import Machine
from tests.box import ROOT

CONF, RUN = "/etc/popips.conf", "/usr/sbin/popips-expire"
EACH = "* * * * * root"
OF_PACKAGE = f"{EACH} [ -d /run/systemd/system ] || [ ! -x {RUN} ] || {RUN}"
LINES = {  # whether it is a run; None: nothing that names popips-expire
    f"{EACH} {RUN}": True,
    f"  */1\t* * * *\troot\t{RUN}": True,
    f"{EACH} {RUN} >/dev/null 2>&1": True,
    f"{EACH} {RUN} -v  >/dev/null": True,
    f"{EACH} {RUN} 2>&1": True,
    f"{EACH} {RUN} --metrics /var/lib/node/popips.prom": True,
    f"{EACH} {RUN} --metrics=/x.prom -c {CONF}": True,
    f"{EACH} {RUN} -c{CONF}": True,
    f"{EACH} [ ! -x {RUN} ] || {RUN}": True,
    f"{EACH} [ -x {RUN} ] && {RUN}": True,
    f"{EACH} test -x {RUN} && {RUN}": True,
    OF_PACKAGE: True,
    f"MAILTO=popips-expire\n{EACH} {RUN}": True,
    f"PATH=/usr/sbin:/usr/bin\n{EACH} popips-expire": True,
    f'PATH = "/nowhere:/usr/sbin"\n{EACH} popips-expire': True,
    # beside lines that are as plain
    f"17 *\t* * *\troot\tcd / && run-parts --report /etc/cron.hourly\n{EACH} {RUN}": True,
    f'*/5,59 8-17/2 1,31 12 0-7 alice x\n@reboot alice y\nMAILTO=""\n{EACH} {RUN}': True,
    f"SHELL=/bin/bash\n{EACH} {RUN}": True,
    # a comment, and what is none of it
    f"#{EACH} {RUN}": None,
    "# popips-expire is run by the timer": None,
    "MAILTO=popips-expire": None,
    f"{EACH} run-parts /etc/cron.hourly": None,
    # at other times
    f"*/5 * * * * root {RUN}": False,
    f"0 * * * * root {RUN}": False,
    f"* * * * 1 root {RUN}": False,
    f"@hourly root {RUN}": False,
    f"@reboot root {RUN}": False,
    # less than a run, or for another popips.conf, or by a user who may not
    f"{EACH} {RUN} -n": False,
    f"{EACH} {RUN} --dry-run": False,
    f"{EACH} {RUN} --window 1d": False,
    f"{EACH} {RUN} --help": False,
    f"{EACH} {RUN} -c /etc/second.conf": False,
    f"{EACH} {RUN} -c": False,
    f"* * * * * alice {RUN}": False,
    f"* * * * * {RUN}": False,
    # another program, or one that is not there
    f"{EACH} {RUN}.old": False,
    f"{EACH} /opt/my-popips-expire": False,
    f"{EACH} /usr/local/sbin/popips-expire": False,
    f"{EACH} popips-expire": False,  # cron's own PATH has no sbin
    f"{EACH} echo {RUN}": False,
    f"{EACH} [ -x /usr/bin/true ] || {RUN}": False,
    f"{EACH} [ ! -x /opt/popips-expire ] || {RUN}": False,
    f"{EACH} pgrep -f popips-expire > /dev/null": False,
    f"{EACH} [ -x {RUN} && {RUN}": False,
    f"{EACH} test -x {RUN} ] && {RUN}": False,
    f"PATH=:/\n{EACH} popips-expire": False,
    f"{EACH} /etc/popips-expire": False,  # which may not be run
    # its output cannot be written, perhaps, or is an option
    f"{EACH} {RUN} -v >> /var/log/popips.log": False,
    f"{EACH} {RUN} >> /missing/folder/log 2>&1": False,
    f"{EACH} {RUN} >/dev": False,
    f"{EACH} {RUN}2>&1": False,
    f"{EACH} {RUN} >/dev/null2>&1": False,
    f"{EACH} {RUN} --metrics": False,
    f"{EACH} {RUN} --metrics -n": False,
    f"{EACH} {RUN} --metrics=/x/%d": False,
    f"{EACH} {RUN}\r": False,
    # with more in its line
    f"{EACH} /opt/backup; {RUN}": False,
    f"{EACH} {RUN}; /opt/backup": False,
    f"{EACH} {RUN} >x;reboot": False,
    f"{EACH} false && {RUN}": False,
    f"{EACH} true # {RUN}": False,
    # cron reads no table with a mistake in it
    f"* * * root x\n{EACH} {RUN}": False,
    **{
        f"{line}\n{EACH} {RUN}": False
        for line in (
            "nonsense",
            "17 3 * * * /usr/local/bin/backup",
            "17 3 * * * nobody-here true",
            "17 3 * * * root",
            "60 * * * * root true",
            "* 24 * * * root true",
            "* * 0 * * root true",
            "* * * 13 * root true",
            "* * * * 8 root true",
            "5-1 * * * * root true",
            "*/0 * * * * root true",
            "*/99 * * * * root true",
            "5/2 * * * * root true",
            ", * * * * root true",
            "@sometimes root true",
            "@daily true",
            "@daily true\r",
            'MAILTO="root',
            "MAILTO='root\"",
            "PYTHONHOME=/nonexistent",
            "SHELL=/usr/sbin/nologin",
            "\r",
        )
    },
    f"{EACH} {RUN}\n99 * * * * root true": False,
}


def host(folder: Path, text: str, path: str = "/etc/crontab", systemd: bool = False) -> Machine:
    for name in ("usr/sbin", "etc/systemd/system" if systemd else "etc", os.path.dirname(path)[1:]):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / RUN[1:]).touch(0o755)
    (folder / "etc/popips-expire").touch(0o644)
    (folder / "etc/passwd").write_text("alice:x:1000:1000::/:/bin/sh\n")
    (folder / path[1:]).write_text(text, newline="")
    if path == cron.CRONTAB:
        (folder / path[1:]).chmod(0o600)
    return Machine(str(folder))


@pytest.mark.parametrize("lines", LINES)
def test_a_line_is_a_run_each_minute_or_none(tmp_path: Path, lines: str) -> None:
    found = cron.jobs(host(tmp_path, f"SHELL=/bin/sh\n\n{lines}\n"), CONF)
    wanted = LINES[lines]
    where = f"/etc/crontab:{3 + lines.partition(RUN)[0].count(chr(10))}"
    assert [(job.where, job.is_run) for job in found] == ([] if wanted is None else [(where, wanted)])


def test_the_line_of_contrib_is_one(tmp_path: Path) -> None:
    text = (ROOT / "contrib/cron.d/popips").read_text().replace("/usr/local", "/usr")
    assert [job.is_run for job in cron.jobs(host(tmp_path, text, "/etc/cron.d/popips"), CONF)] == [True]


def test_the_packages_line_leaves_it_to_the_timer_where_systemd_is(tmp_path: Path) -> None:
    assert cron.jobs(host(tmp_path, f"{OF_PACKAGE}\n", systemd=True), CONF) == []


def test_roots_own_table_names_no_user(tmp_path: Path) -> None:
    machine = host(tmp_path, f"* * * * * {RUN}\n{EACH} {RUN}\n", cron.CRONTAB)
    assert [job.is_run for job in cron.jobs(machine, CONF)] == [True, False]


def test_a_line_for_another_popips_conf_is_none_for_this_one(tmp_path: Path) -> None:
    lines = f"{EACH} {RUN}\n{EACH} {RUN} -c /etc/second.conf\n{EACH} {RUN} '-c/etc/50\\%'\n{EACH} {RUN} -c /etc/50\\%\n"
    machine = host(tmp_path, lines)
    assert [job.is_run for job in cron.jobs(machine, CONF)] == [True, False, False, False]
    assert [job.is_run for job in cron.jobs(machine, "/etc/second.conf")] == [False, True, False, False]
    assert [job.is_run for job in cron.jobs(machine, "/etc/50%")] == [False, False, False, True]


@pytest.mark.parametrize("kind", ["", "readable", "executable"])
def test_roots_own_table_is_roots_alone_to_read(tmp_path: Path, kind: str) -> None:
    machine = host(tmp_path, f"* * * * * {RUN}\n", cron.CRONTAB)
    (tmp_path / cron.CRONTAB[1:]).chmod({"": 0o600, "readable": 0o644, "executable": 0o700}[kind])
    (job,) = cron.jobs(machine, CONF)
    assert job.is_run == (not kind)
    assert ("of mode 0600" in job.fault) == bool(kind)


@pytest.mark.parametrize("kind", ["no end", "writable", "another's", "a name with a dot", "hard link", "link", "loop"])
def test_a_table_that_cron_does_not_read_runs_nothing(tmp_path: Path, kind: str) -> None:
    path = "/etc/cron.d/popips.dpkg-old" if "dot" in kind else "/etc/cron.d/popips"
    machine = host(tmp_path, f"{EACH} {RUN}{'' if kind == 'no end' else chr(10)}", path)
    table = tmp_path / path[1:]
    if kind == "writable":
        table.chmod(0o664)
    if kind == "another's":
        os.chown(table, 4711, -1)
    if kind == "hard link":
        os.link(table, tmp_path / "etc/second")
    if kind == "link":
        table.rename(tmp_path / "etc/second")
        table.symlink_to(tmp_path / "etc/second")
    if kind == "loop":
        table.unlink()
        table.symlink_to(table)
    assert [job for job in cron.jobs(machine, CONF) if job.is_run] == []
