"""The protocol of popips, explored state by state: what logins, runs, the admin, kills and power cuts do to each other.

A World (world.py) is all that the protocol hangs on: stamps, records, requests, locks, seals. A process - a login, a
run of the expirer, `popips-db deny`, the admin's rebuild - is a chain of steps. A step is a function that does one
thing which the file system does whole; it returns the moves that there are: what the world is like then, and which
step comes next with what it knows. explore.py takes the processes of a scenario (scenarios.py) through every order in
which their steps can come, and kills each of ours at each step. Where all have ended, faults.py looks whether the
invariants of docs/reliability.md hold after the next run. guards.py lists what keeps them: each guard is left out
once, and the scenario that it names must turn red.

Modules and steps have the names of what they stand for in popips; the decision itself, popips.fate, is popips' own.
Not in the model: mtimes that lie, limits by network, and all that .lane and popips.conf can close the fast lane for:
here it is always open, which is the worst case.
"""
