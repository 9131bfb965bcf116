"""A database that came back: what ends in it, by a note of what stood last."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from fieldward.cli.environment import operator
from resolvers.restore_settling import Settled, settle_restored
from resolvers.way_in import WaysIn, ways_in
from tests.support.world import World

REASON: Final = "The disk failed"


async def settle(world: World, noted: WaysIn | None) -> Settled:
    """Have everything end that ends in a restored database."""
    settled = await settle_restored(world.services, operator(), noted, reason=REASON)
    # Whoever is needed after this signs in anew.
    world._clients.clear()
    return settled


def without(noted: WaysIn, kind: str, *, but: Sequence[str] = ()) -> WaysIn:
    """Return the note as it would be had all of a kind been taken away, but for some."""
    standing: Mapping[UUID, Mapping[str, Sequence[str]]] = {
        organization_id: {**kinds, kind: [one for one in kinds.get(kind, ()) if one in but]}
        for organization_id, kinds in noted.standing.items()
    }
    return replace(noted, standing=standing)


async def noted_once_signed_in(world: World) -> WaysIn:
    """Return what stands, once those who tests ask for have signed in."""
    for key in ("manager", "owner", "admin"):
        await world.client(key)
    return await ways_in(world.services.keystore)
