"""Whether something keeps what is to be erased: the one place where that is asked.

A legal hold is somebody else's claim that data stay; the law lets an erasure wait for it (GDPR, article 17(3)). It is
asked for when a request is confirmed, in the transaction that begins to carry it out, and once more before the first
key is destroyed, as before the first that an operator's command destroys; and in each organization that the erasure
reaches into, also where somebody was invited and never came. What was begun is finished.
"""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from models.erasure_request import ErasureKind, ErasureRequest
from models.errors import ConflictError
from models.legal_hold import (
    holds_on_addresses,
    holds_on_name,
    holds_on_organization,
    holds_on_person,
    lock_holds,
)
from models.transaction import Tenant, fetch, write_transaction
from resolvers.erasure_owner import Plan

HELD = "A legal hold keeps this."

_MEMBERSHIP = "select id from membership where organization_id = $1 and user_id = $2"


async def holds_in(
    connection: BaseDBAsyncClient,
    organization_id: UUID,
    *,
    person_id: UUID | None = None,
    names: Iterable[bytes] = (),
    addresses: Iterable[bytes] = (),
    is_whole: bool = False,
) -> Sequence[UUID]:
    """Return the ids of the holds that keep, in one organization, what an erasure would destroy.

    One on the organization keeps all of it, whatever the erasure finds there. Whoever places a hold waits for the end
    of the transaction, and one that was placed before is seen.

    connection: of a transaction of that tenant. person_id: whose account it is about. names: the blind indexes of a
    name that records have. addresses: those of the address that somebody was invited by. is_whole: it is about all of
    the organization.
    """
    await lock_holds(connection, organization_id)
    if is_whole:
        held = list(await holds_on_organization(connection, organization_id))
    else:
        held = list(await holds_on_addresses(connection, organization_id, list(addresses)))
        held += [one for name in names for one in await holds_on_name(connection, organization_id, name)]
        for row in await fetch(connection, _MEMBERSHIP, organization_id, person_id):
            held += await holds_on_person(connection, organization_id, row["id"])
    return list(dict.fromkeys(one.hold_id for one in held))


async def holds_on_request(connection: BaseDBAsyncClient, request: ErasureRequest, names: Iterable[bytes]) -> bool:
    """Return whether a hold in a request's own organization keeps what it would erase, inside a transaction there."""
    is_whole = request.kind is ErasureKind.ORGANIZATION
    return bool(
        await holds_in(connection, request.organization_id, person_id=request.user_id, names=names, is_whole=is_whole)
    )


async def holds_on_plan(connection: BaseDBAsyncClient, plan: Plan, organization_id: UUID) -> Sequence[UUID]:
    """Return the ids of the holds that keep, in one organization, what a plan destroys, inside a transaction there."""
    return await holds_in(
        connection,
        organization_id,
        person_id=plan.person_id,
        names=plan.names_in(organization_id),
        addresses=plan.addresses_in(organization_id),
        is_whole=plan.organization_id is not None,
    )


async def holding_organizations(plan: Plan) -> Mapping[UUID, Sequence[UUID]]:
    """Return the organizations in which holds keep what a plan destroys, with the ids of those.

    Raises:
        UnavailableError: the database is away.
    """
    found = {}
    for organization_id in sorted(plan.within):
        async with write_transaction(Tenant(organization_id=organization_id)) as connection:
            if holds := await holds_on_plan(connection, plan, organization_id):
                found[organization_id] = holds
    return found


async def require_no_hold(plan: Plan) -> None:
    """Raise `ConflictError`, naming holds by their ids and not by their reasons, where one keeps what a plan destroys.

    Raises:
        UnavailableError: the database is away.
    """
    for holds in (await holding_organizations(plan)).values():
        raise ConflictError(f"{HELD} {', '.join(map(str, holds))}")
