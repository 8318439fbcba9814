"""The Berkeley DB binding: bsddb3, or berkeleydb, its successor with the same API."""

from __future__ import annotations

try:
    from bsddb3.db import DB, DB_RDONLY, DB_UNKNOWN, DBError
except ImportError:
    from berkeleydb.db import DB, DB_RDONLY, DB_UNKNOWN, DBError

__all__ = ["DB", "DB_RDONLY", "DB_UNKNOWN", "DBError"]
