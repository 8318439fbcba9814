"""A file that is no such map is refused, with the cure, and left as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from popips.maps import MapError, Missing, Place, kinds
from popips.maps.seal import Seal
from tests.maps.files import Files, soon


def version_ten(files: Files) -> None:
    data = bytearray(files.db.read_bytes())
    data[16] = 10
    files.db.write_bytes(data)


def linked(files: Files) -> None:
    files.db.rename(files.folder / "x")
    files.db.symlink_to(files.folder / "x")


def replaced(make: Callable[[Path], None]) -> Callable[[Files], None]:
    def replace(files: Files) -> None:
        files.db.unlink()
        make(files.db)

    return replace


def make_btree(files: Files) -> None:
    files.db.unlink()
    subprocess.run(["makemap", "btree", str(files.db)], input=b"", check=True, stderr=subprocess.DEVNULL)


BROKEN: list[tuple[str, Callable[[Files], object], str]] = [
    ("missing", lambda files: files.db.rename(files.folder / "x"), "there is no such file; make it: makemap hash "),
    ("empty", lambda files: files.db.write_bytes(b""), "empty; make it: makemap hash "),
    ("text", lambda files: files.db.write_text("192.0.2.1 REJECT\n" * 9), "not a hash file of Berkeley DB; make it: "),
    ("btree", make_btree, "a btree map; write btree:/"),
    ("version 10", version_ten, "of a version that this libdb does not read"),
    ("folder", replaced(os.mkdir), "cannot be opened"),
    ("link", linked, "it is a symbolic link; name the file that it leads to"),
    ("fifo", replaced(os.mkfifo), "not a plain file"),
    ("hard link", lambda files: os.link(files.db, files.folder / "x"), "not a plain file"),
    ("foreign", lambda files: os.chown(files.db, 12345, 12345), "its owner is neither root nor smmta nor its folder's"),
]


@pytest.mark.parametrize(("broken", "says"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_file_that_is_no_such_map_is_refused_with_the_cure_and_left_alone(
    files: Files, broken: Callable[[Files], object], says: str
) -> None:
    broken(files)
    before = sorted((path.name, path.lstat().st_mtime_ns) for path in files.folder.iterdir())
    uses: list[Callable[[], object]] = [lambda: files.put("192.0.2.10"), lambda: files.get("192.0.2.10")]
    for use in uses:
        with pytest.raises(MapError) as error:
            use()
        assert str(error.value).startswith(f"{files.db}: ")
        assert says in str(error.value)
    after = sorted((path.name, path.lstat().st_mtime_ns) for path in files.folder.iterdir() if path.suffix != ".popips")
    assert after == before


def test_a_missing_map_is_told_from_a_bad_one(files: Files) -> None:
    files.db.unlink()
    with pytest.raises(Missing):
        files.put("192.0.2.10")
    assert not files.db.exists()


@pytest.mark.parametrize("what", ["link", "hard link", "others may write", "foreign", "folder", "fifo"])
def test_an_unsafe_journal_is_refused(files: Files, what: str) -> None:
    path = files.journal
    target = files.folder / "target"
    target.write_text("precious")
    if what == "link":
        path.symlink_to(target)
    elif what == "hard link":
        os.link(target, path)
    elif what == "foreign":
        path.touch(0o600)
        os.chown(path, 12345, 12345)
    elif what == "folder":
        path.mkdir()
    elif what == "fifo":
        os.mkfifo(path)
    else:
        path.write_bytes(b"")
        path.chmod(0o666)
    with pytest.raises(MapError, match="popips: "):
        files.put("192.0.2.10")
    assert target.read_text() == "precious"
    assert files.records() == {}


@pytest.mark.parametrize("own", [False, True])
def test_a_map_that_sendmail_cannot_ask_is_refused_with_the_types_that_it_can(tmp_path: Path, own: bool) -> None:
    place = Place("lmdb", f"{tmp_path}/clients.lmdb", own=own)
    for use in (lambda: kinds.writer(place, "", 0, soon()), lambda: kinds.reader(place, soon())):
        with pytest.raises(MapError, match=r"sendmail does not ask such .* one of the types hash, btree, cdb, mapd$"):
            use()


@pytest.mark.parametrize(("kind", "postfix"), [("lmdb", True), ("cdb", True), ("cdb", False)])
def test_a_map_that_is_made_anew_as_a_whole_is_changed_only_if_it_is_popips_own(
    tmp_path: Path, kind: str, postfix: bool
) -> None:
    place = Place(kind, f"{tmp_path}/clients.{kind}", postfix=postfix)
    for use in (lambda: kinds.writer(place, "", 0, soon()), lambda: kinds.reader(place, soon())):
        with pytest.raises(MapError, match="own_map = yes"):
            use()


def test_a_map_of_the_admins_is_never_made_anew(files: Files) -> None:
    files.build("192.0.2.1 REJECT\n")
    with files.writer() as writer, pytest.raises(MapError, match="the admin's"):
        writer.rebuild([(b"192.0.2.10", b"RELAY")])
    assert files.records() == {"192.0.2.1": "REJECT"}


@pytest.mark.parametrize(
    ("is_own", "change"),
    [(False, "change(put, print)"), (True, "change(put, print)"), (True, "rebuild([(b'192.0.2.11', b'RELAY')])")],
)
def test_without_the_capability_to_set_times_nothing_is_changed_and_the_cure_is_named(
    tmp_path: Path, is_own: bool, change: str
) -> None:
    files = Files(tmp_path, own=is_own)
    if is_own:
        files.rebuild()
    for path in (tmp_path, files.db):  # the folder's owner may own the map
        os.chown(path, 12345, 12345)
    with files.writer() as writer:  # whose change is no news to popips
        writer._journal.seal = Seal(writer._state())  # type: ignore[attr-defined]
    before = files.db.read_bytes()
    program = f"""
import sys, time
from popips.maps import MapError, Place, kinds
def put(records):
    records.put(b"192.0.2.10", b"RELAY")
try:
    with kinds.writer(Place("hash", {str(files.db)!r}, own={is_own}), "", time.time(), time.monotonic() + 9) as writer:
        writer.{change}
except MapError as error:
    sys.exit(str(error))
"""
    command = ["setpriv", "--bounding-set", "-fowner", "--inh-caps", "-fowner", sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "the capability CAP_FOWNER" in done.stderr
    assert files.db.read_bytes() == before
    assert files.is_sealed()


def test_names_of_one_file_are_told_to_be_the_same(files: Files) -> None:
    (files.folder / "link").symlink_to(files.folder)
    for name in (f"{files.folder}/link/access", f"{files.folder}/./access.db", f"/{files.folder}//access"):
        assert Place.parse(f"hash:{name}").is_same(files.place)
    assert not Place.parse(f"hash:{files.folder}/other").is_same(files.place)


def test_places_are_named_as_the_mtas_do() -> None:
    assert Place.parse("hash:/etc/mail/access") == Place.parse("hash:/etc/mail/access.db")
    assert Place.parse("hash:/etc/mail/access").source == "/etc/mail/access"
