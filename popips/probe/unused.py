"""Whether popips is installed, and no more: a run is silent about that, and doctor tells of nothing else."""

from __future__ import annotations

import os

from popips import requests
from popips.maps import exists
from popips.probe import sendmail
from popips.probe.machine import Machine
from popips.settings import Settings
from popips.stamps import StampError
from popips.stamps.folder import Folder

TOLD, SETUP = "popips is not set up", "popips-db setup"


def is_unused(machine: Machine, settings: Settings) -> bool:
    """Whether nothing is set, neither the map nor sendmail is here, and nobody has logged in."""
    path = machine.path
    given = vars(settings).keys() - {"path", "identity"}
    if given or exists(path(settings.map.path)) or os.path.exists(path(sendmail.CF)):
        return False
    try:
        with Folder(path(settings.stamps)) as folder:
            return not requests.count(folder) and not any(True for _ in folder.scan())
    except StampError:
        return not os.path.lexists(path(settings.stamps))
