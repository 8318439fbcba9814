"""Maps made anew as a whole, by tools of a real Postfix and sendmail: text and seal see to it that none is stale."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.box import ROOT, Box
from tests.postfix import unpack_postfix
from tests.sendmail_cdb import take_berkeley_db_away
from tests.strace import STRACE, injecting, on

PROGRAM = """
import json, os, sys, time
from popips.maps import MapError, Place, kinds
mta, kind, path, *steps = sys.argv[1:]
place = Place(kind, path, own=True, postfix=mta == "postfix")
told = []
for step in steps:
    verb, *keys = step.split()
    keys = [key.encode() for key in keys]
    try:
        with kinds.writer(place, "", time.time(), time.monotonic() + 60) as writer:
            if verb == "put":
                writer.change(lambda records: [records.put(key, b"OK") for key in keys], lambda: None)
            elif verb == "del":
                writer.change(lambda records: [records.delete(key) for key in keys], lambda: None)
            elif verb == "rebuild":
                writer.rebuild([(key, b"OK") for key in keys])
            elif verb == "look":
                writer.look(lambda records: told.append(sorted(key.decode() for key, _ in records.items())))
            elif verb == "show":
                writer.show()
            told.append(writer.sealed())
    except MapError as error:
        told.append(f"{type(error).__name__}: {error}")
print(json.dumps(told))
"""
A, B, STATIC = "192.0.2.10", "192.0.2.11", "198.51.100.7"


@dataclass(frozen=True)
class Host:
    """A box with the tools of an MTA, and a map of popips' own in it."""

    box: Box
    mta: str
    kind: str

    @property
    def text(self) -> Path:
        return self.box.scratch / "clients"

    @property
    def file(self) -> Path:
        return self.box.scratch / f"clients.{self.kind}"

    def do(self, *steps: str, under: Iterable[str] = ()) -> list[object]:
        """Take the steps, each with a writer of its own; return what each says: mostly whether the map is sealed.

        under: words of a program, strace say, that runs them.
        """
        done = self.box.run([*under, *self.command(*steps)], env={"PYTHONPATH": str(ROOT)})
        assert done.returncode == 0, done.stderr
        told: list[object] = json.loads(done.stdout)
        return told

    def command(self, *steps: str) -> list[str]:
        return [sys.executable, "-c", PROGRAM, self.mta, self.kind, str(self.file), *steps]

    @property
    def program(self) -> str:
        return "postmap" if self.mta == "postfix" else "makemap"

    def ask(self, *keys: str) -> list[str]:
        """What the MTA's program finds."""
        if self.mta == "postfix":
            return [self.box.run(["postmap", "-q", key, f"{self.kind}:{self.text}"]).stdout.strip() for key in keys]
        lines = self.box.run(["makemap", "-u", self.kind, self.file]).stdout.splitlines()
        found = dict(line.split("\t") for line in lines)
        return [found.get(key, "") for key in keys]


@pytest.fixture(params=["postfix lmdb", "postfix cdb", "sendmail cdb"])
def host(request: pytest.FixtureRequest, programs: Path, tmp_path: Path) -> Iterator[Host]:
    with Box(programs, tmp_path / "box") as box:
        host = Host(box, *request.param.split())
        unpack_postfix(box) if host.mta == "postfix" else take_berkeley_db_away(box)
        yield host


def test_it_is_made_changed_and_looked_at(host: Host) -> None:
    (unsound,) = host.do(f"put {A}")
    assert str(unsound).startswith("Unsound: ")
    assert host.do(f"rebuild {A}", f"put {B}", "look", f"del {A}", "show") == [True, True, [A, B], True, True, True]
    assert host.ask(A, B) == ["", "OK"]
    assert (host.file.stat().st_mode & 0o777, host.text.stat().st_mode & 0o777) == (0o640, 0o640)


def test_each_change_moves_the_mtime_by_a_second_so_that_the_mta_sees_it(host: Host) -> None:
    host.do("rebuild")
    seen = [int(host.file.stat().st_mtime)]
    for _ in range(3):
        host.do(f"put {A}", f"del {A}")
        seen.append(int(host.file.stat().st_mtime))
    assert all(later > earlier for earlier, later in zip(seen, seen[1:]))


@pytest.mark.parametrize("what", ["missing", "empty", "garbage", "text missing", "text cut", "text is another"])
def test_what_is_not_as_popips_left_it_is_made_anew(host: Host, what: str) -> None:
    host.do(f"rebuild {A}")
    if what == "missing":
        host.file.unlink()
    elif what in ("empty", "garbage"):
        host.file.write_bytes(b"x" * 9000 if what == "garbage" else b"")
    elif what == "text missing":
        host.text.unlink()
    else:
        host.text.write_bytes(host.text.read_bytes().replace(b"10", b"12") if "another" in what else b"")
    told = host.do(f"put {B}", "look", f"rebuild {A} {B}")
    assert [str(word).partition(":")[0] for word in told] == ["Unsound", "Unsound", "True"]
    assert host.ask(A, B) == ["OK", "OK"]


def test_a_text_that_was_not_made_by_popips_is_left_alone(host: Host) -> None:
    host.text.write_text(f"{STATIC} REJECT\n")
    (told,) = host.do(f"rebuild {A}")
    assert "not made by popips; own_map = yes is for a map that holds nothing else: name another" in str(told)
    assert host.text.read_text() == f"{STATIC} REJECT\n"


def test_where_its_program_fails_the_map_stays_and_is_made_anew_later(host: Host) -> None:
    host.do(f"rebuild {A}")
    host.box.run(["sh", "-c", "printf '#!/bin/sh\necho no space >&2; exit 1\n' > /run/fails; chmod 755 /run/fails"])
    host.box.run(["mount", "--bind", "/run/fails", f"/usr/sbin/{host.program}"])
    (told,) = host.do(f"put {B}")
    assert str(told).startswith("Failed: ") and "no space" in str(told)
    host.box.run(["umount", f"/usr/sbin/{host.program}"])
    assert host.ask(A, B) == ["OK", ""]
    assert str(host.do(f"put {B}")[0]).startswith("Unsound: ")
    host.do(f"rebuild {A} {B}")
    assert host.ask(A, B) == ["OK", "OK"]


def test_text_and_map_are_roots(host: Host) -> None:
    """makemap gives what it reads, and other versions of it the map, to the TrustedUser of sendmail.cf."""
    host.do(f"rebuild {A}", f"put {B}")
    assert [(path.stat().st_uid, path.stat().st_gid) for path in (host.text, host.file)] == [(0, 0)] * 2


def test_a_program_that_cannot_be_run_is_named(host: Host) -> None:
    host.do(f"rebuild {A}")
    host.box.run(["sh", "-c", "echo > /run/none"])
    host.box.run(["mount", "--bind", "/run/none", f"/usr/sbin/{host.program}"])
    assert host.do(f"put {B}") == [f"MapError: /usr/sbin/{host.program}: cannot be run: Permission denied"]


def test_of_a_line_for_each_record_the_first_ones_are_told(host: Host) -> None:
    host.do(f"rebuild {A}")
    script = "#!/bin/sh\nhead -c 9000000 /dev/zero | tr '\\0' x; exit 1\n"
    host.box.run(["sh", "-c", "cat > /run/says; chmod 755 /run/says"], stdin=script)
    host.box.run(["mount", "--bind", "/run/says", f"/usr/sbin/{host.program}"])
    (told,) = host.do(f"put {B}")
    assert str(told).endswith(f": {host.program}: {'x' * 300}...")


# the calls by which each program writes, and behind the text's name the file that it writes into
WRITES = [
    ("postfix lmdb", "fdatasync", 1, ".lmdb"),
    ("postfix lmdb", "pwrite64", 1, ".lmdb"),
    ("postfix cdb", "write", 1, ".cdb.tmp"),
    ("postfix cdb", "write", 2, ".cdb.tmp"),
    ("sendmail cdb", "write", 1, ".new.cdb"),
    ("sendmail cdb", "write", 2, ".new.cdb"),
    ("sendmail cdb", "fsync", 1, ".new.cdb"),
]


@pytest.mark.parametrize(("host", "call", "number", "ending"), WRITES, indirect=["host"])
def test_a_map_that_was_not_written_is_not_taken_for_written(host: Host, call: str, number: int, ending: str) -> None:
    """postmap ends with status 0 where LMDB could not write, and leaves the old map or an empty one."""
    fails = [*injecting(call, f"error=EIO:when={number}"), *on([f"{host.text}{ending}"])]
    for step in (f"rebuild {A}", f"put {B}"):  # first where there is no map
        (told,) = host.do(step, under=fails)
        assert told is not True
        assert host.do(f"rebuild {A}") == [True]
        assert host.ask(A, B) == ["OK", ""]


@pytest.mark.parametrize("host", ["postfix lmdb", "postfix cdb"], indirect=True)
def test_a_type_that_postfix_does_not_have_is_named_with_those_it_has(host: Host) -> None:
    host.box.run(["sed", "-i", f"/^{host.kind}/d", "/etc/postfix/dynamicmaps.cf"])
    (told,) = host.do("rebuild")
    assert f"this Postfix has no {host.kind}: install postfix-{host.kind}, or name one of the types" in str(told)
    assert " hash " in str(told)


def test_the_text_is_on_the_disk_before_the_map_is_made_of_it(host: Host) -> None:
    host.do("rebuild")
    traced = [*STRACE, "-y", "-e", "trace=fsync,ftruncate,execve", *host.command(f"put {A}")]
    calls = host.box.run(traced, env={"PYTHONPATH": str(ROOT)}).stderr.splitlines()
    where = [
        next(n for n, call in enumerate(calls) if word in call) for word in ("ftruncate", "fsync", f"/{host.program}")
    ]
    assert where == sorted(where)
    assert f"<{host.text}>" in calls[where[1]]
    assert any("fsync" in call and f"<{host.file}>" in call for call in calls[where[2] :])


@pytest.mark.parametrize("host", ["sendmail cdb"], indirect=True)
def test_a_new_file_of_makemaps_is_on_the_disk_before_it_is_renamed(host: Host) -> None:
    host.do("rebuild")
    traced = [*STRACE, "-y", "-e", "trace=fsync,rename", *host.command(f"put {A}")]
    calls = host.box.run(traced, env={"PYTHONPATH": str(ROOT)}).stderr.splitlines()
    new = host.file.with_suffix(".new.cdb")
    synced, renamed = (next(n for n, call in enumerate(calls) if word in call) for word in (f"<{new}>", f'("{new}"'))
    assert synced < renamed


@pytest.mark.parametrize("host", ["sendmail cdb"], indirect=True)
@pytest.mark.parametrize("what", ["file", "hard link", "symbolic link", "fifo"])
def test_what_has_the_name_of_makemaps_new_file_is_not_written_into(host: Host, what: str) -> None:
    """A makemap whose caller was killed may still write into it."""
    host.do(f"rebuild {A}")
    new, other = host.file.with_suffix(".new.cdb"), host.box.scratch / "other"
    other.write_text("theirs")
    if what == "fifo":
        os.mkfifo(new)
    elif what == "symbolic link":
        new.symlink_to(other)
    elif what == "hard link":
        os.link(other, new)
    else:
        other.rename(new)
        other = new
    with other.open() as theirs:
        assert host.do(f"put {B}") == [True]
        assert theirs.read() == "theirs"
    assert host.ask(A, B) == ["OK", "OK"]


@pytest.mark.parametrize("host", ["sendmail cdb"], indirect=True)
def test_a_folder_by_the_name_of_makemaps_new_file_is_named(host: Host) -> None:
    host.do(f"rebuild {A}")
    new = host.file.with_suffix(".new.cdb")
    new.mkdir()
    assert host.do(f"put {B}") == [f"Failed: {new}: cannot be written: Is a directory; name another map"]


@pytest.mark.parametrize("due", [3, 600, 4000])
def test_on_a_full_disk_records_are_taken_out(host: Host, due: int) -> None:
    size = "4m"
    host.box.run(["mkdir", "/run/small"])
    host.box.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", "/run/small"])
    small = Small(host.box, host.mta, host.kind)
    keys = [f"172.16.{n // 256}.{n % 256}" for n in range(due)]
    assert small.do(f"rebuild {A} {' '.join(keys)}") == [True]
    host.box.run(["sh", "-c", "cat /dev/zero > /run/small/filler"])
    assert small.do(f"del {' '.join(keys)}") == [True]
    assert small.ask(A, keys[0], keys[-1]) == ["OK", "", ""]


class Small(Host):
    """The same on a small file system."""

    @property
    def text(self) -> Path:
        return Path("/run/small/clients")

    @property
    def file(self) -> Path:
        return Path(f"/run/small/clients.{self.kind}")
