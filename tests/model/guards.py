"""What keeps the invariants: each guard, and, if it is left out, which scenario turns red, and with what fault."""

from __future__ import annotations

NOT_OPEN = "told yes, and not open after a run"
ORPHAN = "a record without a stamp"
LOST = "a live stamp without a record"
STATIC_LOST = "a static record is lost"
UNSOUND = "the map is not sound"
DENIED = "denied, and open"
BACK = "ended by the admin, and came back"
OTHER = "a record by other settings"
STUCK = "waits for nobody"

GUARDS = {
    # ---- lane
    "the lane looks a second time": ("a login and a run", NOT_OPEN),
    "the lane looks for the same file": ("an end between two logins", NOT_OPEN),
    "the lane looks for the settled bit again": ("a login and a run", NOT_OPEN),
    # ---- requests, grant
    "a request has a name of its own": ("two logins and the window", NOT_OPEN),
    "a dead granter is not waited for": ("a crowd", STUCK),
    "the request is removed last": ("two logins", NOT_OPEN),
    "denials are read under the lock + requests are looked at again under the lock": (
        "a denial and the long way",
        DENIED,
    ),
    "requests are looked at again under the lock": ("an end and a run", BACK),
    "only the settings that the records were made by change anything": ("another map", UNSOUND),
    # ---- settle
    "a map of its own is made anew if in doubt": ("a map of its own", NOT_OPEN),
    "a grant's stamp is unsettled before it ends": ("a login and a run", LOST),
    "its time is looked at again": ("a login and a run", NOT_OPEN),
    "the stamp goes after the record": ("a login and a run", ORPHAN),
    "the stamp is made before the record": ("a login and a run", ORPHAN),
    "a stamp is made unsettled + the request is removed last": ("a login and a run", LOST),
    "a static record is the admin's": ("a login and a run", STATIC_LOST),
    "the text counts": ("an edit", "the text says otherwise, and open"),
    "denials bar": ("a denial", DENIED),
    "a stamp's time never goes back": ("two logins and half a window twice", NOT_OPEN),
    "a limit looks at the time again": ("max_per_user and a run", NOT_OPEN),
    "a limit goes by the logins' times": ("max_per_user", NOT_OPEN),
    "rebuild unsettles what it leaves out": ("a map of its own and the window", LOST),
    # ---- run
    "a run knows what the last one saw": ("a denial", DENIED),
    "a run asks for the seal": ("a login, a run and a rebuild", LOST),
    "a run forgets what was seen before it seals": ("two runs, a login and a rebuild", LOST),
    "a run seals before it looks": ("two runs, a login and a rebuild", LOST),
    "what is kept was there when the run began": ("a denial", DENIED),
    "a run keeps the limit": ("max_per_user", "more than max_per_user"),
    "changed settings move the grants": ("another map", NOT_OPEN),
    "the new settings are kept once the old records have gone": ("another map", UNSOUND),
    "move takes the old map's lock": ("another map", UNSOUND),
    "move unsettles the stamps": ("another map, another, and an end", LOST),
    "move asks once more under the lock": ("another map, another, and an end", UNSOUND),
    "the emptied map is synced before the new settings are kept": ("a power cut and another map", OTHER),
    # ---- revoke
    "deny writes its list before it ends the grant": ("a denial", DENIED),
    "end withdraws the requests": ("an end and two logins", BACK),
    "end syncs the stamps": ("a power cut and an end", BACK),
    # ---- maps
    "the journal is written first": ("a login and a run", UNSOUND),
    "the journal is for one build": ("an edit", STATIC_LOST),
    "the map is compared under its lock": ("a login, a run and a rebuild", UNSOUND),
    "secure: the stamps are synced before the map changes": ("a power cut", ORPHAN),
    "the map is synced before its journal is done with": ("a power cut", UNSOUND),
    "a change seals if the seal held": ("two addresses and a rebuild", LOST),
    "a seal is for one boot": ("a power cut and a map of its own", ORPHAN),
}
