"""status, why and metrics on booted hosts: with the real MTA, the real journal, and the unit's sandbox."""

from __future__ import annotations

import re

import pytest

from tests.host.conftest import Boot
from tests.host.machine import OTHER_V4, V4, V6, Host
from tests.host.test_main_job import INSTALL, SETUPS, follow
from tests.test_json import of

MTAS = {"access": "sendmail", "own": "sendmail", "postfix": "Postfix"}
FOLDER = "/var/lib/prometheus/node-exporter"
METRICS = [
    f"mkdir -p {FOLDER} /etc/systemd/system/popips-expire.service.d",
    "cp /root/popips/contrib/prometheus/popips-expire.conf /etc/systemd/system/popips-expire.service.d/metrics.conf",
    "systemctl daemon-reload",
    "systemctl start popips-expire",
]


@pytest.mark.parametrize("name", MTAS)
def test_an_admin_sees_that_it_works_and_why(boot: Boot, name: str) -> None:
    setup, mta = SETUPS[name], MTAS[name]
    with boot(setup.layer) as host:
        follow(host, [*INSTALL, *setup.commands])
        host.do(*METRICS)
        assert host.login("pop3s", V4) == "ok"
        assert host.login("imaps", V6) == "ok"
        told_by_status(host)
        told_by_why(host, mta)
        told_by_metrics(host)


def told_by_status(host: Host) -> None:
    done = host.run("popips-db status")
    assert (done.returncode, done.stdout.startswith("open to logins")) == (0, True), host.do("popips-db doctor || true")
    for verb in ("doctor", "setup"):
        of(verb, host.run(f"popips-db {verb} --json").stdout)
    document = of("status", host.do("popips-db status --json"))
    assert document["grants"]["live"] == 2
    assert {one["service"]: one["grants"] for one in document["services"]} == {"pop3": 1, "imap": 1}
    assert document["log"]["where"] == "journal"
    assert document["log"]["events"]["granted"] == 2
    assert document["expirer"]["by"] == "timer"
    assert document["edit"] is None


def told_by_why(host: Host, mta: str) -> None:
    for address in (V4, V6):
        lines = host.do(f"popips-db why {address}").splitlines()
        assert lines[0].startswith(f"{address}: granted: user=alice "), lines
        assert lines[1].startswith(f"{mta}: relays for it"), lines
        command = lines[2].removeprefix("log: ")
        assert f"granted: address={address} " in host.do(command)
    done = host.run(f"popips-db why {OTHER_V4}")
    assert done.returncode == 1
    assert done.stdout.splitlines()[1].startswith(f"{mta}: does not relay for it"), done
    host.do(f"systemctl stop {mta.lower()}")
    stopped = host.do(f"popips-db why {V4}").splitlines()[1]
    assert stopped.startswith(f"{mta}: does not run; if it did, it would relay for it"), stopped


def told_by_metrics(host: Host) -> None:
    def samples() -> dict[str, float]:
        text = host.do(f"cat {FOLDER}/popips.prom")
        return {name: float(value) for name, value in re.findall(r"^(\w\S*) (\S+)$", text, re.MULTILINE)}

    host.until(
        "count of the logins",
        lambda: (
            host.do("systemctl start popips-expire") == "" and samples()['popips_logins_total{outcome="granted"}'] == 2
        ),
    )
    seen = samples()
    assert seen["popips_grants"] == 2
    assert seen["popips_failed_runs_total"] == 0
    assert host.do(f"stat -c '%a %U' {FOLDER}/popips.prom") == "644 root\n"
    assert host.do("systemctl --failed --no-legend") == ""
