"""What is in the map, as another process read it: a damaged map can crash libdb, and the one that looks must go on."""

from __future__ import annotations

import marshal
import os
import time
from dataclasses import dataclass

from popips.doctor.check import Patient
from popips.maps import Busy, Lookup, MapError, kinds
from popips.maps.text import Text
from popips.settings import Settings

PATIENCE = 0.5  # seconds for the map's lock
BIGGEST = 256 << 20  # bytes of a map that is read as a whole


@dataclass(frozen=True)
class Inside:
    """error: why it could not be read; is_busy: it is kept locked; unbuilt: what it lacks of the admin's text.

    text_error: why that could not be read.
    """

    error: str = ""
    is_busy: bool = False
    unbuilt: str = ""
    text_error: str = ""
    records: int = 0


def look(patient: Patient) -> Inside:
    """Return what is in the map, as far as it can be read."""
    here = patient.here
    try:
        if os.stat(here.map.path).st_size > BIGGEST:
            return Inside(error=f"{here.map.path}: too big to be read here")
    except OSError as error:
        return Inside(error=f"{here.map.path}: {error.strerror}")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            found = _look(here)
            with open(write, "wb") as file:
                file.write(marshal.dumps((found.error, found.is_busy, found.unbuilt, found.text_error, found.records)))
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as file:
        data = file.read()
    os.waitpid(child, 0)
    if not data:
        return Inside(error=f"{here.map.path}: damaged: libdb crashed in it; {here.map.cure()}")
    return Inside(*marshal.loads(data))


def _look(settings: Settings) -> Inside:
    place, text = settings.map, settings.source(settings.map)
    try:
        with kinds.reader(place, time.monotonic() + PATIENCE) as records:
            count = sum(1 for _ in records.items())
            try:
                return Inside(unbuilt=_unbuilt(Text(text, place.postfix), records), records=count)
            except MapError as error:
                return Inside(text_error=str(error), records=count)
    except Busy as error:
        return Inside(error=str(error), is_busy=True)
    except MapError as error:
        return Inside(error=str(error))


def _unbuilt(text: Text, records: Lookup) -> str:
    """Return the keys of the admin's text whose record is not in the map."""
    lacks = [key.decode(errors="replace") for key, value in text.records().items() if records.get(key) != value]
    return ", ".join(lacks[:3]) + (f" and {len(lacks) - 3} more" if lacks[3:] else "")
