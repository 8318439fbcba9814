"""popips-db doctor where there is no map: whether popips-mapd answers, and whether the MTA asks it."""

from __future__ import annotations

from pathlib import Path

import pytest

from popips.configuration import load
from popips.doctor import maps, mta
from popips.doctor.check import Check, Patient
from popips.doctor.mapd import look_at_sendmail
from popips.probe.machine import Machine
from tests.conftest import NOW
from tests.mapd.test_server import Mapd, mapd

__all__ = ["mapd"]  # the fixture


def patient(mapd: Mapd, mta: str = "sendmail", root: str = "") -> Patient:
    mapd.site.configure(map="mapd", mta=mta, mapd_socket=mapd.map, mapd_policy=mapd.policy)
    return Patient(Machine(root), str(mapd.site.conf), load(str(mapd.site.conf)), NOW)


def first(checks: object) -> Check:
    return next(iter(checks))  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("its", ["sendmail", "postfix"])
def test_whether_it_answers_is_seen(mapd: Mapd, its: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mta, "another", lambda patient: None)  # whichever MTA is installed where this runs
    there = patient(mapd, its)
    mapd.start()
    looked = list(maps.look(there))
    assert (looked[0].id, looked[0].status) == ("map.there", "ok"), looked[0]
    assert {one.status for one in looked[1:]} == {"skip"}
    mapd.end()
    gone = first(maps.look(there))
    assert (gone.status, mapd.map in gone.evidence or mapd.policy in gone.evidence) == ("fail", True)
    assert gone.fix.startswith("systemctl enable --now popips-mapd")


@pytest.mark.parametrize("asks", [False, True])
def test_whether_sendmail_asks_it_is_seen_and_the_cure_is_the_file_of_contrib(
    mapd: Mapd, tmp_path: Path, asks: bool
) -> None:
    cf = tmp_path / "root/etc/mail/sendmail.cf"
    cf.parent.mkdir(parents=True)
    cf.write_text(f"Kpopips socket -o -t -d2 unix:{mapd.map}\n" if asks else "Kaccess hash /etc/mail/access\n")
    found = first(look_at_sendmail(patient(mapd, root=str(tmp_path / "root")), mta.IDS))
    assert (found.id, found.status) == ("mta.asks", "ok" if asks else "fail")
    assert asks or "sendmail/mapd.mc" in found.fix
