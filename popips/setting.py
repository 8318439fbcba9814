"""One setting of popips.conf: a row of popips.settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Setting(Generic[T]):
    """A row: the default as popips.conf has it, the parser, what popips.conf(5) says in the language of man pages.

    closes_lane: a login that this setting has to do with, set to anything but the default, is not one for sh.
    """

    name: str

    def __init__(self, default: str, parse: Callable[[str], T], manual: str, closes_lane: bool = False) -> None:
        self.text, self.parse, self.manual, self.closes_lane = default, parse, manual, closes_lane
        self.default = parse(default)

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, settings: object, owner: type) -> T:
        return self.default  # what popips.conf says stands in the object itself, where Python looks first
