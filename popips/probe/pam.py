"""The stacks of PAM, read as libpam reads them: _pam_parse_conf_file() in pam_handlers.c, with Debian's @include."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from popips.probe.machine import Machine
from popips.probe.pam_line import actions, lines, words

FOLDER, VENDORS = "/etc/pam.d", "/usr/lib/pam.d"  # only a service's own file may be in the second
AUTH, ACCOUNT, SESSION = "auth", "account", "session"
PHASES = (AUTH, ACCOUNT, SESSION)  # in the order in which a server comes to them
TYPES = (*PHASES, "password")
MODULES = ("/usr/lib/*/security", "/lib/*/security", "/usr/lib/security", "/lib/security", "/usr/lib64/security")
DEEPEST = 16  # PAM_SUBSTACK_MAX_LEVEL
ENDS_AT_BLANKS = (1, 7)  # from this libpam on, a comment or an empty line ends a continued line
NO_TEXTS: Mapping[str, str] = {}


class Broken(Exception):
    """The service cannot be used at all; str() says why. libpam then refuses whoever logs in."""


@dataclass(frozen=True)
class Line:
    """A line of a stack.

    control: an action for each return code, "default" among them; what is not there is bad. level: of substacks.
    module: its file as the line has it, "" where libpam fails whatever the user does.
    """

    control: Mapping[str, str]
    module: str
    words: tuple[str, ...]
    level: int
    where: str  # PATH:NUMBER

    @property
    def name(self) -> str:
        """The name of the module without its folder."""
        return self.module.rpartition("/")[2]


def services(machine: Machine) -> list[str]:
    """Return the names of all services that have a file, without those of fragments that other files include."""
    found = {path.rpartition("/")[2] for folder in (VENDORS, FOLDER) for path in machine.glob(f"{folder}/*")}
    names = sorted(name for name in found if re.fullmatch(r"[\w-]+", name))
    texts = {name: text_of(machine, file_of(machine, name)) or "" for name in names}
    included = set(
        re.findall(r"(?mi)^[ \t]*(?:@include|-?\w+[ \t]+(?:include|substack))[ \t]+(\S+)", "\n".join(texts.values()))
    )
    return [name for name in names if name not in included or _is_whole(texts[name])]


def _is_whole(text: str) -> bool:
    """Whether a file has what a login needs, and so may be a service's own, too."""
    return all(re.search(rf"(?mi)^[ \t]*(?:@include|-?{kind}\b)", text) for kind in (AUTH, ACCOUNT))


def text_of(machine: Machine, path: str, texts: Mapping[str, str] = NO_TEXTS) -> str | None:
    """Return the text of a file, "" of a folder, as fopen(3) has it; None if there is neither. texts: see stacks()."""
    if path in texts:
        return texts[path]
    try:
        with open(machine.path(path), errors="backslashreplace", newline="", opener=_at_once) as file:
            return file.read()
    except IsADirectoryError:
        return ""
    except (FileNotFoundError, NotADirectoryError):
        return None


def _at_once(path: str, flags: int) -> int:
    """Open a file; a pipe, too, that nobody writes to."""
    return os.open(path, flags | os.O_NONBLOCK)


def file_of(machine: Machine, service: str, texts: Mapping[str, str] = NO_TEXTS) -> str:
    """Return the path of a service's file, "" if it has none."""
    paths = (f"{folder}/{service}" for folder in (FOLDER, VENDORS))
    return next((path for path in paths if text_of(machine, path, texts) is not None), "")


def stacks(machine: Machine, service: str, texts: Mapping[str, str] = NO_TEXTS) -> dict[str, list[Line]]:
    """Return the lines of each phase, where there are none those of `other`; raise Broken.

    texts: what files are taken to hold, whatever is there: by their paths.
    """
    own, other = _of_file(machine, service, texts), _of_file(machine, "other", texts)
    return {kind: own.get(kind) or other.get(kind, []) for kind in PHASES}


def _of_file(machine: Machine, service: str, texts: Mapping[str, str]) -> dict[str, list[Line]]:
    reader = _Reader(machine, texts)
    if path := file_of(machine, service, texts):
        reader.read(path, _Within())
    return reader.found


@dataclass(frozen=True)
class _Within:
    """What a file is read for: lines of this type, "" for all; in a substack of that level; by which files."""

    kind: str = ""
    level: int = 0
    by: tuple[str, ...] = ()


@dataclass
class _Reader:
    machine: Machine
    texts: Mapping[str, str]
    found: dict[str, list[Line]] = field(default_factory=dict)

    def read(self, path: str, within: _Within) -> None:
        """Add what a file says. Raise Broken; what was added by then stays, as in libpam."""
        text = text_of(self.machine, path, self.texts)
        if text is None:
            raise Broken(f"there is no {path}")
        if path in within.by or len(within.by) >= DEEPEST:
            raise Broken(f"{path} includes itself")
        for number, line in lines(text, lambda: self.ends_at_blanks):
            if line is None:
                raise Broken(f"{path}:{number}: the file ends where a line is to go on")
            self._take(f"{path}:{number}", words(line), _Within(within.kind, within.level, (*within.by, path)))

    def _take(self, where: str, line: list[str], within: _Within) -> None:
        """Add one logical line."""
        first, control, module, *arguments = (*line, *[""] * (3 - len(line)))
        kind = first.removeprefix("-").lower()
        if kind == "@include":
            self.include(where, control, within, within.level)
            return
        is_known = kind in TYPES
        kind = kind if is_known else within.kind or AUTH  # where libpam puts a line whose type it does not know
        if within.kind and kind != within.kind:
            return
        if control.lower() in ("include", "substack"):
            level = within.level + (control.lower() == "substack")
            if level > within.level:
                self.add(kind, Line({"default": "ignore"}, "", (), within.level, where))
            self.include(where, module, _Within(kind, level, within.by), within.level)
            return
        self.add(kind, Line(actions(control), module if is_known else "", tuple(arguments), within.level, where))

    def include(self, where: str, name: str, within: _Within, level: int) -> None:
        """Add what another file says; where that is for one type, its failure is a failing line of this level."""
        if not name:
            raise Broken(f"{where}: no file is named, and libpam crashes")
        try:
            self.read(name if name.startswith("/") else f"{FOLDER}/{name}", within)
        except Broken as error:
            if not within.kind:
                raise Broken(f"{where}: {error}, and libpam refuses all logins") from error
            self.add(within.kind, Line({}, "", (), level, where))

    def add(self, kind: str, line: Line) -> None:
        """Add a line behind the others of its type."""
        self.found.setdefault(kind, []).append(line)

    @cached_property
    def ends_at_blanks(self) -> bool:
        """Whether this libpam ends a continued line there; one of unknown version does."""
        version = self.machine.packaged("libpam0g")
        return version is None or version >= ENDS_AT_BLANKS


def is_installed(machine: Machine, module: str) -> bool:
    """Whether there is such a module; where no folder of modules is to be seen, all of them count as there."""
    if module.startswith("/") and "$ISA" not in module:
        return any(machine.glob(glob.escape(module))) or not any(_folders(machine))
    name = glob.escape(module.rpartition("/")[2])
    folders = list(_folders(machine))
    return not folders or any(any(machine.glob(f"{folder}/{name}")) for folder in folders)


def _folders(machine: Machine) -> Iterator[str]:
    return (folder for pattern in MODULES for folder in machine.glob(pattern))
