"""A map is changed in place, under the lock of the MTA, through a journal; or it is refused, and left as it is."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from popips.maps.berkeley import Reader, Records, Writer

from popips.maps import Busy, MapError, Missing, Place, berkeley, journal, lock
from popips.maps.libdb import DBError
from tests.conftest import NOW, Site


@pytest.fixture(params=["hash", "btree"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return Site(tmp_path, request.param)


def soon() -> float:
    return time.monotonic() + 60


def put(site: Site, key: str, value: str = "RELAY") -> None:
    with Writer(site.place, "", site.now, soon()) as writer:
        writer.change(lambda records: records.put(key.encode(), value.encode()))


def delete(site: Site, key: str) -> None:
    with Writer(site.place, "", site.now, soon()) as writer:
        writer.change(lambda records: records.delete(key.encode()))


def get(site: Site, key: str) -> str | None:
    with Reader(site.place, soon()) as records:
        value = records.get(key.encode())
    return value if value is None else value.decode()


def many(count: int) -> dict[str, str]:
    return {f"10.{n // 65536}.{n // 256 % 256}.{n % 256}": "REJECT" for n in range(count)}


def text_of(records: dict[str, str]) -> str:
    return "".join(f"{key}\t{value}\n" for key, value in records.items())


# ---- what is written is what sendmail's own tools read


def test_makemap_and_db_dump_read_what_was_put(either: Site) -> None:
    either.build("192.0.2.1 REJECT\n")
    put(either, "ipv6:2001:db8:0:0:0:0:0:10")
    assert either.records() == {"192.0.2.1": "REJECT", "ipv6:2001:db8:0:0:0:0:0:10": "RELAY"}
    dump = subprocess.run(["db5.3_dump", "-p", str(either.db)], check=True, capture_output=True, text=True).stdout
    assert " ipv6:2001:db8:0:0:0:0:0:10\n RELAY\n" in dump
    assert subprocess.run(["db5.3_verify", str(either.db)], capture_output=True).returncode == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 400)), max_size=60), st.sampled_from([0, 150, 2000]))
@settings(max_examples=25, deadline=None)
def test_any_row_of_changes_leaves_what_a_dictionary_would(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[bool, int]], static: int
) -> None:
    site = Site(tmp_path_factory.mktemp("site"))
    model = many(static)
    site.build(text_of(model))
    with Writer(site.place, "", NOW, soon()) as writer:
        for is_put, number in changes:
            key = f"10.0.{number // 256}.{number % 256}"

            def step(records: Records, key: str = key, is_put: bool = is_put) -> None:
                if is_put:
                    records.put(key.encode(), b"RELAY")
                else:
                    records.delete(key.encode())

            writer.change(step)
            if is_put:
                model[key] = "RELAY"
            else:
                model.pop(key, None)
    assert site.records() == model


def test_putting_so_many_that_buckets_split_loses_none(either: Site) -> None:
    static = many(2000)
    either.build(text_of(static))
    size = either.db.stat().st_size
    new = {f"172.16.{n // 256}.{n % 256}": "RELAY" for n in range(3000)}

    def step(records: Records) -> None:
        for key in new:
            records.put(key.encode(), b"RELAY")

    with Writer(either.place, "", NOW, soon()) as writer:
        writer.change(step)
    assert either.db.stat().st_size > size
    assert either.records() == static | new


def test_nul_terminated_keys_are_recognised_and_followed(site: Site) -> None:
    site.build("192.0.2.1 REJECT\n", "-N")
    assert get(site, "192.0.2.1") == "REJECT"
    put(site, "192.0.2.10")
    dump = subprocess.run(["db5.3_dump", "-p", str(site.db)], check=True, capture_output=True, text=True).stdout
    assert " 192.0.2.10\\00\n RELAY\\00\n" in dump
    delete(site, "192.0.2.1")
    with Reader(site.place, soon()) as records:
        assert dict(records.items()) == {b"192.0.2.10": b"RELAY"}


def test_a_map_with_duplicate_keys_has_them_replaced_and_deleted_together(site: Site) -> None:
    site.build("192.0.2.1 REJECT\n192.0.2.1 OK\n192.0.2.2 OK\n", "-d")
    put(site, "192.0.2.1")
    assert site.records() == {"192.0.2.1": "RELAY", "192.0.2.2": "OK"}


def test_no_limit_runs_but_while_libdb_does(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pager, or a cold disk with many stamps, may keep whoever reads for longer than libdb ever takes."""
    site.build("192.0.2.1 REJECT\n192.0.2.2 OK\n")
    armed: list[int] = []
    monkeypatch.setattr(berkeley, "alarm", armed.append)
    with Reader(site.place, soon()) as records:
        assert armed.pop() == 0
        for _ in records.items():
            assert armed.pop() == 0
        records.get(b"192.0.2.1")
        assert armed.pop() == 0
    assert (armed[-1], set(armed)) == (0, {0, berkeley.LIBDB_LIMIT})
    assert armed.count(0) + 4 == armed.count(berkeley.LIBDB_LIMIT)  # four were looked at, and are gone


def test_a_map_that_goes_round_in_a_circle_comes_to_an_end() -> None:
    class Circle:
        def cursor(self) -> Circle:
            return self

        def first(self) -> tuple[bytes, bytes]:
            return b"192.0.2.1", b"REJECT"

        next = first

    with pytest.raises(DBError, match="more records than bytes"):
        list(Records(Circle(), b"", 10).items())


# ---- in place


def test_owner_group_mode_and_inode_stay(site: Site) -> None:
    os.chown(site.db, 0, 12)
    site.db.chmod(0o660)
    before = site.db.stat()
    put(site, "192.0.2.10")
    after = site.db.stat()
    assert [getattr(after, f) for f in FIXED] == [getattr(before, f) for f in FIXED]


FIXED = ("st_ino", "st_uid", "st_gid", "st_mode", "st_nlink")


@pytest.mark.parametrize(
    ("old", "expected", "why"),
    [
        (NOW - 100, NOW, "the clock is ahead of the map"),
        (NOW, NOW + 1, "two changes in a second differ by one"),
        (NOW + 10, NOW + 11, "so do many"),
        (NOW + 59.5, NOW + 60, "but only a minute ahead"),
        (NOW + 3600, NOW + 60, "and a map from the future comes back"),
    ],
)
def test_each_change_moves_the_mtime_by_a_second_at_least(site: Site, old: float, expected: float, why: str) -> None:
    os.utime(site.db, (old, old))
    put(site, "192.0.2.10")
    assert site.db.stat().st_mtime == expected, why


def test_a_step_that_changes_nothing_leaves_the_file_alone(site: Site) -> None:
    put(site, "192.0.2.10")
    before = site.db.stat()
    put(site, "192.0.2.10")
    delete(site, "192.0.2.99")
    assert site.db.stat().st_mtime_ns == before.st_mtime_ns


def test_between_changes_the_journal_is_done_with_and_roots_own(site: Site) -> None:
    put(site, "192.0.2.10")
    assert Path(f"{site.db}.popips").stat().st_mode & 0o777 == journal.DONE
    assert journal.is_idle(str(site.db))


def test_of_a_big_change_little_stays_in_the_journal(site: Site) -> None:
    def step(records: Records) -> None:
        for number in range(100):
            records.put(b"198.18.0.%d" % number, b"x" * 900)

    with Writer(site.place, "", site.now, soon()) as writer:
        writer.change(step)
    assert Path(f"{site.db}.popips").stat().st_size == journal.ROOM


def test_only_its_mode_says_that_a_change_is_done(site: Site) -> None:
    put(site, "192.0.2.10")
    kept = journal.Journal(str(site.db), soon())
    done = kept.left()
    Path(kept.path).chmod(journal.LEFT)
    assert (done, bool(kept.left())) == (None, True)


def test_a_writer_that_dies_while_it_keeps_a_change_leaves_none(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes, or those of the change before, must not be taken for one that was begun."""
    put(site, "192.0.2.10")
    monkeypatch.setattr("popips.maps.journal.os.fchmod", lambda fd, mode: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        put(site, "192.0.2.11")
    assert journal.is_idle(str(site.db))


def test_a_journal_of_an_older_version_is_finished(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was empty between changes; its mode was 0600 always, as it is while there is something to be finished."""
    monkeypatch.setattr(journal.Journal, "clear", lambda self: None)
    put(site, "192.0.2.10")
    assert not journal.is_idle(str(site.db))
    monkeypatch.undo()
    delete(site, "192.0.2.99")
    assert journal.is_idle(str(site.db))
    assert site.records()["192.0.2.10"] == "RELAY"


# ---- the lock


@pytest.mark.parametrize("how", ["flock", "fcntl"])
@pytest.mark.parametrize("shared", [False, True])
def test_the_locks_of_both_builds_of_sendmail_are_respected(site: Site, how: str, shared: bool) -> None:
    program = (
        f"import fcntl, sys; f = open({str(site.db)!r}, 'r+b');"
        f"fcntl.{'flock' if how == 'flock' else 'lockf'}(f, fcntl.LOCK_{'SH' if shared else 'EX'});"
        "print('locked', flush=True); sys.stdin.read()"
    )
    before = site.db.read_bytes()
    with subprocess.Popen(["python3", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout and other.stdin
        other.stdout.readline()
        now = time.monotonic()
        with pytest.raises(Busy), Writer(site.place, "", NOW, now + 0.05) as writer:
            writer.change(lambda records: records.put(b"192.0.2.10", b"RELAY"))
        if shared:
            assert get(site, "192.0.2.10") is None
        else:
            with pytest.raises(Busy):
                Reader(site.place, now + 0.05)
        other.stdin.close()
    assert site.db.read_bytes() == before
    put(site, "192.0.2.10")
    assert get(site, "192.0.2.10") == "RELAY"


def locked_by_another(path: Path) -> bool:
    """Tell whether the file is locked exclusively, by either kind of lock."""
    fd = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, lock._range(fcntl.F_RDLCK))
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def test_bytes_are_written_under_the_exclusive_lock_alone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    write = journal.Change.write

    def watched(change: journal.Change, fd: int) -> None:
        seen.append(locked_by_another(site.db))
        write(change, fd)

    monkeypatch.setattr(journal.Change, "write", watched)
    put(site, "192.0.2.10")
    assert seen == [True]


@pytest.mark.parametrize("while_waiting_for", ["shared", "exclusive"])
def test_a_map_that_was_renamed_over_while_waiting_is_opened_again(
    site: Site, monkeypatch: pytest.MonkeyPatch, while_waiting_for: str
) -> None:
    take = lock.take
    renamed: list[int] = []

    def rename_meanwhile(fd: int, exclusive: bool, until: float, path: str) -> None:
        if not renamed and exclusive == (while_waiting_for == "exclusive"):
            # the same records and bytes, as by `cp -p` and mv: only the inode tells
            shutil.copy2(site.db, f"{site.folder}/new.db")
            os.rename(f"{site.folder}/new.db", site.db)
            renamed.append(1)
        take(fd, exclusive, until, path)

    site.build("192.0.2.1 REJECT\n")
    monkeypatch.setattr(lock, "take", rename_meanwhile)
    put(site, "192.0.2.10")
    assert site.records() == {"192.0.2.1": "REJECT", "192.0.2.10": "RELAY"}


@pytest.mark.parametrize("rebuild", ["in place", "by rename"])
def test_a_map_that_was_rebuilt_before_the_commit_is_copied_again(
    site: Site, monkeypatch: pytest.MonkeyPatch, rebuild: str
) -> None:
    keep = journal.Journal.keep
    rebuilt: list[int] = []

    def rebuild_meanwhile(self: journal.Journal, change: journal.Change) -> None:
        keep(self, change)
        if not rebuilt:
            rebuilt.append(1)
            if rebuild == "in place":
                site.build("192.0.2.1 REJECT\n")
            else:
                subprocess.run(
                    ["makemap", "hash", f"{site.folder}/new.db"],
                    input=b"192.0.2.1 REJECT\n",
                    check=True,
                    stderr=subprocess.DEVNULL,
                )
                os.rename(f"{site.folder}/new.db", site.db)

    monkeypatch.setattr(journal.Journal, "keep", rebuild_meanwhile)
    put(site, "192.0.2.10")
    assert site.records() == {"192.0.2.1": "REJECT", "192.0.2.10": "RELAY"}


# ---- the journal


class Killed(BaseException):
    pass


def die(*_: object) -> None:
    raise Killed


DEATHS: list[tuple[str, Callable[[pytest.MonkeyPatch], None]]] = [
    ("before a byte is written", lambda patch: patch.setattr(journal.Change, "write", die)),
    ("before all are written", lambda patch: patch.setattr(journal.Change, "write", half)),
    ("after they are written", lambda patch: patch.setattr(journal.Journal, "clear", die)),
]


def half(change: journal.Change, fd: int) -> None:
    for offset, _, new in change.chunks[len(change.chunks) // 2 :]:
        os.pwrite(fd, new, offset)
    raise Killed


def splits(records: Records) -> None:
    for n in range(400):
        records.put(b"172.16.0.%d.%d" % (n // 256, n % 256), b"RELAY")


@pytest.mark.parametrize("death", [death for _, death in DEATHS], ids=[name for name, _ in DEATHS])
def test_the_next_writer_finishes_or_forgets_what_a_dead_one_began(
    site: Site, death: Callable[[pytest.MonkeyPatch], None]
) -> None:
    static = many(2000)
    site.build(text_of(static))
    with pytest.MonkeyPatch.context() as patch:
        death(patch)
        with pytest.raises(Killed), Writer(site.place, "", NOW, soon()) as writer:
            writer.change(splits)
    assert not journal.is_idle(str(site.db))
    put(site, "192.0.2.10")
    after = site.records()
    assert after.items() >= static.items()
    assert len(after) - len(static) in (1, 401)
    assert journal.is_idle(str(site.db))


def test_what_a_dead_writer_left_is_never_put_over_an_admins_rebuild(site: Site) -> None:
    site.build(text_of(many(2000)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal.Change, "write", half)
        with pytest.raises(Killed), Writer(site.place, "", NOW, soon()) as writer:
            writer.change(splits)
    rebuilt = text_of({"198.51.100.1": "REJECT"} | many(2000))
    site.build(rebuilt)
    put(site, "192.0.2.10")
    assert site.records() == {"198.51.100.1": "REJECT", "192.0.2.10": "RELAY"} | many(2000)


def test_a_torn_journal_means_that_nothing_was_begun(site: Site) -> None:
    put(site, "192.0.2.10")
    Path(f"{site.db}.popips").write_bytes(journal.MAGIC + b"half of something")
    put(site, "192.0.2.11")
    assert site.records() == {"192.0.2.10": "RELAY", "192.0.2.11": "RELAY"}


@given(st.binary(max_size=9000), st.binary(max_size=9000))
def test_a_change_is_read_back_as_it_was_written(old: bytes, new: bytes) -> None:
    change = journal.Change.between(old, new)
    if change is None:
        assert old == new
        return
    back = journal.Change.unpack(change.pack())
    assert back is not None
    assert (back.old_size, back.new_size, back.chunks) == (change.old_size, change.new_size, change.chunks)
    assert journal.Change.unpack(change.pack()[:-1]) is None


@given(st.binary(max_size=20000), st.binary(max_size=20000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_change_turns_the_old_bytes_into_the_new_ones(tmp_path: Path, old: bytes, new: bytes) -> None:
    change = journal.Change.between(old, new)
    path = tmp_path / "file"
    path.write_bytes(old)
    with path.open("r+b") as file:
        if change:
            assert change.not_begun(file.fileno())
            change.write(file.fileno())
    assert path.read_bytes() == new


# ---- what is refused


def truncated(site: Site) -> None:
    os.truncate(site.db, 5000)


def version_ten(site: Site) -> None:
    data = bytearray(site.db.read_bytes())
    data[16] = 10
    site.db.write_bytes(data)


def linked(site: Site) -> None:
    site.db.rename(site.folder / "x")
    site.db.symlink_to(site.folder / "x")


def replaced(make: Callable[[Path], None]) -> Callable[[Site], None]:
    def replace(site: Site) -> None:
        site.db.unlink()
        make(site.db)

    return replace


def make_btree(site: Site) -> None:
    site.db.unlink()
    subprocess.run(["makemap", "btree", str(site.db)], input=b"", check=True, stderr=subprocess.DEVNULL)


BROKEN: list[tuple[str, Callable[[Site], object], str]] = [
    ("missing", lambda site: site.db.rename(site.folder / "x"), "there is no such file; make it: makemap hash "),
    ("empty", lambda site: site.db.write_bytes(b""), "empty; make it: makemap hash "),
    ("text", lambda site: site.db.write_text("192.0.2.1 REJECT\n" * 9), "not a hash file of Berkeley DB; make it: "),
    ("btree", make_btree, "not a hash file of Berkeley DB; make it: "),
    ("version 10", version_ten, "of a version that this libdb does not read"),
    ("folder", replaced(os.mkdir), "cannot be opened"),
    ("link", linked, "cannot be opened"),
    ("fifo", replaced(os.mkfifo), "not a plain file"),
    ("hard link", lambda site: os.link(site.db, site.folder / "x"), "not a plain file"),
    ("foreign", lambda site: os.chown(site.db, 12345, 12345), "its owner is neither root nor smmta nor its folder's"),
]


@pytest.mark.parametrize(("broken", "says"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_file_that_is_no_such_map_is_refused_with_the_cure_and_left_alone(
    site: Site, broken: Callable[[Site], object], says: str
) -> None:
    broken(site)
    before = sorted((path.name, path.lstat().st_mtime_ns) for path in site.folder.iterdir())
    uses: list[Callable[[], object]] = [lambda: put(site, "192.0.2.10"), lambda: get(site, "192.0.2.10")]
    for use in uses:
        with pytest.raises(MapError) as error:
            use()
        assert str(error.value).startswith(f"{site.db}: ")
        assert says in str(error.value)
    after = sorted((path.name, path.lstat().st_mtime_ns) for path in site.folder.iterdir() if path.suffix != ".popips")
    assert after == before


def test_a_missing_map_is_told_from_a_bad_one(site: Site) -> None:
    site.db.unlink()
    with pytest.raises(Missing):
        put(site, "192.0.2.10")
    assert not site.db.exists()


@pytest.mark.parametrize("what", ["link", "hard link", "others may write", "foreign", "folder", "fifo"])
def test_an_unsafe_journal_is_refused(site: Site, what: str) -> None:
    path = Path(f"{site.db}.popips")
    target = site.folder / "target"
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
        put(site, "192.0.2.10")
    assert target.read_text() == "precious"
    assert site.records() == {}


def test_places_are_named_as_the_mtas_do() -> None:
    assert Place.parse("hash:/etc/mail/access") == Place.parse("hash:/etc/mail/access.db")
    assert Place.parse("hash:/etc/mail/access").source == "/etc/mail/access"
    assert berkeley.AHEAD == 60


def test_a_cursor_that_fails_without_a_word_means_a_damaged_map(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """As bsddb3's does on some bad pages: SystemError, error return without exception set."""

    def fail(*_: object) -> None:
        raise SystemError("error return without exception set")

    monkeypatch.setattr(Records, "__init__", fail)
    with pytest.raises(MapError, match=r"damaged, or of a version"):
        put(site, "192.0.2.10")
    with pytest.raises(MapError, match=r"damaged, or of a version"):
        get(site, "192.0.2.10")
