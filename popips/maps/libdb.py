"""The Berkeley DB binding: bsddb3, or berkeleydb, its successor with the same API.

Its extension module is loaded by itself: the package around it imports what no map needs, and a login would wait for
that.
"""

from __future__ import annotations

import sys
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EXTENSIONS = (("bsddb3", "_pybsddb"), ("berkeleydb", "_berkeleydb"))


def _extension() -> Any:
    for folder in sys.path:
        for package, name in EXTENSIONS:
            for suffix in EXTENSION_SUFFIXES:
                path = f"{folder}/{package}/{name}{suffix}"
                loader = ExtensionFileLoader(f"{package}.{name}", path)
                try:
                    module = loader.create_module(ModuleSpec(f"{package}.{name}", loader, origin=path))
                except ImportError:
                    continue
                loader.exec_module(module)
                return module
    raise ModuleNotFoundError("No module named bsddb3 or berkeleydb: have `make deps` install one")


_db = _extension()
DB, DB_CREATE, DB_RDONLY, DB_UNKNOWN, DBError = _db.DB, _db.DB_CREATE, _db.DB_RDONLY, _db.DB_UNKNOWN, _db.DBError
TYPES = {"hash": _db.DB_HASH, "btree": _db.DB_BTREE}
