"""popips-expire --metrics: what runs did, as Prometheus reads it."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from expirer import metrics
from expirer.metrics import METRICS, Metrics, Ran
from popips import fate
from popips.probe.machine import Machine
from popips.run import Run
from tests.conftest import NOW, Installed

ROOT = Path(__file__).parent.parent
PROMTOOL = ROOT / ".venv/tools/root/usr/bin/promtool"
A, B = "192.0.2.10", "192.0.2.11"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Path]:
    """The files of a host, below which its log is."""
    (tmp_path / "var/log").mkdir(parents=True)
    yield tmp_path


def write_log(host: Path, *lines: tuple[float, str]) -> None:
    """Let lines be in the log, in both forms of time by turns."""
    text = ""
    for number, (then, line) in enumerate(lines):
        form = "%b %e %H:%M:%S" if number % 2 else "%Y-%m-%dT%H:%M:%S.123456+00:00"
        text += f"{time.strftime(form, time.localtime(then))} mx popips-hook[77]: {line}\n"
    (host / "var/log/mail.log").write_text(text)


def after(before: Metrics, host: Path, now: float, run: Run | None = None) -> Metrics:
    """What the file says after one more run."""
    return before.add(Ran(now, 0.25, run), Machine(str(host)))


def refused(reason: str) -> str:
    return f'refused: address={A} user=alice service=pop3 map=- reason="{reason}"'


LINES = [  # what a line of the log says, and what it counts for
    (f"granted: address={A} user=alice service=pop3 map=hash:/etc/mail/access.db", 'logins_total{outcome="granted"}'),
    (f"static: address={A} user=alice service=pop3 map=-", 'logins_total{outcome="static"}'),
    (f'deferred: address={A} user=alice service=pop3 map=- reason="x"', 'logins_total{outcome="deferred"}'),
    (refused("in a network of `never`"), 'refused_total{reason="never"}'),
    (refused("192.0.2.0/24 is denied by root: popips-db undeny 192.0.2.0/24"), 'refused_total{reason="denied"}'),
    (refused("an anonymous login: everybody could open the relay by it"), 'refused_total{reason="anonymous"}'),
    (refused("smtp is not one of only_services: add it"), 'refused_total{reason="only_services"}'),
    (refused("eve is not in the group mail (only_group), or there is none"), 'refused_total{reason="only_group"}'),
    (refused("max_per_user: alice"), 'refused_total{reason="limit"}'),
    (refused("the login is longer ago than the window"), 'refused_total{reason="old"}'),
    (refused("not an IPv4 or IPv6 address"), 'refused_total{reason="address"}'),
    (refused("/var/lib/popips/stamps: Read-only file system"), 'refused_total{reason="other"}'),
]


@pytest.mark.parametrize(("line", "name"), LINES, ids=[name for _, name in LINES])
def test_logins_are_counted_from_the_log_once(host: Path, line: str, name: str) -> None:
    first = after(Metrics("/x"), host, NOW)
    write_log(host, (NOW - 30, line), (NOW + 10, line), (NOW + 20, line), (NOW + 70, line))
    first = after(Metrics("/x"), host, NOW)
    second = after(first, host, NOW + 60)
    third = after(second, host, NOW + 120)
    assert [one.samples[f"popips_{name}"] for one in (first, second, third)] == [0, 2, 3]
    assert sum(third.samples[f'popips_logins_total{{outcome="{what}"}}'] for what in metrics.OUTCOMES) == 3


def test_a_line_of_no_program_of_popips_counts_for_nothing(host: Path) -> None:
    write_log(host)
    first = after(Metrics("/x"), host, NOW)
    then = time.strftime("%b %e %H:%M:%S", time.localtime(NOW + 10))
    (host / "var/log/mail.log").write_text(
        f"{then} mx dovecot[1]: granted: address={A}\n"
        f"{then} mx dovecot[1]: x popips-hook[7]: granted: address={A}\n"
        f"{then} popips-hook[7]: granted: address={A}\nnonsense\n\n"
    )
    assert after(first, host, NOW + 60).samples['popips_logins_total{outcome="granted"}'] == 0


def test_without_a_log_nothing_is_said_of_what_it_would_tell(host: Path) -> None:
    samples = after(Metrics("/x"), host, NOW, Run(live=1, recent=1)).samples
    assert [name for name in samples if name.startswith(metrics.OF_LOG)] == []
    assert samples["popips_grants"] == 1


def test_what_runs_do_adds_up_and_a_failed_one_leaves_when_the_last_whole_one_was(host: Path) -> None:
    write_log(host, (NOW + 5, LINES[0][0]))
    first = after(Metrics("/x"), host, NOW, Run(live=7, count={fate.EXPIRE: 2, fate.PUT: 1}))
    second = after(
        first, host, NOW + 60, Run(live=5, recent=4, waiting=3, waited=0.5, count={fate.EXPIRE: 1, fate.BAR: 1})
    )
    third = after(second, host, NOW + 120)
    of = {name: third.samples[f"popips_{name}"] for name in ("grants", "requests_waiting", "lock_wait_seconds")}
    assert of == {"grants": 5, "requests_waiting": 3, "lock_wait_seconds": 0.5}
    ended = {reason: third.samples[f'popips_ended_total{{reason="{reason}"}}'] for reason in metrics.ENDED.values()}
    assert ended == {"expired": 3, "barred": 1, "static": 0, "elsewhere": 0}
    assert third.samples["popips_restored_total"] == 1
    assert third.samples["popips_renewed_total"] == 3  # of four addresses one was granted meanwhile
    assert third.samples["popips_failed_runs_total"] == 1
    assert third.samples[metrics.WHOLE_TIME] == third.since == NOW + 60
    assert third.samples["popips_run_timestamp_seconds"] == NOW + 120


def test_a_file_is_read_back_as_it_was_written_and_nonsense_in_it_is_nothing(host: Path, tmp_path: Path) -> None:
    write_log(host)
    made = after(Metrics(str(tmp_path / "x.prom")), host, NOW, Run(live=7))
    made.write()
    assert metrics.load(made.path).samples == {name: made.samples[name] for name in made.samples}
    (tmp_path / "x.prom").write_bytes(
        b"popips_grants x\npopips_info NaN\n\xff\0{} 1\npopips_restored_total 4\n" + b"x" * 100000
    )
    assert metrics.load(made.path).samples == {"popips_restored_total": 4}
    (tmp_path / "x.prom").unlink()
    os.mkfifo(tmp_path / "x.prom")
    assert metrics.load(made.path).samples == {}


def test_the_file_is_whole_and_for_anybody_to_read(installed: Installed, tmp_path: Path) -> None:
    installed.site.now = time.time()
    path = tmp_path / "popips.prom"
    outside = tmp_path / "outside"
    outside.write_text("x")
    (tmp_path / ".popips.prom.new").symlink_to(outside)  # what another user could put there
    os.umask(0o077)
    done = installed.run("popips-expire", "--metrics", str(path))
    os.umask(0o022)
    assert done.returncode == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert outside.read_text() == "x"
    assert sorted(each.name for each in tmp_path.glob("*.prom*")) == ["popips.prom"]
    assert not (tmp_path / ".popips.prom.new").is_symlink()


def test_each_metric_is_said_by_promtool_to_be_well(installed: Installed, tmp_path: Path) -> None:
    installed.site.now = time.time()
    path = tmp_path / "popips.prom"
    for _ in range(2):
        installed.site.login(A)
        installed.run("popips-expire", "--metrics", str(path))
    installed.age(A)
    installed.run("popips-expire", "--metrics", str(path))
    text = path.read_text()
    checked = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    samples = metrics.load(str(path)).samples
    assert samples['popips_ended_total{reason="expired"}'] == 1
    assert abs(samples[metrics.WHOLE_TIME] - time.time()) < 60
    named = set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))
    assert named in (set(METRICS), {name for name in METRICS if not name.startswith(metrics.OF_LOG)})


def test_a_run_that_fails_is_counted(installed: Installed, tmp_path: Path) -> None:
    path = tmp_path / "popips.prom"
    installed.run("popips-expire", "--metrics", str(path))
    installed.site.db.unlink()
    assert installed.run("popips-expire", "--metrics", str(path)).returncode == os.EX_NOINPUT
    assert metrics.load(str(path)).samples["popips_failed_runs_total"] == 1


def test_a_file_that_cannot_be_written_is_told_and_expiry_goes_on(installed: Installed) -> None:
    installed.site.now = time.time()
    installed.site.login(A)
    installed.age(A)
    done = installed.run("popips-expire", "-v", "--metrics", "/no/such/popips.prom")
    assert (done.returncode, installed.site.records()) == (0, {})
    assert "error: /no/such/popips.prom: metrics cannot be written: No such file or directory; is there " in done.stdout
    assert (
        "metrics" not in installed.run("popips-expire", "-v", "--metrics", "/no/such/popips.prom").stdout
    )  # for an hour


def test_rules_and_dashboard_name_metrics_that_there_are() -> None:
    rules = ROOT / "contrib/prometheus/popips.rules.yml"
    checked = subprocess.run([PROMTOOL, "check", "rules", rules], capture_output=True, text=True)
    assert checked.returncode == 0, checked
    for path in (rules, ROOT / "contrib/grafana/popips.json"):
        named = set(re.findall(r"\bpopips_\w+", path.read_text()))
        assert named <= set(METRICS), path
    dashboard = set(re.findall(r"\bpopips_\w+", (ROOT / "contrib/grafana/popips.json").read_text()))
    assert dashboard | {"popips_info", "popips_run_timestamp_seconds", metrics.LOG_TIME} == set(METRICS)


def test_each_alert_is_raised_by_what_it_is_for(tmp_path: Path) -> None:
    """And by nothing else: the rules' own tests, run by promtool."""
    done = subprocess.run(
        [PROMTOOL, "test", "rules", ROOT / "contrib/prometheus/popips.test.yml"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
