"""Packs the modules that a login imports into one file: to find and to read each by itself takes longer than to grant.

`make install` and the Debian package run it: pack.py LIB BINDING writes popips-hook.pyc and popips-postlogin.pyc, the
byte code of programs that `python3 -IS` can run, into the folder that its own rooms are in. Another version of Python
cannot run them, and says so; long_way.sh then starts the plain ones.
"""

from __future__ import annotations

import ast
import importlib.util
import marshal
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a file, by `make install`
from pam_hook.bare import OS, SHIM, bare

PROGRAMS = {"popips-hook": "pam_hook.hook", "popips-postlogin": "pam_hook.postlogin"}
ROOMS = ("popips", "popips/maps", "popips/stamps", "pam_hook")
# not on the way of every login: found where they are
SELDOM = (
    "bare",
    "command",
    "elsewhere",
    "forecast",
    "last_run",
    "makemap",
    "move",
    "orphans",
    "own",
    "pack",
    "postmap",
    "progress",
    "register",
    "revoke",
    "run",
    "spawn",
    "survey",
    "turns",
    "whole",
)
BINDING = "popips.maps.libdb"  # cannot be imported where the binding is missing, of which the log is to hear

# Modules are run in the order in which they need each other, without the import system, which would spend on each as
# long as it takes to run; those that need the binding are found by it, when they are asked for
START = """
import gc, sys
gc.disable()
sys.path = [LIB, *sys.path, BINDING]
Module, Spec = type(sys), type(sys.__spec__)
class Packed:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return Spec(name, Packed) if name in PACKED else None
    @staticmethod
    def create_module(spec):
        return None
    @staticmethod
    def exec_module(module):
        exec(PACKED[module.__name__][1], module.__dict__)
sys.meta_path.insert(0, Packed)
for name in ORDER:
    parent, _, child = name.rpartition(".")
    module = sys.modules[name] = Module(name)
    module.__package__ = name if PACKED[name][0] else parent
    if PACKED[name][0]:
        module.__path__ = [LIB + "/" + name.replace(".", "/")]
for name in ORDER:
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, sys.modules[name])
    exec(PACKED[name][1], sys.modules[name].__dict__)
from MODULE import main
sys.exit(main())
"""


def packed(root: Path, lib: str, module: str, binding: str) -> bytes:
    """Return the content of a .pyc file; root: where the rooms are now, lib: where they will be."""
    trees, packages = _trees(root)
    order = _order(trees)
    modules = {
        name: (name in packages, compile(tree, f"{lib}/{name}", "exec", dont_inherit=True, optimize=2))
        for name, tree in trees.items()
    }
    names = {name: (is_package, name) for name, (is_package, _) in modules.items()}
    start = f"LIB, BINDING, ORDER, PACKED = {lib!r}, {binding!r}, {order!r}, {names!r}\n"
    code = compile(start + START.replace("MODULE", module), f"{lib}/{module}", "exec", dont_inherit=True, optimize=2)
    # each name's place is taken by its code, which source cannot spell
    code = code.replace(co_consts=tuple(modules[c[1]] if c in names.values() else c for c in code.co_consts))
    # flags, time and size of a source (PEP 552): there is none to compare with
    return importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(code)


def _trees(root: Path) -> tuple[dict[str, ast.Module], set[str]]:
    """Return the modules as a login needs them, and which of them are packages."""
    trees = {SHIM: ast.parse(OS), "__future__": ast.parse("annotations = None")}
    packages = set()
    for path in (path for room in ROOMS for path in sorted((root / room).glob("*.py"))):
        *parents, stem = path.relative_to(root).with_suffix("").parts
        if stem not in SELDOM:
            name = ".".join(parents if stem == "__init__" else [*parents, stem])
            trees[name] = bare(path.read_bytes(), str(path))
            packages.update([name] if stem == "__init__" else [])
    return trees, packages


def _order(trees: dict[str, ast.Module]) -> list[str]:
    """Return the modules that do not need the binding, each behind those that it needs."""
    order: list[str] = []
    needs_binding: set[str] = {BINDING}

    def visit(name: str) -> None:
        if name in order or name in needs_binding:
            return
        used = [other for other in _imported(trees[name], trees) if not name.startswith(other + ".")]
        for other in used:
            visit(other)
        if needs_binding.intersection(used):
            needs_binding.add(name)
        else:
            order.append(name)

    for name in trees:
        visit(name)
    return order


def _imported(tree: ast.Module, trees: dict[str, ast.Module]) -> list[str]:
    """Return the packed modules that a module imports when it is run."""
    found = []
    for node in tree.body:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name if name in trees else str(node.module) for name in full]
    return [name for name in found if name in trees]


def main() -> None:
    """Write both packs, each beside its place and renamed over it: a login may start one at any moment."""
    lib, binding = sys.argv[1:]
    root = Path(__file__).parent.parent
    for program, module in PROGRAMS.items():
        pack, new = root / f"{program}.pyc", root / f"{program}.pyc.new"
        new.write_bytes(packed(root, lib, module, binding))
        new.chmod(0o644)
        os.replace(new, pack)


if __name__ == "__main__":
    main()
