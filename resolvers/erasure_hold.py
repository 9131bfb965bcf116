"""Whether something keeps what is to be erased: the one place where that is asked.

A legal hold is somebody else's claim that data stay; the law lets an erasure wait for it (GDPR, article 17(3)). It is
asked for when a request is confirmed, again in the transaction that begins to carry it out, and before an operator's
command destroys the first key. What was begun is finished, whatever is placed on it then.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from models.erasure_request import ErasureKind, ErasureRequest
from models.errors import ConflictError
from models.legal_hold import holds_on_name, holds_on_organization, holds_on_person, lock_holds
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
    is_whole: bool = False,
) -> Sequence[UUID]:
    """Return the ids of the holds that keep, in one organization, what an erasure would destroy.

    Whoever places a hold waits for the end of the transaction, and one that was placed before is seen.

    connection: of a transaction of that tenant. person_id: whose account it is about. names: the blind indexes of a
    name that records have. is_whole: it is about all of the organization.
    """
    await lock_holds(connection, organization_id)
    if is_whole:
        held = list(await holds_on_organization(connection, organization_id))
    else:
        held = [one for name in names for one in await holds_on_name(connection, organization_id, name)]
        for row in await fetch(connection, _MEMBERSHIP, organization_id, person_id):
            held += await holds_on_person(connection, organization_id, row["id"])
    return list(dict.fromkeys(one.hold_id for one in held))


async def holds_on_request(connection: BaseDBAsyncClient, request: ErasureRequest, names: Iterable[bytes]) -> bool:
    """Return whether a hold in a request's own organization keeps what it would erase, inside a transaction there."""
    is_whole = request.kind is ErasureKind.ORGANIZATION
    return bool(
        await holds_in(connection, request.organization_id, person_id=request.user_id, names=names, is_whole=is_whole)
    )


async def require_no_hold(plan: Plan) -> None:
    """Raise `ConflictError`, naming holds by their ids and not by their reasons, where one keeps what a plan destroys.

    Raises:
        UnavailableError: the database is away.
    """
    for organization_id in sorted(plan.within):
        async with write_transaction(Tenant(organization_id=organization_id)) as connection:
            holds = await holds_in(
                connection,
                organization_id,
                person_id=plan.person_id,
                names=plan.names_in(organization_id),
                is_whole=plan.organization_id is not None,
            )
        if holds:
            raise ConflictError(f"{HELD} {', '.join(map(str, holds))}")
