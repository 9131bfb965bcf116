"""Other spellings that somebody who is to be erased told of their name: each organization is asked for them apart.

Whoever says of a name that it is theirs may be anybody: the keys of a name are those of all records that have it, and
there is no way back. So no person's own confirmation destroys them. Once it is confirmed, each organization to which
the person belongs, and in which something was ever sealed under one of the spellings, gets a request of kind NAME, in
the person's name, which somebody else confirms there. Their own name, which an invitation gave them and they can't
change, goes with the person.

By the job that carries out erasures, in steps of which each can be done again: a request made for another has an id
that follows from that one's.
"""

from collections.abc import Collection, Sequence
from typing import Final
from uuid import UUID, uuid5

import orjson
from tortoise.backends.base.client import BaseDBAsyncClient

from auth.action import Action
from models.encryption.column import load_keys_for
from models.encryption.keyring import active_keyring
from models.encryption.owner import erasure_owner
from models.erasure_request import ErasureKind, ErasureRequest, ErasureStatus
from models.errors import SealedError
from models.inventory import entity_of
from models.reading import OneStatement
from models.transaction import Tenant, fetch
from resolvers.change import Change, Intent, commit_change, commit_decided
from resolvers.erasure_owner import Member, indexes_of_names, memberships_of, name_of, unknown_names
from resolvers.erasure_request import DUE_AFTER, count_records
from resolvers.services import Services
from resolvers.trail import job_actor

WHY: Final = "They asked to be erased themselves, and say that records name them so."
"""The reason of such a request."""

_ENTITY: Final = entity_of(ErasureRequest)
_IS_ASKED: Final = "select exists (select from erasure_request where organization_id = $1 and id = $2)"
_OPEN: Final = (
    f"select 1 from erasure_request where organization_id = $1 and id = $2"
    f" and status in ('{ErasureStatus.REQUESTED}', '{ErasureStatus.CONFIRMED}') for update"
)
_WITHDRAW: Final = f"""
    update erasure_request
       set status = '{ErasureStatus.WITHDRAWN}', withdrawn_by_id = requested_by_id, name_indexes = null,
           version = version + 1
     where organization_id = $1 and id = $2
"""


def asked_for(request_id: UUID, organization_id: UUID) -> UUID:
    """Return the id of the request by which an organization is asked for the names that a person's request told."""
    return uuid5(request_id, str(organization_id))


async def pass_names_on(services: Services, request: ErasureRequest) -> int:
    """Ask each organization of a person whose request is confirmed for the names that it told; return how many were.

    Raises:
        UnavailableError: a database, the keystore or the key provider is away.
    """
    is_confirmed = request.kind is ErasureKind.PERSON and request.status is ErasureStatus.CONFIRMED
    if not is_confirmed or request.user_id is None or request.name_indexes is None:
        return 0
    asked = 0
    for one in await memberships_of(request.user_id):
        if not one.is_active or await _is_asked(request, one.organization_id):
            continue
        names = await _others(one, await _opened_names(request))
        if len(await unknown_names(services, [one.organization_id], names)) < len(names):
            await _ask(request, one, names)
            asked += 1
    return asked


async def take_names_back(request: ErasureRequest) -> None:
    """Take back what organizations were asked for because of a person's request that they took back.

    Raises:
        UnavailableError: the database is away.
    """
    if request.user_id is None:
        return
    for one in await memberships_of(request.user_id):
        await _take_back(one.organization_id, asked_for(request.id, one.organization_id))


async def _is_asked(request: ErasureRequest, organization_id: UUID) -> bool:
    async with OneStatement(Tenant(organization_id=organization_id)) as connection:
        return bool(await connection.fetchval(_IS_ASKED, organization_id, asked_for(request.id, organization_id)))


async def _others(one: Member, names: Collection[str]) -> list[str]:
    """Return those of the names that are another than the member's own, which goes with them."""
    own = await name_of(one)
    indexes = await indexes_of_names(one.organization_id, [] if own is None else [own])
    return [name for name in names if await indexes_of_names(one.organization_id, [name]) != indexes]


async def _ask(request: ErasureRequest, one: Member, names: Sequence[str]) -> None:
    organization_id, request_id = one.organization_id, asked_for(request.id, one.organization_id)
    indexes = await indexes_of_names(organization_id, names)
    await active_keyring().load([erasure_owner(organization_id, request_id)])

    async def insert(change: Change) -> None:
        await ErasureRequest.create(
            using_db=change.connection,
            id=request_id,
            organization_id=organization_id,
            created_at=change.at,
            kind=ErasureKind.NAME,
            status=ErasureStatus.REQUESTED,
            requested_by_id=one.id,
            named=orjson.dumps(names).decode(),
            reason=WHY,
            name_indexes=b"".join(indexes),
            records=await count_records(change, indexes),
            due_at=change.at + DUE_AFTER,
        )

    actor = job_actor(organization_id)
    await commit_change(Intent(Action.ERASURE_REQUEST, actor, entity=_ENTITY.name, subjects=[request_id]), insert)


async def _take_back(organization_id: UUID, request_id: UUID) -> None:
    actor = job_actor(organization_id)

    async def decide(connection: BaseDBAsyncClient) -> Intent | None:
        if not await fetch(connection, _OPEN, organization_id, request_id):
            return None
        return Intent(Action.ERASURE_WITHDRAW, actor, entity=_ENTITY.name, subjects=[request_id])

    async def withdraw(change: Change) -> None:
        await fetch(change.connection, _WITHDRAW, organization_id, request_id)

    await commit_decided(actor, decide, withdraw)


async def _opened_names(request: ErasureRequest) -> list[str]:
    """Return the spellings that a request names; none where they can't be read any more."""
    await load_keys_for([request], "named")
    try:
        stored = request.named
    except SealedError:
        return []
    names: list[str] = [] if stored is None else orjson.loads(stored)
    return names
