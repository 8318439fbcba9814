"""A file that is no such map is refused, with the cure, and left as it is."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from popips.maps import MapError, Missing, Place
from tests.maps.files import Files


def truncated(files: Files) -> None:
    os.truncate(files.db, 5000)


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
    ("btree", make_btree, "not a hash file of Berkeley DB; make it: "),
    ("version 10", version_ten, "of a version that this libdb does not read"),
    ("folder", replaced(os.mkdir), "cannot be opened"),
    ("link", linked, "cannot be opened"),
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


def test_places_are_named_as_the_mtas_do() -> None:
    assert Place.parse("hash:/etc/mail/access") == Place.parse("hash:/etc/mail/access.db")
    assert Place.parse("hash:/etc/mail/access").source == "/etc/mail/access"
