"""All looks at a host, in the order in which their checks are printed."""

from __future__ import annotations

from popips.doctor.check import Look

LOOKS: tuple[Look, ...] = ()  # a row each: a function that yields checks, see popips.doctor.check
