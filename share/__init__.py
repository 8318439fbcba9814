"""popips-share: tells the other hosts of the logins here, and this one of theirs, through a Valkey or Redis server."""
