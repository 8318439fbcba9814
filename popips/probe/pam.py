"""The stacks of PAM, read as libpam reads them: pam.d(5), and _pam_parse_config_file() in pam_handlers.c."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from popips.probe.machine import Machine

FOLDER, VENDORS = "/etc/pam.d", "/usr/lib/pam.d"  # only a service's own file may be in the second
AUTH, ACCOUNT, SESSION = "auth", "account", "session"
PHASES = (AUTH, ACCOUNT, SESSION)  # in the order in which a server comes to them
TYPES = (*PHASES, "password")
MODULES = ("/usr/lib/*/security", "/lib/*/security", "/usr/lib/security", "/lib/security", "/usr/lib64/security")
DEEPEST = 32  # includes within includes, as in pam_handlers.c
CONTROLS = {
    "required": "success=ok new_authtok_reqd=ok ignore=ignore default=bad",
    "requisite": "success=ok new_authtok_reqd=ok ignore=ignore default=die",
    "sufficient": "success=done new_authtok_reqd=done default=ignore",
    "optional": "success=ok new_authtok_reqd=ok default=ignore",
}
ENDED_BY_COMMENT = (1, 7)  # from this libpam on, a comment inside of a continued line ends it


class Broken(Exception):
    """The service cannot be used at all; str() says why. libpam then refuses whoever logs in."""


@dataclass(frozen=True)
class Line:
    """A line of a stack.

    control: an action for each return code, "default" among them. level: of substacks.
    module: the name of its file, "" where libpam fails whatever the user does.
    """

    control: Mapping[str, str]
    module: str
    words: tuple[str, ...]
    level: int
    where: str  # PATH:NUMBER


def services(machine: Machine) -> list[str]:
    """Return the names of all services that have a file."""
    found = {path.rpartition("/")[2] for folder in (VENDORS, FOLDER) for path in machine.glob(f"{folder}/*")}
    return sorted(name for name in found if re.fullmatch(r"[\w-]+", name))


def file_of(machine: Machine, service: str) -> str:
    """Return the path of a service's file, "" if it has none."""
    return next((path for path in (f"{FOLDER}/{service}", f"{VENDORS}/{service}") if machine.read(path)), "")


def stacks(machine: Machine, service: str) -> dict[str, list[Line]]:
    """Return the lines of each phase, where there are none those of `other`; raise Broken."""
    found = {}
    own, other = _of_file(machine, service), None
    for kind in PHASES:
        if kind not in own:
            other = _of_file(machine, "other") if other is None else other
        found[kind] = own[kind] if kind in own else (other or {}).get(kind, [])
    return found


def _of_file(machine: Machine, service: str) -> dict[str, list[Line]]:
    path = file_of(machine, service)
    reader = _Reader(machine, _ends_at_comment(machine))
    if path:
        reader.read(path, _Within())
    return reader.lines


@dataclass(frozen=True)
class _Within:
    """What a file is read for: lines of these types, in a substack of that level, so many files deep."""

    kinds: tuple[str, ...] = TYPES
    level: int = 0
    depth: int = 0


@dataclass
class _Reader:
    machine: Machine
    ends_at_comment: bool
    lines: dict[str, list[Line]] = field(default_factory=dict)

    def read(self, path: str, within: _Within) -> bool:
        """Add what a file says; return whether there is such a file."""
        text = self.machine.read(path)
        if not text or within.depth > DEEPEST:
            return False
        for number, words in _lines(text, self.ends_at_comment):
            self._take(f"{path}:{number}", words, within)
        return True

    def add(self, kind: str, line: Line) -> None:
        """Add a line behind the others of its type."""
        self.lines.setdefault(kind, []).append(line)

    def _take(self, where: str, text: str, within: _Within) -> None:
        """Add one logical line."""
        kind, _, rest = text.partition(" ")
        kind, rest = kind.lower().removeprefix("-"), rest.strip()
        deeper = _Within(within.kinds, within.level, within.depth + 1)
        if kind == "@include":
            if not self.read(f"{FOLDER}/{rest}", deeper):
                raise Broken(f"{where}: {text}: there is no {FOLDER}/{rest}, and libpam refuses all logins")
            return
        is_known = kind in TYPES
        if is_known and kind not in within.kinds:
            return
        found = re.match(r"(\[[^\]]*\]|\S+)\s*(\S*)\s*(.*)", rest)
        control, module, words = found.groups() if found else ("", "", "")
        if is_known and control.lower() in ("include", "substack"):
            is_sub = control.lower() == "substack"
            if is_sub:
                self.add(kind, Line({"default": "ignore"}, "", (), within.level, where))
            if self.read(f"{FOLDER}/{module}", _Within((kind,), within.level + is_sub, within.depth + 1)):
                return
            control, module = "required", ""
        actions = _actions(control)
        module = module.rpartition("/")[2] if is_known and actions else ""
        line = Line(actions or {"default": "bad"}, module, tuple(words.split()), within.level, where)
        self.add(kind if is_known else AUTH, line)  # where libpam puts a line of a type that it does not know


def _lines(text: str, ends_at_comment: bool) -> Iterator[tuple[int, str]]:
    """Return the logical lines, each with the number that it begins at: blanks are one, comments gone."""
    start, parts = 0, list[str]()
    for number, physical in enumerate(text.splitlines(), 1):
        start = start if parts else number
        code, comment, _ = physical.partition("#")
        code = " ".join(code.split())
        if comment and not code and parts and not ends_at_comment:
            continue
        goes_on = code.endswith("\\") and not comment
        parts.append(code.removesuffix("\\").strip())
        if not goes_on:
            if logical := " ".join(part for part in parts if part):
                yield start, logical
            parts = []
    if logical := " ".join(part for part in parts if part):
        yield start, logical


def _actions(control: str) -> dict[str, str]:
    """Return the action for each return code; none if libpam does not know the control."""
    text = CONTROLS.get(control.lower(), "")
    if control.startswith("["):
        text = re.sub(r"\s*=\s*", "=", control.strip("[]").lower())
    pairs = [word.partition("=")[::2] for word in text.split()]
    return dict(pairs) if pairs and all(code and action for code, action in pairs) else {}


def is_installed(machine: Machine, module: str) -> bool:
    """Whether there is such a module; where no folder of modules is to be seen, all of them count as there."""
    folders = [folder for pattern in MODULES for folder in machine.glob(pattern)]
    return not folders or any(any(machine.glob(f"{folder}/{module}")) for folder in folders)


def _ends_at_comment(machine: Machine) -> bool:
    """Whether this libpam ends a continued line at a comment; one of unknown version does."""
    found = re.search(r"^Package: libpam0g\n(?:.+\n)*?Version: (?:\d+:)?(\d+)\.(\d+)", _packages(machine), re.MULTILINE)
    return not found or (int(found[1]), int(found[2])) >= ENDED_BY_COMMENT


def _packages(machine: Machine) -> str:
    return machine.read("/var/lib/dpkg/status")
