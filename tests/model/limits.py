"""popips/limits.py: max_per_user."""

from __future__ import annotations

from tests.model.world import World, is_due

Counted = tuple[tuple[int, int], ...]  # addresses, each with the time by which its grant was counted


def surplus(world: World, latest: tuple[int, ...] = ()) -> Counted:
    """surplus(): the oldest grants that are more than one user may have; latest: who has just logged in."""
    most = world.host.most
    if not most:
        return ()
    favoured = () if world.host.has("a limit goes by the logins' times") else latest
    live = [(a in favoured, one.time, a) for a, one in enumerate(world.stamps) if one and not is_due(world, one)]
    return tuple((a, time) for _, time, a in sorted(live)[: max(0, len(live) - most)])
