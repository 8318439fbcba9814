"""Questions to the other programs of a host, each answered by a value: what is there, never what to think of it."""
