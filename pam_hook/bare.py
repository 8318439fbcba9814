"""Makes of a module what a login needs of it: without types, and with nothing imported that costs more than it does.

Each of these swaps saves a login a millisecond or more. So modules can be ordinary Python: all that is special about
those on the way of a login stands here.
"""

from __future__ import annotations

import ast

CHEAP = {"stat": "_stat", "signal": "_signal", "functools": "_functools"}  # of each on the left, the part in C
SHIM = "popips_os"  # in place of os, importlib and contextlib: see OS
TYPES = ("typing", "collections.abc")  # of which a name may stand where a type does, and nowhere else
OS = """
import posix, sys
globals().update(vars(posix))
def __getattr__(name):
    if name == "__path__":
        raise AttributeError(name)
    import os
    return getattr(os, name)
def import_module(name):
    __import__(name)
    return sys.modules[name]
class Managed:
    def __init__(self, steps):
        self.steps = steps
    def __enter__(self):
        return next(self.steps)
    def __exit__(self, kind, error, traceback):
        if error is None:
            return next(self.steps, False)
        try:
            self.steps.throw(error)
        except BaseException as raised:
            if raised is not error:
                raise
        return False
def contextmanager(function):
    return lambda *words, **named: Managed(function(*words, **named))
"""
INIT = """
def __init__(self):
    pass
def __eq__(self, other):
    return type(self) is type(other) and vars(self) == vars(other)
def __hash__(self):
    return hash(tuple(vars(self).values()))
"""


def bare(source: str | bytes, path: str) -> ast.Module:
    """Return the module as a login needs it; raise SystemExit if it holds what this does not know."""
    tree = ast.parse(source)
    _Bare(_names_of_types(tree), path).visit(tree)
    return ast.fix_missing_locations(tree)


def _names_of_types(tree: ast.Module) -> set[str]:
    """Return the names that are imported for the sake of types."""
    found = {"TypeVar", "Generic", "Protocol"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in TYPES:
            found.update(alias.asname or alias.name for alias in node.names)
    return found


class _Bare(ast.NodeTransformer):
    def __init__(self, types: set[str], path: str) -> None:
        self.types, self.path = types, path

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        return ast.copy_location(ast.Assign([node.target], self.visit(node.value)), node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        """Make nothing of names for types: Told = Callable[...]."""
        value = node.value.value if isinstance(node.value, ast.Subscript) else node.value
        value = value.func if isinstance(value, ast.Call) else value
        is_type = isinstance(value, ast.Name) and value.id in self.types
        if is_type:
            node.value = ast.Constant(None)
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> ast.AST:
        for alias in node.names:
            if alias.name == "os":
                alias.name, alias.asname = SHIM, "os"
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        if node.module in (*TYPES, "dataclasses"):
            return None
        node.module = SHIM if node.module in ("importlib", "contextlib") else CHEAP.get(node.module or "", node.module)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.bases = [base for base in node.bases if ast.unparse(base).partition("[")[0] not in self.types]
        is_value = any(ast.unparse(decorator).startswith("dataclass") for decorator in node.decorator_list)
        if is_value:
            node.decorator_list = []
            methods = [part for part in node.body if not isinstance(part, ast.AnnAssign)]
            node.body = [*methods, *self._as_value([part for part in node.body if isinstance(part, ast.AnnAssign)])]
        return self.generic_visit(node)

    def _as_value(self, fields: list[ast.AnnAssign]) -> list[ast.stmt]:
        """Return the methods that dataclass makes of the fields, as far as they are needed."""
        init, *others = ast.parse(INIT).body
        assert isinstance(init, ast.FunctionDef)
        names = [ast.unparse(field.target) for field in fields]
        defaults = [field.value for field in fields if field.value]
        if any(ast.unparse(default).startswith("field(") for default in defaults):
            raise SystemExit(f"{self.path}: a login has no field() of dataclasses")
        init.args.args += [ast.arg(name) for name in names]
        init.args.defaults = list(defaults)
        init.body = ast.parse("".join(f"self.{name} = {name}\n" for name in names)).body or init.body
        return [init, *others]
