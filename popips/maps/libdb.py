"""The Berkeley DB binding: bsddb3, or berkeleydb, its successor with the same API.

Its extension module is loaded by itself: the package around it imports what no map needs, and a login would wait for
that.
"""

from __future__ import annotations

import sys
from _imp import create_dynamic, exec_dynamic, extension_suffixes
from typing import Any

from popips.maps.errors import NO_BINDING, Failed, MapError
from popips.maps.kinds import exists

EXTENSIONS = (("bsddb3", "_pybsddb"), ("berkeleydb", "_berkeleydb"))


def _extension() -> Any:
    spec_of = type(sys.__spec__)  # importlib.machinery would cost a login more than the search does
    for folder in reversed(sys.path):  # `make install` puts the binding's folder last
        for package, name in EXTENSIONS:
            for suffix in extension_suffixes():
                path = f"{folder}/{package}/{name}{suffix}"
                if exists(path):
                    try:
                        module = create_dynamic(spec_of(f"{package}.{name}", None, origin=path))
                        exec_dynamic(module)
                    except ImportError as error:  # of too little memory, say, or made for another Python
                        raise Failed(f"{path}: cannot be loaded: {error}") from None
                    return module
    cure = "apt-get install python3-bsddb3, or have `make deps` install one, or set map = mapd, which needs none"
    raise MapError(f"{NO_BINDING}: {cure}")


_db = _extension()
DB, DBEnv, DBError = _db.DB, _db.DBEnv, _db.DBError
DB_CREATE, DB_NOSYNC, DB_RDONLY, DB_UNKNOWN = _db.DB_CREATE, _db.DB_NOSYNC, _db.DB_RDONLY, _db.DB_UNKNOWN
DB_FAST_STAT = _db.DB_FAST_STAT
IN_MEMORY = _db.DB_CREATE | _db.DB_PRIVATE | _db.DB_INIT_MPOOL  # an environment that leaves nothing on the disk
TYPES = {"hash": _db.DB_HASH, "btree": _db.DB_BTREE}


def version() -> str:
    """Return the version of Berkeley DB."""
    return ".".join(map(str, _db.version()))
