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
    f"{EACH} {RUN} -v >> /var/log/popips.log": True,
    f"{EACH} {RUN} --metrics /var/lib/node/popips.prom": True,
    f"{EACH} {RUN} --metrics=/x.prom -c {CONF}": True,
    f"{EACH} {RUN} -c{CONF}": True,
    f"{EACH} [ ! -x {RUN} ] || {RUN}": True,
    f"{EACH} [ -x {RUN} ] && {RUN}": True,
    f"{EACH} test -x {RUN} && {RUN}": True,
    OF_PACKAGE: True,
    f"MAILTO=popips-expire\n{EACH} {RUN}": True,
    f"PATH=/usr/sbin:/usr/bin\n{EACH} popips-expire": True,
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
    # with more in its line
    f"{EACH} /opt/backup; {RUN}": False,
    f"{EACH} {RUN}; /opt/backup": False,
    f"{EACH} {RUN} >x;reboot": False,
    f"{EACH} false && {RUN}": False,
    f"{EACH} true # {RUN}": False,
    # cron reads no table with a mistake in it
    f"* * * root x\n{EACH} {RUN}": False,
    f"nonsense\n{EACH} {RUN}": False,
}


def host(folder: Path, text: str, path: str = "/etc/crontab", systemd: bool = False) -> Machine:
    for name in ("usr/sbin", "etc/systemd/system" if systemd else "etc", os.path.dirname(path)[1:]):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / RUN[1:]).touch()
    (folder / path[1:]).write_text(text)
    return Machine(str(folder))


@pytest.mark.parametrize("lines", LINES)
def test_a_line_is_a_run_each_minute_or_none(tmp_path: Path, lines: str) -> None:
    found = cron.jobs(host(tmp_path, f"SHELL=/bin/sh\n\n{lines}\n"), CONF)
    wanted = LINES[lines]
    where = f"/etc/crontab:{3 + lines.count(chr(10))}"
    assert [(job.where, job.is_run) for job in found] == ([] if wanted is None else [(where, wanted)])


def test_the_line_of_contrib_is_one(tmp_path: Path) -> None:
    text = (ROOT / "contrib/cron.d/popips").read_text().replace("/usr/local", "/usr")
    assert [job.is_run for job in cron.jobs(host(tmp_path, text, "/etc/cron.d/popips"), CONF)] == [True]


def test_the_packages_line_leaves_it_to_the_timer_where_systemd_is(tmp_path: Path) -> None:
    assert cron.jobs(host(tmp_path, f"{OF_PACKAGE}\n", systemd=True), CONF) == []


def test_roots_own_table_names_no_user(tmp_path: Path) -> None:
    machine = host(tmp_path, f"* * * * * {RUN}\n{EACH} {RUN}\n", cron.CRONTAB)
    assert [job.is_run for job in cron.jobs(machine, CONF)] == [True, False]


@pytest.mark.parametrize("kind", ["no end", "writable", "another's", "a name with a dot"])
def test_a_table_that_cron_does_not_read_runs_nothing(tmp_path: Path, kind: str) -> None:
    path = "/etc/cron.d/popips.dpkg-old" if "dot" in kind else "/etc/cron.d/popips"
    machine = host(tmp_path, f"{EACH} {RUN}{'' if kind == 'no end' else chr(10)}", path)
    table = tmp_path / path[1:]
    if kind == "writable":
        table.chmod(0o664)
    if kind == "another's":
        os.chown(table, 4711, -1)
    assert [job for job in cron.jobs(machine, CONF) if job.is_run] == []
