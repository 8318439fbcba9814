"""All guards, in the order of the page."""

from __future__ import annotations

from tests.guards import core, fleet, logins, mapd, maps, share

GUARDS = (*core.GUARDS, *maps.GUARDS, *logins.GUARDS, *mapd.GUARDS, *fleet.GUARDS, *share.GUARDS)
