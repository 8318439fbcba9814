"""How an address becomes a record: the settings that decide it, as they are now or as a run has kept them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from popips import address
from popips.maps import Place, Records
from popips.settings import Settings
from popips.stamps import MADE_BY
from popips.stamps.folder import Folder


@dataclass(frozen=True)
class Form:
    """The map that a record is in, the style of its key, and its value."""

    place: Place
    key: str
    compressed: bool
    value: str

    def record(self, name: str) -> tuple[bytes, bytes]:
        """Return key and value of the record of a grant: a function of the address and the settings, nothing else."""
        return address.key(name, self.key, self.compressed), self.value.encode()

    def take_out(self, records: Records, said: Mapping[bytes, bytes], name: str) -> None:
        """Take the record of a grant out, but not one that the admin's text says; said: the records of that."""
        key, value = self.record(name)
        if records.get(key) == value and said.get(key) != value:
            records.delete(key)

    def is_same(self, other: Form) -> bool:
        """Whether records are made the same way, in a map that is as much popips' own."""
        return self.pack() == other.pack()

    def pack(self) -> bytes:
        """Return the lines that kept() reads."""
        of_place = f"{self.place.kind}\n{self.place.path}\n{self.place.own:d}{self.place.postfix:d}"
        return f"{of_place}{self.compressed:d}\n{self.key}\n{self.value}\n".encode()


def of(settings: Settings) -> Form:
    """Return how popips.conf says that records are to be made."""
    return Form(settings.map, settings.key, settings.compressed_ipv6, settings.value)


def keys(settings: Settings, name: str) -> list[bytes]:
    """Return the keys by which the MTA asks for the address itself: connect:ADDRESS before ADDRESS in sendmail."""
    styles = ("postfix",) if settings.mta == "postfix" else ("connect", "bare")
    return [address.key(name, style, settings.compressed_ipv6) for style in styles]


def kept(folder: Folder) -> Form | None:
    """Return how the records that there are were made; None if there are none yet."""
    try:
        kind, path, flags, key, value, _ = folder.read(MADE_BY).decode().split("\n")
        own, postfix, compressed = (flag == "1" for flag in flags)
    except ValueError:
        return None
    return Form(Place(kind, path, own=own, postfix=postfix), key, compressed, value)


def keep(folder: Folder, form: Form) -> None:
    """Note, under the writers' lock of its map, how records are made from now on."""
    folder.replace(MADE_BY, form.pack(), durably=True)
