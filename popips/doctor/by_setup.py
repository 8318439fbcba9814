"""Fixes that popips-db setup can make: its --undo takes back what it puts, and knows of no file that is put by hand."""

from __future__ import annotations

from popips import configuration
from popips.command import UsageError
from popips.configuration import SettingsError
from popips.doctor.check import Patient
from popips.doctor.there import is_installed, set_up


def or_by_hand(patient: Patient, path: str, by_hand: str) -> str:
    """Return the command that has setup write a file; by_hand: what does so where setup would not."""
    return set_up() if _would_write(patient, path) else by_hand


def _would_write(patient: Patient, path: str) -> bool:
    from popips.setup.plan import plan
    from popips.setup.step import Choice, Write

    if not patient.machine.runs or patient.conf != configuration.PATH or not is_installed():
        return False
    try:
        steps = plan(patient.machine, Choice(patient.conf)).steps
    except (SettingsError, UsageError):
        return False
    return any(isinstance(step, Write) and step.path == path for step in steps)
