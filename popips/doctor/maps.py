"""The map: whether it is there, is what the MTA can read, is nobody's but root's, and says what its text says."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from stat import S_IMODE, S_ISREG

from popips.doctor import ask_postfix, ask_sendmail, mapd, mta, tables
from popips.doctor.check import FAIL, WARN, Check, Finding, Patient, judged, skipped
from popips.doctor.inside import Inside
from popips.doctor.inside import look as look_inside
from popips.maps import exists
from popips.maps.errors import NO_BINDING
from popips.maps.file import TRUSTED_USER
from popips.maps.journal import is_idle
from popips.maps.kinds import MOST
from popips.maps.seal import AHEAD, SECOND
from popips.maps.text import Text
from popips.paste import quoted
from popips.plural import counted
from popips.probe import sendmail, units

OWN_MAP = "/var/lib/popips/popips.db"
BIG = 32 << 20  # bytes from which on it is felt that a map of the admin's is copied at each change
VERSIONS = {"5.": {"hash": 9, "btree": 9}}  # by the beginning of libdb's version: the newest that it reads, dbmeta.h
IDS = ("format", "owner", "key", "lock", "journal", "ahead", "size", "pending")


def look(patient: Patient) -> Iterator[Check]:
    """Look at the map, and at what lies beside it; but not at one of another MTA than the host's."""
    if mta.another(patient):
        yield from (skipped(f"map.{id}", f"see {mta.IDS[0]}") for id in ("there", *IDS))
        return
    if not patient.settings.map.row.has_file:
        yield from mapd.look_for_it(patient, IDS)
        return
    this = _Map(patient)
    if this.state is None:
        wrong = [Finding(FAIL, f"{this.place.path} is not there", fix=this.make_it)]
        yield judged("map.there", f"a map at {this.place.path}", "", wrong)
        yield from (skipped(f"map.{id}", "there is no map") for id in IDS)
        return
    yield judged("map.there", f"a map at {this.place.path}", f"{this.place}", [])
    yield judged("map.format", f"{this.place.kind}, as the MTA reads it", this.of_format(), list(this.wrong_format()))
    yield judged("map.owner", "only root and the MTA can write to it", this.of_owner(), list(this.wrong_owner()))
    yield judged("map.key", "keys and values in the form that the MTA looks up", this.of_key(), list(this.wrong_key()))
    yield judged("map.lock", "the map can be locked", "no process keeps it locked", list(this.wrong_lock()))
    yield judged(
        "map.journal",
        "a journal owned by root, with no unfinished change in it",
        this.of_journal(),
        list(this.wrong_journal()),
    )
    yield judged("map.ahead", "timestamps that are not in the future", this.of_age(), list(this.ahead()))
    yield judged("map.size", f"less than {BIG >> 20} MiB, or own_map = yes", this.of_size(), list(this.wrong_size()))
    yield judged("map.pending", "every record of its text", this.of_text(), list(this.pending()))


class _Map:
    """The map of a host, and what is to be said of it."""

    def __init__(self, patient: Patient) -> None:
        self.patient, self.settings = patient, patient.settings
        self.place, self.here = patient.settings.map, patient.here.map
        self.state = _state(self.here.path)

    @property
    def make_it(self) -> str:
        """The command that makes it from what there is."""
        is_postfix = self.settings.mta == "postfix"
        if is_postfix and (another := tables.asked_instead(self.patient)):
            return another
        if self.place.own:
            return tables.AGAIN if is_postfix else "popips-expire"
        if another := self.patient.asked_instead:
            return another
        return self.place.build(self.place.source if exists(self.here.source) else "/dev/null")

    @property
    def anew(self) -> str:
        """What makes a map anew that is there; nothing where its records stand nowhere else."""
        return self.make_it if self.place.own or exists(self.here.source) else ""

    @cached_property
    def inside(self) -> Inside:
        """What is in it."""
        return look_inside(self.patient)

    @cached_property
    def text(self) -> Text:
        """The text that the admin makes it from."""
        return Text(self.patient.here.source(self.here), self.here.postfix)

    # ---- map.format

    def of_format(self) -> str:
        version = self._version()
        return f"{self.place.kind}, version {version}" if version else self.place.kind

    def wrong_format(self) -> Iterator[Finding]:
        if self.inside.error and not self.inside.is_busy and self.state and self.state.st_size < MOST:
            kind = re.search(r": a (\w+) map; write", self.inside.error)
            fix = self.patient.set_line("map", f"{kind[1]}:{self.place.source}") if kind else self.anew
            fix = "apt-get install -y python3-bsddb3" if NO_BINDING in self.inside.error else fix
            yield Finding(FAIL, self.inside.error, fix=fix)
            return
        newest = next((table for libdb, table in VERSIONS.items() if self._libdb().startswith(libdb)), {})
        version = self._version()
        if version > newest.get(self.place.kind, version):
            found = f"{self.place.path} has version {version} of {self.place.kind}, and the MTA's libdb {self._libdb()}"
            yield Finding(FAIL, f"{found} reads {newest[self.place.kind]}", fix=self.anew)

    def _version(self) -> int:
        """Return the version of a Berkeley DB file, 0 for another: byte 16, dbmeta.h."""
        if not self.place.row.magic:
            return 0
        with open(self.here.path, "rb") as file:
            head = file.read(20)
        order = "little" if int.from_bytes(head[12:16], "little") == self.place.row.magic else "big"
        return int.from_bytes(head[16:20], order)  # type: ignore[arg-type]

    def _libdb(self) -> str:
        """Return the version of libdb that the MTA was linked with, as far as it tells."""
        if self.settings.mta == "sendmail":
            return self.patient.bt.libdb
        return ""

    # ---- map.owner

    def of_owner(self) -> str:
        assert self.state
        return f"owner {self.state.st_uid}, group {self.state.st_gid}, mode {S_IMODE(self.state.st_mode):04o}"

    def wrong_owner(self) -> Iterator[Finding]:
        assert self.state
        path, mode = self.place.path, S_IMODE(self.state.st_mode)
        its = quoted(path)
        if not S_ISREG(self.state.st_mode) or self.state.st_nlink > 1:
            real = os.path.realpath(self.here.path)
            what = f"a link to {real}" if os.path.islink(self.here.path) else "not a plain file with one name"
            yield Finding(FAIL, f"{path}: {what}", fix=self.patient.set_line("map", f"{self.place.kind}:{real}"))
            return
        trusted = _user_of(self.patient)
        if self.state.st_uid not in (0, trusted, _owner(self.here.folder)):
            fix = f"chown {'root' if self.settings.mta == 'postfix' else TRUSTED_USER} {its}"
            yield Finding(FAIL, f"{path}: its owner is user {self.state.st_uid}", fix=fix)
        if mode & 0o002:
            yield Finding(FAIL, f"{path}: any user may write it (mode {mode:04o})", fix=f"chmod o-rwx {its}")
        elif mode & 0o004:
            found = f"{path}: any user may read it, and so keep it locked (mode {mode:04o})"
            yield Finding(WARN, found, fix=f"chmod o-r {its}")
        if not mode & 0o400:
            yield Finding(FAIL, f"{path}: its owner may not read it (mode {mode:04o})", fix=f"chmod u+rw {its}")
        yield from open_folders(self.patient, self.place.folder, self.settings.mta == "sendmail")

    # ---- map.key

    def of_key(self) -> str:
        return f"key = {self.settings.key}, value = {self.settings.value:.40}"

    def wrong_key(self) -> Iterator[Finding]:
        cf = self.patient.cf
        if self.settings.mta != "sendmail" or cf is None:
            return
        compressed = cf.says_yes("UseCompressedIPv6Addresses")
        if compressed != self.settings.compressed_ipv6:
            words = "compressed" if compressed else "in full"
            fix = self.patient.set_line("compressed_ipv6", "yes" if compressed else "no")
            yield Finding(
                FAIL,
                f"sendmail asks for IPv6 addresses {words}, and popips writes them the other way",
                f"{sendmail.CF}: UseCompressedIPv6Addresses={cf.options.get('UseCompressedIPv6Addresses', 'false')}",
                f"{fix} && popips-expire",
            )
        names = cf.names_of(self.place.path)
        if "access" in names and self.settings.value != "RELAY":
            fix = f"{self.patient.set_line('value', 'RELAY')} && popips-expire"
            yield Finding(FAIL, f"in the access map {self.settings.value:.40} does not relay", fix=fix)
        asks_by_address = names and "access" not in names
        if asks_by_address and self.settings.key == "connect":
            fix = f"{self.patient.set_line('key', 'bare')} && popips-expire"
            yield Finding(FAIL, f"the map {names[0]} is asked for the address, not for connect:ADDRESS", fix=fix)

    # ---- map.lock, map.journal

    def wrong_lock(self) -> Iterator[Finding]:
        if not self.inside.is_busy or not self.state:
            return
        holders = units.lockers(self.patient.machine, self.place.path)
        any_user = self.state.st_mode & 0o004
        names = [self.patient.machine.read(f"/proc/{pid}/comm").strip() for pid in holders]
        is_rebuilt = {"makemap", "postmap"} & set(names)  # which is to come to its end
        end = f"kill {' '.join(map(str, holders))}" if holders and not is_rebuilt else ""
        fix = " && ".join([*([f"chmod o-r {quoted(self.place.path)}"] if any_user else []), *([end] if end else [])])
        evidence = ", ".join(f"{name} (process {pid})" for name, pid in zip(names, holders))
        yield Finding(FAIL, self.inside.error.partition("; ")[0], evidence, fix)

    def of_journal(self) -> str:
        return f"{self.place.journal}: nothing is left in it" if _state(self.here.journal) else "no journal yet"

    def wrong_journal(self) -> Iterator[Finding]:
        path = self.place.journal
        state = _state(self.here.journal)
        if state is None:
            return
        mode = S_IMODE(state.st_mode)
        if not S_ISREG(state.st_mode) or state.st_nlink > 1 or state.st_uid not in (0, os.geteuid()) or mode & 0o022:
            yield Finding(FAIL, f"{path}: not a plain file of root that only root may write", fix=f"rm {quoted(path)}")
        elif not is_idle(self.here):
            found = f"{path}: a writer is at work, or has died in the middle of a change"
            yield Finding(WARN, found, fix="popips-expire")

    # ---- map.ahead, map.size, map.pending

    def of_age(self) -> str:
        assert self.state
        return f"its mtime is {max(0.0, self.patient.now - self.state.st_mtime):.0f} s ago, not in the future"

    def ahead(self) -> Iterator[Finding]:
        assert self.state
        ahead = self.state.st_mtime - self.patient.now
        if ahead > AHEAD / SECOND + 1:
            found = f"{self.place.path}: its time is {ahead:.0f} s ahead of the clock"
            yield Finding(WARN, found, fix=f"touch {quoted(self.place.path)} && popips-expire")
        if self.text.from_the_future(self.patient.now):
            found = f"{self.text.path}: its time is in the future, so it always looks newer than the map"
            yield Finding(WARN, found, fix=f"touch {quoted(self.text.path)}")

    def of_size(self) -> str:
        assert self.state
        records = self.inside.records
        told = f", {counted(records, 'record')}" if records else ""
        return f"{self.state.st_size >> 10} KiB{told}"

    def wrong_size(self) -> Iterator[Finding]:
        assert self.state
        if not self.place.own and self.state.st_size >= BIG:
            status = FAIL if self.state.st_size >= MOST else WARN
            found = f"{self.place.path}: {self.state.st_size >> 20} MiB, which each new login copies"
            yield Finding(status, found, fix=self.own())

    def own(self) -> str:
        """Return the commands that put the grants into a map of popips' own, and have the MTA ask it."""
        place = replace(self.place, kind="hash", path=OWN_MAP, own=True)
        moved = replace(self.patient, settings=self.settings.replace(map=place, own_map=True))
        ask = (ask_postfix if self.settings.mta == "postfix" else ask_sendmail).have_asked(moved)
        lines = [self.patient.set_line("map", place.name), self.patient.set_line("own_map", "yes")]
        return " && ".join([*lines, "popips-expire", ask])

    def of_text(self) -> str:
        return f"every record of {self.text.path}" if self.text.path else "no text: popips maintains this map itself"

    def pending(self) -> Iterator[Finding]:
        if self.inside.text_error:
            yield Finding(FAIL, self.inside.text_error, fix=self.patient.set_line("static_source", "auto"))
        if self.inside.unbuilt:
            found = f"{self.text.path}: not in {self.place.path} yet: {self.inside.unbuilt}"
            yield Finding(WARN, found, fix=self.place.build(self.text.path))


def open_folders(patient: Patient, folder: str, for_sendmail: bool) -> Iterator[Finding]:
    """Return the folders from there up that others may write to; sendmail takes no map below a group's, either."""
    while True:
        state = _state(patient.machine.path(folder) or "/")
        mode = S_IMODE(state.st_mode) if state else 0
        is_sticky = mode & 0o1000
        if mode & 0o002 and not is_sticky:
            yield Finding(
                FAIL, f"{folder}: any user may write to it (mode {mode:04o})", fix=f"chmod o-w {quoted(folder)}"
            )
        elif mode & 0o020 and for_sendmail and not is_sticky:
            found = f"{folder}: its group may write to it (mode {mode:04o}), and sendmail refuses what is in it"
            yield Finding(FAIL, found, fix=f"chmod g-w {quoted(folder)}")
        if folder in ("/", ""):
            return
        folder = folder.rpartition("/")[0] or "/"


def _state(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _owner(path: str) -> int:
    state = _state(path)
    return state.st_uid if state else 0


def _user_of(patient: Patient) -> int:
    """Return the id of sendmail's TrustedUser, as the host's own list of users has it."""
    name = (patient.cf.options.get("TrustedUser") if patient.cf else "") or TRUSTED_USER
    found = re.search(rf"^{re.escape(name)}:[^:]*:(\d+):", patient.machine.read("/etc/passwd"), re.M)
    return int(found[1]) if found else 0
