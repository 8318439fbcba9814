"""Who relays by popips-mapd where hosts share their logins: the newest of what is known here and elsewhere decides."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from popips import denials
from popips.elsewhere import Elsewhere
from popips.stamps import StampFailed
from popips.stamps.folder import Folder
from tests.conftest import NOW, Site
from tests.elsewhere import From
from tests.mapd.test_answer import ODD, V4, V6, WINDOW, Mapd

A_LOGIN = 100.0  # seconds ago


@pytest.fixture
def others(site: Site) -> From:
    return From(site, site.folder, NOW)


@pytest.fixture
def mapd(others: From, site: Site) -> Mapd:
    return Mapd(site)


# how long ago the last login here was; what was told of the address: how long ago, and whether a login
HERE: dict[str, float | None] = {"live": A_LOGIN, "due": WINDOW + A_LOGIN, "none": None, "of the future": -A_LOGIN}
THERE: dict[str, tuple[float, bool] | None] = {
    "none": None,
    "a login before": (A_LOGIN + 1, True),
    "a login since": (A_LOGIN - 1, True),
    "a login that is due": (WINDOW, True),
    "a login of the future": (-A_LOGIN, True),
    "ended before": (A_LOGIN + 1, False),
    "ended then": (A_LOGIN, False),
    "ended since": (A_LOGIN - 1, False),
    "ended long ago": (WINDOW, False),
    "ended in the future": (-A_LOGIN, False),
}
OPEN = {
    *(("live", there) for there in THERE if there not in ("ended then", "ended since")),
    *((here, there) for here in ("due", "none", "of the future") for there in ("a login before", "a login since")),
}
BY_WHOM = {"nobody": True, "this host": False, "another host": False}


def lay(mapd: Mapd, others: From, here: str, there: str) -> None:
    if (age := HERE[here]) is not None:
        mapd.stamp(V4, age)
    if told := THERE[there]:
        others.tell(V4, *told)


def deny(mapd: Mapd, others: From, by: str) -> None:
    if by == "this host":
        mapd.site.deny(V4)
    elif by == "another host":
        others.deny("192.0.2.0/28")


@pytest.mark.parametrize("by", BY_WHOM)
@pytest.mark.parametrize(("here", "there"), list(itertools.product(HERE, THERE)))
def test_the_newest_of_both_decides_unless_somebody_denies_it(
    mapd: Mapd, others: From, here: str, there: str, by: str
) -> None:
    lay(mapd, others, here, there)
    deny(mapd, others, by)
    stamp = mapd.site.stamps / V4
    if by == "this host" and HERE[here] is not None and not stamp.exists():
        mapd.stamp(V4, HERE[here] or 0)  # the denial has ended it, and it comes from somewhere
    assert mapd.is_open() == (BY_WHOM[by] and (here, there) in OPEN)


AGES = st.one_of(st.none(), st.floats(-2 * WINDOW, 2 * WINDOW), st.sampled_from([0.0, float(WINDOW), A_LOGIN]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(here=AGES, there=AGES, is_live=st.booleans(), is_denied=st.booleans())
def test_an_address_relays_if_and_only_if_the_newest_is_a_live_login_within_the_window_that_nobody_denies(
    mapd: Mapd, others: From, here: float | None, there: float | None, is_live: bool, is_denied: bool
) -> None:
    known = []
    for path in (mapd.site.stamps / V4, others.path / V4):
        path.unlink(missing_ok=True)
    if here is not None:
        known.append((mapd.stamp(V4, here).stat().st_mtime, True))
    if there is not None:
        known.append((others.tell(V4, there, is_live).stat().st_mtime, is_live))
    others.deny(*[V4] * is_denied)
    last, live = max(((time, not live) for time, live in known if time <= NOW), default=(0.0, True))
    assert mapd.is_open() == (not live and last > NOW - WINDOW and not is_denied)


def test_without_share_nothing_that_others_tell_is_looked_at(mapd: Mapd, others: From) -> None:
    others.tell(V4)
    others.deny(V6)
    mapd.stamp(V6)
    assert (mapd.is_open(V4), mapd.is_open(V6)) == (True, False)
    mapd.site.configure()
    assert (mapd.is_open(V4), mapd.is_open(V6)) == (False, True)
    others.configure()
    assert (mapd.is_open(V4), mapd.is_open(V6)) == (True, False)


@pytest.mark.parametrize("kind", [*ODD, "huge"])
def test_what_is_no_small_plain_file_says_nothing(mapd: Mapd, others: From, kind: str) -> None:
    odd: dict[str, Callable[[Path], object]] = {**ODD, "huge": lambda path: path.write_bytes(b"x" * 5000)}
    mapd.stamp(V6, A_LOGIN)
    others.tell("192.0.2.11")  # to which the link leads
    for name in (V4, V6):
        odd[kind](others.path / name)
        os.utime(others.path / name, (NOW, NOW), follow_symlinks=False)
    assert (mapd.is_open(V4), mapd.is_open(V6)) == (False, True)


def loosen(mapd: Mapd, others: From) -> None:
    others.path.chmod(0o775)


def loosen_above(mapd: Mapd, others: From) -> None:
    others.path.parent.chmod(0o777)
    mapd.answers.look(anew=True)


def take_away(mapd: Mapd, others: From) -> None:
    others.path.rename(others.path.with_name("away"))


def link(mapd: Mapd, others: From) -> None:
    take_away(mapd, others)
    others.path.symlink_to("away")


def garble(mapd: Mapd, others: From) -> None:
    (others.path / ".denied").write_text("\xff\n")


def fill(mapd: Mapd, others: From) -> None:
    os.truncate(others.path / ".denied", 1 << 25)


def outnumber(mapd: Mapd, others: From) -> None:
    (others.path / ".denied").write_text("192.0.2.13 - x\n" * (denials.MOST + 1))


def forget(mapd: Mapd, others: From) -> None:
    (others.path / ".denied").unlink()


@pytest.mark.parametrize("harm", [loosen, loosen_above, take_away, link, garble, fill, outnumber, forget])
def test_where_what_others_tell_cannot_be_believed_it_opens_nothing_and_logins_here_go_on(
    mapd: Mapd, others: From, harm: Callable[[Mapd, From], None]
) -> None:
    denied = "192.0.2.12"
    others.tell(V4)
    others.deny(denied)
    for name in (V6, denied):
        mapd.stamp(name)
    (mapd.site.stamps / ".denied-elsewhere").write_text(f"{denied} - root\n")  # as the last run has noted it
    assert [mapd.is_open(name) for name in (V4, V6, denied)] == [True, True, False]
    harm(mapd, others)
    for _ in range(3):
        assert [mapd.is_open(name) for name in (V4, V6, denied)] == [False, True, False]
    (said,) = mapd.said
    assert said.startswith("error: no login on another host counts: ") and str(others.path) in said
    if others.path.is_symlink():
        others.path.unlink()
    if not others.path.exists():
        others.path.with_name("away").rename(others.path)
    others.path.parent.chmod(0o755)
    others.path.chmod(0o755)
    others.deny(denied)
    mapd.answers.look(anew=True)
    assert [mapd.is_open(name) for name in (V4, V6, denied)] == [True, True, False]
    assert mapd.said[1:] == ["mended: logins on other hosts count again"]


@pytest.mark.parametrize("harm", [loosen, take_away, garble, fill, outnumber, forget])
def test_whom_others_deny_stays_out_as_long_as_nobody_knows_better(
    mapd: Mapd, others: From, harm: Callable[[Mapd, From], None]
) -> None:
    for name in (V4, V6):
        mapd.stamp(name)
    others.deny(V4)
    assert (mapd.is_open(V4), mapd.is_open(V6)) == (False, True)
    harm(mapd, others)
    assert (mapd.is_open(V4), mapd.is_open(V6)) == (False, True)
    again = Mapd(mapd.site)  # started since then, it knows by the last run
    assert again.is_open(V4)
    for denied in (V4, V6):
        (mapd.site.stamps / ".denied-elsewhere").write_text(f"{denied} - root\n")
        assert [name for name in (V4, V6) if not again.is_open(name)] == [denied]
    mapd.site.configure()
    assert (mapd.is_open(V4), again.is_open(V6)) == (True, True)


def test_denials_are_read_once_and_a_look_up_asks_for_no_more_of_them_than_there_are_sizes(
    mapd: Mapd, others: From, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether there are ten or a hundred thousand: what is counted is how many of them are looked at."""
    read, compared = list[str](), list[str]()
    real = Folder.read

    def counted(folder: Folder, name: str, *most: int) -> bytes:
        read.append(name)
        return real(folder, name, *most)

    class Counted(denials.Denial):
        def __getattribute__(self, name: str) -> object:
            compared.append(name)
            return super().__getattribute__(name)

    monkeypatch.setattr(Folder, "read", counted)
    monkeypatch.setattr(denials, "Denial", Counted)
    mapd.stamp(V4)
    lines = [f"10.{n >> 8 & 255}.{n & 255}.1" for n in range(3000)] + [f"10.64.{n}.0/24" for n in range(200)]
    mapd.site.stamps.joinpath(".denied").write_text("".join(f"{text} - root\n" for text in lines))
    others.deny(*(f"2001:db8:{n:x}::/48" for n in range(2000)), "192.0.2.10")
    assert not mapd.is_open()
    read.clear()
    for _ in range(100):
        compared.clear()
        assert not mapd.is_open()
        assert 0 < len(compared) < 10
        assert not mapd.is_open("10.0.7.1")
    others.deny(V6)
    assert mapd.is_open()
    assert sorted(read) == [".denied", ".denied"]  # once more, for one of them has changed


@pytest.mark.parametrize("which", ["denied", "_opened"])
def test_what_others_tell_is_read_again_if_that_has_failed_for_a_moment(
    mapd: Mapd, others: From, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    others.tell(V4, A_LOGIN)

    def failing(its: Elsewhere, *_: str) -> None:
        raise StampFailed(f"{others.path}: Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Elsewhere, which, failing)
        assert not mapd.is_open()
    assert mapd.is_open()
    assert len(mapd.said) == 2 and "Too many open files" in mapd.said[0]
    assert "logins on other hosts count again" in mapd.said[1]
