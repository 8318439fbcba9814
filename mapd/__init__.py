"""popips-mapd: answers the MTA's question who may relay by a look at the stamps, in place of a map."""
