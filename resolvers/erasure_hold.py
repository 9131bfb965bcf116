"""Whether something keeps what is to be erased: the one place where that is asked.

A legal hold is somebody else's claim that data stay; the law lets an erasure wait for it (GDPR, article 17(3)). It is
asked for when a request is confirmed, and again, in the transaction that begins to carry it out; a command asks before
it destroys anything. A person's erasure reaches every organization that they belong to, and so waits for the holds of
each.
"""

from collections.abc import Collection, Sequence
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from models.erasure_request import ErasureKind, ErasureRequest
from models.errors import ConflictError
from models.legal_hold import Held, holds_on_name, holds_on_organization, holds_on_person, lock_holds
from models.transaction import Tenant, fetch, write_transaction
from resolvers.erasure_owner import INDEX_BYTES, Plan

HELD = "A legal hold keeps this."

_MEMBERSHIP = "select id from membership where organization_id = $1 and user_id = $2"


async def holds_on(connection: BaseDBAsyncClient, request: ErasureRequest) -> Sequence[UUID]:
    """Return the ids of the holds that keep what a request would erase, inside a transaction of its tenant."""
    stored = request.name_indexes or b""
    names = [stored[start : start + INDEX_BYTES] for start in range(0, len(stored), INDEX_BYTES)]
    memberships = [] if request.membership_id is None else [request.membership_id]
    is_whole = request.kind is ErasureKind.ORGANIZATION
    held = await _held(connection, request.organization_id, names, memberships, is_whole=is_whole)
    return [one.hold_id for one in held]


async def require_no_hold(connection: BaseDBAsyncClient, request: ErasureRequest) -> None:
    """Raise `ConflictError`, naming the holds by their ids and not by their reasons, where one keeps it."""
    holds = await holds_on(connection, request)
    if holds:
        raise ConflictError(f"{HELD} {', '.join(map(str, holds))}", field=("input", "id"))


async def require_nothing_held(plan: Plan, *, but: UUID | None = None) -> None:
    """Raise `ConflictError` where a hold in any of the organizations keeps what an erasure is to destroy there.

    but: an organization that is asked about elsewhere. Holds of several organizations are not named: whoever asks in
    one has no business in the others.
    """
    for organization_id in sorted(plan.within - {but}):
        async with write_transaction(Tenant(organization_id=organization_id)) as connection:
            memberships: list[UUID] = []
            if plan.person_id is not None:
                rows = await fetch(connection, _MEMBERSHIP, organization_id, plan.person_id)
                memberships = [row["id"] for row in rows]
            names, is_whole = plan.names_in(organization_id), plan.organization_id == organization_id
            if await _held(connection, organization_id, names, memberships, is_whole=is_whole):
                raise ConflictError(HELD)


async def _held(
    connection: BaseDBAsyncClient,
    organization_id: UUID,
    names: Collection[bytes],
    memberships: Collection[UUID],
    *,
    is_whole: bool,
) -> Sequence[Held]:
    """Return the holds that keep a whole organization, or what is of these names and people in it, each once."""
    await lock_holds(connection, organization_id)
    if is_whole:
        return await holds_on_organization(connection, organization_id)
    held = [one for name in names for one in await holds_on_name(connection, organization_id, name)]
    held += [one for person in memberships for one in await holds_on_person(connection, organization_id, person)]
    return list({one.hold_id: one for one in held}.values())
