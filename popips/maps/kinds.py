"""Kinds of maps, one row for each, and the module that reads and changes a map of that kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from popips.maps.errors import MapError
from popips.paste import quoted

if TYPE_CHECKING:
    from popips.maps import Reader, Writer

MADE_BY_POPIPS = b"# Made by popips"  # how the text begins that a map of its own is made from as a whole
MOST = 2 << 30  # bytes of a map of the admin's, which is copied to be changed
MAKEMAP, POSTMAP = "makemap {kind} {stem} < {text}", "postmap {kind}:{text}"


@dataclass(frozen=True)
class Kind:
    """A kind of map: what its files' names end in, and which modules of popips.maps see to it.

    admins, own: the module for a map of the admin's, and for one of popips' own; each has a Writer and a Reader. build:
    the MTAs that ask such maps, and by which command their admin makes one. magic: the number at byte 12, if any.
    has_file: whether there is a map at all; else somebody tells the MTA what the stamps say.
    """

    suffix: str
    admins: str
    own: str
    build: Mapping[str, str]
    magic: int = 0
    has_file: bool = True


KINDS = {
    "hash": Kind(".db", "in_place", "own", {"sendmail": MAKEMAP, "postfix": POSTMAP}, 0x061561),  # dbmeta.h
    "btree": Kind(".db", "in_place", "own", {"sendmail": MAKEMAP, "postfix": POSTMAP}, 0x053162),
    "lmdb": Kind(".lmdb", "whole", "whole", {"postfix": POSTMAP}),
    "cdb": Kind(".cdb", "whole", "whole", {"sendmail": MAKEMAP, "postfix": POSTMAP}),
    "mapd": Kind("", "mapd", "mapd", {"sendmail": "popips-expire", "postfix": "popips-expire"}, has_file=False),
}
WHOLE = tuple(name for name, kind in KINDS.items() if kind.own == "whole")  # made anew at each change, from a text


@dataclass(frozen=True)
class Place:
    """A map by kind and path, as in hash:/etc/mail/access.db; where there is no file, the path is the stamp folder.

    own: it holds nothing but grants. postfix: that is who asks it, and not sendmail.
    """

    kind: str
    path: str
    own: bool = False
    postfix: bool = False

    @classmethod
    def parse(cls, text: str) -> Place:
        """Return the map of TYPE:PATH, the .db at the end of the path left out or not; raise MapError with the cure.

        Where there is no file, the type is all.
        """
        if text in KINDS and not KINDS[text].has_file:
            return cls(text, "", own=True)
        kind, _, path = text.partition(":")
        types = [name for name, row in KINDS.items() if row.has_file]
        if kind not in types or not path.startswith("/"):
            others = " or ".join(name for name in KINDS if name not in types)
            raise MapError(f"{text}: write TYPE:/PATH with one of the types {', '.join(types)}; or {others}")
        suffix = KINDS[kind].suffix
        is_postfix = "sendmail" not in KINDS[kind].build
        return cls(kind, path if path.endswith(suffix) else path + suffix, postfix=is_postfix)

    @property
    def row(self) -> Kind:
        """What the table says of its kind."""
        return KINDS[self.kind]

    @property
    def source(self) -> str:
        """The text file that makemap or postmap builds this map from, by custom."""
        return self.path[: len(self.path) - len(self.row.suffix)]

    @property
    def name(self) -> str:
        """The map as popips.conf and Postfix name it: without the ending."""
        return f"{self.kind}:{self.source}" if self.row.has_file else self.kind

    @property
    def folder(self) -> str:
        """The folder that the map is in."""
        return self.path.rpartition("/")[0] or "/"

    @property
    def journal(self) -> str:
        """The file beside it that has the writers' lock, the seal and the change under way."""
        return self.path + ".popips"

    @property
    def nul(self) -> bytes:
        """What stands behind keys and values where nothing is there yet to tell: postmap writes a NUL, makemap none."""
        return b"\0" if self.postfix else b""

    def build(self, text: str) -> str:
        """Return the command that builds the map from a text file."""
        mta = "postfix" if self.postfix else "sendmail"
        return self.row.build[mta].format(kind=self.kind, stem=quoted(self.source), text=quoted(text))

    def cure(self) -> str:
        """Return how the admin gets a map that can be used."""
        if self.own:
            return "popips-expire rebuilds it"
        if self.source.endswith(tuple(kind.suffix for kind in KINDS.values() if kind.has_file)):
            return f"is it the right path? {self.source} is a map's own name"  # which makemap would overwrite
        if not os.path.isdir(self.folder):
            return f"there is no {self.folder}, either: popips-db setup says what this host needs"
        if exists(self.source):
            return f"make it: {self.build(self.source)}"
        empty = f"touch {quoted(self.source)} && {self.build(self.source)}" if self.postfix else self.build("/dev/null")
        return f"is it the right path? an empty one is made by: {empty}"

    def refuse_text(self) -> None:
        """Raise MapError if a map of popips' own has a text beside it that somebody makes it from."""
        is_popips_own = self.kind in WHOLE  # it makes the map from that file itself
        is_text = os.path.isfile(self.source)  # a stamp folder, say, or a fifo may have that name
        if is_text and not is_popips_own and not _is_made_by_popips(self.source):
            cure = "own_map = yes is for a map that holds nothing else, and has no text: name another"
            raise MapError(f"{self.path}: made from {self.source}; {cure}")

    def is_same(self, other: Place) -> bool:
        """Whether both are names of one file, by a link in the path or another way to write it; or of none."""
        if not self.row.has_file:
            return self.kind == other.kind
        try:
            return os.path.samefile(self.path, other.path)
        except OSError:
            return self.path == other.path

    def __str__(self) -> str:
        return f"{self.kind}:{self.path}" if self.row.has_file else self.kind

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def _is_made_by_popips(text: str) -> bool:
    try:
        with open(text, "rb") as file:
            return file.read(len(MADE_BY_POPIPS)) == MADE_BY_POPIPS
    except OSError:
        return False


def exists(path: str) -> bool:
    """Whether there is such a file."""
    try:
        os.stat(path)
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Task:
    """What a Writer is made for; see writer()."""

    place: Place
    text: str
    now: float
    until: float
    gone: Callable[[], bool] | None


def writer(place: Place, text: str, now: float, until: float, gone: Callable[[], bool] | None = None) -> Writer:
    """Return the one writer of the map, for a `with`.

    text: the file that the admin's map is made from, "" if there is none. now: seconds since the epoch. Raise Busy at
    `until` (time.monotonic()), NotNeeded as soon as gone() says yes, MapError if the map cannot be used.
    """
    made: Writer = _module(place).Writer(Task(place, text, now, until, gone))
    return made


def reader(place: Place, until: float) -> Reader:
    """Return the records of the map as they are, for a `with`; raise Busy at `until` (time.monotonic()), MapError."""
    made: Reader = _module(place).Reader(place, until)
    return made


def _module(place: Place) -> Any:
    mta = "postfix" if place.postfix else "sendmail"
    if mta not in place.row.build:
        asked = ", ".join(name for name, kind in KINDS.items() if mta in kind.build)
        raise MapError(f"{place}: {mta} does not ask such a map; with {mta}, name one of the types {asked}")
    return import_module(f"popips.maps.{place.row.own if place.own else place.row.admins}")
