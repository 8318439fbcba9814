"""Packs the modules that a login imports into one file: to find and to read each by itself takes longer than to grant.

`make install` runs it: pack.py LIB MODULE BINDING prints the byte code of a program that runs main() of MODULE, as
`python3 -IS` can run it. Another version of Python cannot, and says so; lane.sh then starts the plain one.
"""

from __future__ import annotations
import __future__

import importlib.util
import inspect
import marshal
import sys
from pathlib import Path

ROOMS = ("popips", "popips/maps", "pam_hook")
# not on the way of every login: found where they are
SELDOM = ("admin", "command", "upkeep", "survey", "pack", "own", "postmap")

START = """
import gc, sys
from marshal import loads
gc.disable()
sys.path = [LIB, *sys.path, BINDING]
Spec = type(sys.__spec__)
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
        exec(loads(PACKED[module.__name__][1]), module.__dict__)
sys.meta_path.insert(0, Packed)
from MODULE import main
sys.exit(main())
"""


def packed(root: Path, lib: str, module: str, binding: str) -> bytes:
    """Give the content of a .pyc file; root: where the rooms are now, lib: where they will be."""
    modules = {"__future__": (False, marshal.dumps(compile(inspect.getsource(__future__), "__future__", "exec")))}
    for path in (path for room in ROOMS for path in sorted((root / room).glob("*.py"))):
        *parents, name = path.relative_to(root).with_suffix("").parts
        if name in SELDOM:
            continue
        is_package = name == "__init__"
        code = compile(path.read_bytes(), f"{lib}/{path.relative_to(root)}", "exec", dont_inherit=True, optimize=2)
        modules[".".join(parents if is_package else [*parents, name])] = (is_package, marshal.dumps(code))
    start = f"LIB, BINDING, PACKED = {lib!r}, {binding!r}, {modules!r}\n{START.replace('MODULE', module)}"
    code = compile(start, f"{lib}/{module}", "exec", dont_inherit=True, optimize=2)
    # flags, time and size of a source (PEP 552): there is none to compare with
    return importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(code)


if __name__ == "__main__":
    sys.stdout.buffer.write(packed(Path(__file__).parent.parent, *sys.argv[1:]))
