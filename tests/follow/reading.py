"""What a format makes of lines."""

from __future__ import annotations

from collections.abc import Iterable

from follower import formats


def logins(name: str, lines: Iterable[str]) -> list[formats.Login]:
    """Return the logins that the format finds in lines without their newlines."""
    following = formats.load(name)
    return [found for line in lines if (found := following.read(line, 0))]
