"""popips-db doctor: what stands between a login and a relayed mail, one check at a time."""
