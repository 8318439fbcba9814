"""Packs the modules that a login imports into one file: to find and to read each by itself takes longer than to grant.

`make install` and the Debian package run it: pack.py LIB BINDING writes popips-hook.pyc and popips-postlogin.pyc, the
byte code of programs that `python3 -IS` can run, into the folder that its own rooms are in. Another version of Python
cannot run them, and says so; lane.sh then starts the plain ones.
"""

from __future__ import annotations

import ast
import importlib.util
import marshal
import os
import sys
from pathlib import Path

PROGRAMS = {"popips-hook": "pam_hook.hook", "popips-postlogin": "pam_hook.postlogin"}
ROOMS = ("popips", "popips/maps", "popips/stamps", "pam_hook")
# not on the way of every login: found where they are
SELDOM = ("command", "move", "revoke", "run", "turns", "survey", "pack", "own", "postmap")
# on the way of every login, in the order in which they need each other: run without the import system, which would
# spend on each as long as it takes to run. The packages must be here; another module that is not is only slower
ALWAYS = """
__future__ popips pam_hook pam_hook.environ popips.log pam_hook.login popips.files popips.address popips.login
popips.stamps popips.stamps.folder
"""

START = """
import gc, sys
gc.disable()
sys.path = [LIB, *sys.path, BINDING]
Module, Spec = type(sys), type(sys.__spec__)
class Packed:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in PACKED:
            return None
        spec = Spec(name, Packed, is_package=PACKED[name][0])
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(LIB + "/" + name.replace(".", "/"))
        return spec
    @staticmethod
    def create_module(spec):
        return None
    @staticmethod
    def exec_module(module):
        exec(PACKED[module.__name__][1], module.__dict__)
sys.meta_path.insert(0, Packed)
for name in ALWAYS.split():
    if name in sys.modules:
        continue
    is_package, code = PACKED[name]
    module = sys.modules[name] = Module(name)
    parent, _, child = name.rpartition(".")
    module.__package__ = name if is_package else parent
    if is_package:
        module.__path__ = [LIB + "/" + name.replace(".", "/")]
    if parent:
        setattr(sys.modules[parent], child, module)
    exec(code, module.__dict__)
from MODULE import main
sys.exit(main())
"""


class _Bare(ast.NodeTransformer):
    """Takes the types out: nobody asks for them here, and each login would make objects of them."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        if any(ast.unparse(decorator).startswith("dataclass") for decorator in node.decorator_list):
            node.body = [part if isinstance(part, ast.AnnAssign) else self.visit(part) for part in node.body]
            return node
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        made = ast.Assign([node.target], node.value) if node.value else None
        return made and ast.copy_location(made, node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        return None if ast.unparse(node.value).startswith("TypeVar(") else node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.bases = [base for base in node.bases if not ast.unparse(base).startswith("Generic[")]
        return self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if node.module == "typing" else node

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)


def packed(root: Path, lib: str, module: str, binding: str) -> bytes:
    """Give the content of a .pyc file; root: where the rooms are now, lib: where they will be."""
    # of the standard library's module a login needs no more than this
    modules = {"__future__": (False, compile("annotations = None", "__future__", "exec"))}
    for path in (path for room in ROOMS for path in sorted((root / room).glob("*.py"))):
        *parents, name = path.relative_to(root).with_suffix("").parts
        if name in SELDOM:
            continue
        is_package = name == "__init__"
        source = _Bare().visit(ast.parse(path.read_bytes()))
        code = compile(source, f"{lib}/{path.relative_to(root)}", "exec", dont_inherit=True, optimize=2)
        modules[".".join(parents if is_package else [*parents, name])] = (is_package, code)
    names = {name: (is_package, name) for name, (is_package, _) in modules.items()}
    start = f"LIB, BINDING, ALWAYS, PACKED = {lib!r}, {binding!r}, {ALWAYS!r}, {names!r}\n"
    code = compile(start + START.replace("MODULE", module), f"{lib}/{module}", "exec", dont_inherit=True, optimize=2)
    # each name's place is taken by its code, which source cannot spell
    code = code.replace(co_consts=tuple(modules[c[1]] if c in names.values() else c for c in code.co_consts))
    # flags, time and size of a source (PEP 552): there is none to compare with
    return importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(code)


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
