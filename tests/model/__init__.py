"""The protocol of popips, explored state by state: what logins, runs, the admin, kills and power cuts do to one another.

A `World` (world.py) is all that the protocol hangs on: stamps, records, requests, locks, seals. A process - a login, a run
of the expirer, `popips-db deny`, the admin's rebuild - is a chain of steps; a step is a function that does one thing that
the file system does whole, and tells what the world is like then and which step comes next. explore.py takes the processes
of a scenario (scenarios.py) through every order in which their steps can come, and lets each of ours be killed at each.
Where all have ended, faults.py looks whether the invariants of docs/reliability.md hold after the next run. guards.py lists
what keeps them: each guard is left out once, and the scenario that it names must turn red.

Modules and steps have the names of those of popips that they stand for.
"""
