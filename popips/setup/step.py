"""What a set-up is made of: files to write, commands to run, and what is left to the admin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

Command = tuple[str, ...]
END_ALL = ("end", "--all")  # popips-db's
NO_MAP = 66  # sysexits.h: EX_NOINPUT, what popips' programs say where there is no map yet


def ends_all(command: Command) -> bool:
    """Whether it ends all grants of this host."""
    return command[-len(END_ALL) :] == END_ALL


class ByHand(Exception):
    """Setup cannot be sure; str() says what was found, and what to do by hand."""


@dataclass(frozen=True)
class Choice:
    """What the command line asks for; "" where it leaves that to what is there. conf: the path of popips.conf."""

    conf: str
    mta: str = ""
    map: str = ""
    hook: str = ""


@dataclass(frozen=True)
class Write:
    """A file is to have this text, in which bytes that are no UTF-8 are escaped as os.fsdecode() does.

    part: whose step it is; undo takes out one part after the other. A file that is there keeps owner and mode.
    before_undo: what is run before it is put back.
    """

    part: str
    path: str
    text: str
    before_undo: tuple[Command, ...] = ()


@dataclass(frozen=True)
class Run:
    """A command is to be run.

    touches: files that it may change; they are put back. remake: what makes those anew, if somebody else has made them
    since. before_undo: what is run before the part's files are put back; undo: what is run after that. journal: a map
    that gets a journal by it, which goes with the rest. good: exit statuses that are no failure.
    """

    part: str
    command: Command
    touches: tuple[str, ...] = ()
    before_undo: tuple[Command, ...] = ()
    undo: tuple[Command, ...] = ()
    remake: Command = ()
    journal: str = ""
    good: tuple[int, ...] = (0,)


Step = Union[Write, Run]


@dataclass(frozen=True)
class Plan:
    """What is to be done, in order. by_hand: what keeps it from being done; left: what it leaves to the admin."""

    says: str
    steps: tuple[Step, ...] = ()
    by_hand: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
