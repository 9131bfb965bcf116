"""Whose keys an erasure destroys: those of a person, of a name that data have, or of an organization.

Besides the person's own key, and those of their names, these are keys of what may name them in words that nothing finds
them by: files of exports and imports, all of them; and what was asked for in exports that are theirs or look for them,
and in requests for erasure that are about them.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

from auth.role import OrganizationRole
from models.encryption.column import open_light
from models.encryption.envelope import Cell, KeyOwner, KeyPurpose, key_id_of
from models.encryption.keyring import active_keyring
from models.encryption.owner import erasure_owner, export_owner, index_owner, organization_owner, person_owner
from models.encryption.owner import subject_owner as named_owner
from models.errors import ConflictError, SealedError
from models.inventory import entity_of
from models.invitation import Invitation
from models.membership import Membership, MembershipStatus
from models.organization import OrganizationStatus
from models.reading import OneStatement
from models.searching import index_of, load_index_key
from models.transaction import Tenant
from models.user import User
from resolvers.collector import COLLECTOR
from resolvers.export_ending import file_owners
from resolvers.import_ending import imported_owners
from resolvers.services import Services

INDEX_BYTES: Final = 16
"""Bytes of a blind index."""

_INVITED: Final = entity_of(Invitation).columns["email"]
_MEMBERSHIPS: Final = (
    "select m.organization_id, m.id, m.name, m.role = $2 and m.status <> $3 and o.status <> $4 as is_owner,"
    " m.status = $5 and o.status <> $4 as is_active"
    " from membership m join organization o on o.id = m.organization_id where m.user_id = $1 order by 1"
)
_OTHER_OWNERS: Final = (
    "select count(*) from membership where organization_id = $1 and role = $2 and status = $3"
    " and role_expires_at is null and id <> $4"
)
_EXPORTS: Final = """
    select id from data_export
     where organization_id = $1 and num_nonnulls(filter_given, request, manifest) > 0
       and (created_by_id = any($2::uuid[])
            or exists (select from unnest($3::bytea[]) one where position(one in searched_for) > 0))
"""
_REQUESTS: Final = """
    select id from erasure_request
     where organization_id = $1
       and (user_id = $2 or exists (select from unnest($3::bytea[]) one where position(one in name_indexes) > 0))
"""


@dataclass(frozen=True, slots=True)
class Member:
    """A membership of a person: where, and the name there, sealed.

    is_owner: whether the organization may need them. is_active: whether they can get in there.
    """

    organization_id: UUID
    id: UUID
    is_owner: bool
    is_active: bool
    name: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """What an erasure is to destroy: the keys of `owners`, and what rows in the organizations `within` say besides.

    names, addresses: the blind indexes of the names, and of the address that somebody was invited by, in each of them.
    unknown: spellings that were given and that no organization has a key for.
    """

    owners: tuple[KeyOwner, ...]
    within: frozenset[UUID]
    person_id: UUID | None = None
    organization_id: UUID | None = None
    names: tuple[tuple[UUID, bytes], ...] = field(default=(), repr=False)
    addresses: tuple[tuple[UUID, bytes], ...] = field(default=(), repr=False)
    unknown: tuple[str, ...] = ()

    def names_in(self, organization_id: UUID) -> list[bytes]:
        """Return the blind indexes of the names in one organization."""
        return [index for one, index in self.names if one == organization_id]

    def addresses_in(self, organization_id: UUID) -> list[bytes]:
        """Return the blind indexes of the address in one organization."""
        return [index for one, index in self.addresses if one == organization_id]


async def plan_person(
    services: Services, user_id: UUID, *, also_named: Collection[str] = (), is_begun: bool = False
) -> Plan:
    """Return what the erasure of a person is to destroy, as far as it is there. Afterwards some of it can't be found.

    also_named: other spellings under which they stand as a collector, in any organization that they belong to: for an
        operator, who has seen that they do.
    is_begun: their keys may be destroyed already, so that there is no way back, whomever it leaves without an owner.

    Raises:
        ConflictError: they are the last owner of an organization.
        UnavailableError: a database or the key provider is away.
    """
    memberships = await (memberships_of if is_begun else require_no_last_owner)(user_id)
    names: list[tuple[UUID, bytes]] = []
    for one in memberships:
        own_name = await name_of(one)
        spellings = {*also_named, *filter(None, [own_name])}
        names += [(one.organization_id, index) for index in await indexes_of_names(one.organization_id, spellings)]
    email = await address_of_account(user_id)
    addresses = [] if email is None else await _invited_as(services, email)
    within = frozenset((*(one.organization_id for one in memberships), *(place for place, _ in addresses)))
    plan = Plan(
        owners=(person_owner(user_id), *_named(names), *_named(addresses)),
        within=within,
        person_id=user_id,
        names=tuple(names),
        addresses=tuple(addresses),
        unknown=await unknown_names(services, within, also_named),
    )
    return await _with_what_names_them(plan, {one.organization_id: [one.id] for one in memberships})


async def plan_names(services: Services, organization_id: UUID, names: Collection[str]) -> Plan:
    """Return what the erasure of a name, in several spellings, is to destroy."""
    indexes = await indexes_of_names(organization_id, names)
    unknown = await unknown_names(services, {organization_id}, names)
    return replace(await plan_indexes(organization_id, indexes), unknown=unknown)


async def plan_indexes(organization_id: UUID, indexes: Iterable[bytes]) -> Plan:
    """Return what the erasure of a name is to destroy, of which only the blind indexes are known."""
    names = tuple((organization_id, index) for index in indexes)
    plan = Plan(owners=tuple(_named(names)), within=frozenset({organization_id}), names=names)
    return await _with_what_names_them(plan, {})


def plan_organization(organization_id: UUID) -> Plan:
    """Return what the erasure of an organization is to destroy. Its people's accounts are theirs."""
    return Plan(
        owners=(organization_owner(organization_id),),
        within=frozenset({organization_id}),
        organization_id=organization_id,
    )


async def keys_to_destroy(services: Services, plan: Plan) -> list[UUID]:
    """Return the ids of the keys of the plan's owners that are not destroyed."""
    owners = set(plan.owners)
    found = await services.keystore.keys_of(plan.owners)
    # Of a subject both keys go; of an export only the one that is meant. An organization's are all within it.
    return [
        key.id
        for key in found
        if plan.organization_id is not None or key.owner in owners or replace(key.owner, purpose=_VALUES) in owners
    ]


_VALUES: Final = KeyPurpose.VALUES


async def memberships_of(user_id: UUID) -> list[Member]:
    """Return the memberships of a person, in every organization, ended ones among them."""
    async with OneStatement(Tenant(user_id=user_id)) as connection:
        rows = await connection.fetch(
            _MEMBERSHIPS,
            user_id,
            OrganizationRole.OWNER,
            MembershipStatus.ERASED,
            OrganizationStatus.ERASING,
            MembershipStatus.ACTIVE,
        )
    return [Member(row["organization_id"], row["id"], row["is_owner"], row["is_active"], row["name"]) for row in rows]


async def name_of(one: Member) -> str | None:
    """Return the member's name; None where their key is gone already."""
    return await _opened(one.name, Cell(one.organization_id, entity_of(Membership).name, "name", one.id))


async def require_no_last_owner(user_id: UUID) -> list[Member]:
    """Return the person's memberships. Raises `ConflictError` where they are the last owner of an organization."""
    memberships = await memberships_of(user_id)
    for one in memberships:
        if one.is_owner:
            await _require_another_owner(one)
    return memberships


async def indexes_of_names(organization_id: UUID, names: Iterable[str]) -> list[bytes]:
    """Return the blind indexes of names as a collector's, without blank ones."""
    await load_index_key(organization_id)
    return [index_of(COLLECTOR, organization_id, name) for name in names if name.strip()]


async def indexes_in(organization_id: UUID, user_id: UUID) -> tuple[list[bytes], list[bytes]]:
    """Return by what an organization's rows name somebody with an account: the blind indexes of their name as a
    collector's, and of their address. What can't be read any more has none.
    """
    own = [await name_of(one) for one in await memberships_of(user_id) if one.organization_id == organization_id]
    names = await indexes_of_names(organization_id, filter(None, own))
    email = await address_of_account(user_id)
    return names, [] if email is None else [index_of(_INVITED, organization_id, email)]


async def unknown_names(services: Services, within: Iterable[UUID], names: Collection[str]) -> tuple[str, ...]:
    """Return those of the names that no organization has a key for: nothing was ever sealed under them."""
    known = {
        name
        for organization_id in within
        for name in names
        if await services.keystore.keys_of(
            [named_owner(organization_id, one) for one in await indexes_of_names(organization_id, [name])]
        )
    }
    return tuple(name for name in names if name not in known)


async def address_of_account(user_id: UUID) -> str | None:
    """Return an account's address; None where there is none, or its key is gone already."""
    async with OneStatement(Tenant(user_id=user_id)) as connection:
        blob = await connection.fetchval("select email from user_account where id = $1", user_id)
    if blob is None:
        return None
    # An account lies in no organization.
    return await _opened(blob, Cell(UUID(int=0), entity_of(User).name, "email", user_id))


async def _invited_as(services: Services, email: str) -> list[tuple[UUID, bytes]]:
    """Return where an address was ever invited, with its blind index there.

    Each organization has an index key of its own, so that each that ever invited anybody is asked.
    """
    async with OneStatement(Tenant()) as connection:
        inviting = [row[0] for row in await connection.fetch("select fieldward_inviting()")]
    found = []
    for organization_id in inviting:
        await active_keyring().load([index_owner(organization_id)])
        index = index_of(_INVITED, organization_id, email)
        if await services.keystore.keys_of([named_owner(organization_id, index)]):
            found.append((organization_id, index))
    return found


async def _with_what_names_them(plan: Plan, members: dict[UUID, list[UUID]]) -> Plan:
    """Return the plan with the keys of files, and of what exports and requests say that may name whom it is about.

    members: their memberships, by organization.
    """
    more: list[KeyOwner] = []
    for organization_id in sorted(plan.within):
        more += await file_owners(organization_id)
        more += await imported_owners(organization_id)
        named = plan.names_in(organization_id)
        async with OneStatement(Tenant(organization_id=organization_id)) as connection:
            exports = await connection.fetch(_EXPORTS, organization_id, members.get(organization_id, []), named)
        async with OneStatement(Tenant(organization_id=organization_id)) as connection:
            requests = await connection.fetch(_REQUESTS, organization_id, plan.person_id, named)
        more += [export_owner(organization_id, row["id"], KeyPurpose.VALUES) for row in exports]
        more += [erasure_owner(organization_id, row["id"]) for row in requests]
    return replace(plan, owners=(*plan.owners, *more))


def _named(indexes: Iterable[tuple[UUID, bytes]]) -> Sequence[KeyOwner]:
    return [named_owner(organization_id, index) for organization_id, index in indexes]


async def _require_another_owner(one: Member) -> None:
    async with OneStatement(Tenant(organization_id=one.organization_id)) as connection:
        others = await connection.fetchval(
            _OTHER_OWNERS, one.organization_id, OrganizationRole.OWNER, MembershipStatus.ACTIVE, one.id
        )
    if not others:
        raise ConflictError("They are the last owner of an organization: make somebody else an owner first.")


async def _opened(blob: bytes, cell: Cell) -> str | None:
    await active_keyring().load_ids([key_id_of(blob)])
    try:
        return open_light(blob, cell)
    except SealedError:
        return None
