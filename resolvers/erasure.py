"""Erasing a person, somebody whom data name, or an organization: by destroying the keys of what is theirs.

Every copy becomes unreadable at once: rows, the trail, and backups of the data. All exports and imports of the
organization end as well, since nobody looks into files for a name. Which keys are destroyed is written down before, so
that it is done again wherever older data, or an older keystore, come back (`apply_erasures`). What is left are ids,
pseudonyms that nobody can resolve any more, and, under the organization's attribution key, who vouched for a record.
"""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from auth.action import Action
from auth.errors import NotFoundError
from auth.role import OrganizationRole
from models.base import new_id
from models.encryption.blind_index import LENGTH
from models.encryption.column import open_light
from models.encryption.destruction import Destruction
from models.encryption.envelope import Cell, KeyOwner, key_id_of
from models.encryption.keyring import active_keyring
from models.encryption.owner import index_owner, organization_owner, person_owner, subject_owner
from models.errors import ConflictError, SealedError
from models.inventory import entities, entity_of
from models.membership import Membership, MembershipStatus
from models.organization import Organization, OrganizationStatus
from models.reading import OneStatement
from models.searching import index_of
from models.session import Session
from models.statement import Statement
from models.transaction import Tenant
from models.user import User, UserStatus
from resolvers.account_index import email_index_of
from resolvers.change import Change, Intent, commit_change
from resolvers.checking import require_reason, require_storable, require_text
from resolvers.collector import COLLECTOR
from resolvers.export_ending import end_exports, file_owners
from resolvers.import_ending import end_imports
from resolvers.services import Services
from resolvers.trail import Actor

NO_PASSWORD = "!"  # noqa: S105  (no hash, on purpose)
"""What stands for a password's hash where none is right."""
LOOKS: Final = 3
"""How often it is looked for keys of who is erased: those of an organization at work are made anew meanwhile."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure did: the keys that it destroyed, and in how many organizations rows were changed.

    unknown_names: spellings that were given and that no record has, so that a slip of the pen is seen.
    """

    id: UUID
    keys: int
    organizations: int
    unknown_names: tuple[str, ...] = ()


async def erase_person(
    services: Services, actor: Actor, *, email: str, also_named: Collection[str] = (), reason: str
) -> Erased:
    """Erase a person everywhere: their account, their names as member and collector, what the trail holds of them.

    also_named: other spellings under which they stand as a collector, in any organization that they belong to.

    Raises:
        InvalidInputError: the reason, the address or a spelling does not fit.
        NotFoundError: nobody has that address.
        ConflictError: they are the last owner of an organization.
        UnavailableError: a database or the key provider is away. What was begun is finished at the next start.
    """
    # Before anything is destroyed: what the trail can't hold would fail after that.
    reason = require_reason(reason, at=("reason",))
    require_storable(email, at=("email",))
    for spelling in also_named:
        require_text(spelling, at=("also_named",), longest=COLLECTOR.max_length or 0)
    index = await email_index_of(email)
    async with OneStatement(Tenant(email_index=index)) as connection:
        user_id = await connection.fetchval("select id from user_account where email_index = $1", index)
    if user_id is None:
        raise NotFoundError("Nobody has that address.")
    memberships = await _memberships(user_id)
    for one in memberships:
        if one.role is OrganizationRole.OWNER:
            await _require_another_owner(one)
    owners = [person_owner(user_id)]
    for one in memberships:
        own_name = await _name_of(one)
        owners += await _subjects(one.organization_id, {*also_named, *filter(None, [own_name])})
    within = {one.organization_id for one in memberships}
    unknown = await _unknown(services, within, also_named)
    return replace(await _erase(services, actor, reason, owners, within, person_id=user_id), unknown_names=unknown)


async def erase_name(services: Services, actor: Actor, *, slug: str, names: Collection[str], reason: str) -> Erased:
    """Erase somebody whom an organization's records name as a collector, and who need be no user of ours.

    Raises:
        InvalidInputError: the reason or a name does not fit.
        NotFoundError: there is no such organization, or no record names them.
    """
    reason = require_reason(reason, at=("reason",))
    for name in names:
        require_text(name, at=("names",), longest=COLLECTOR.max_length or 0)
    organization_id = await organization_named(services, slug)
    owners = await _subjects(organization_id, names)
    if not await services.keystore.keys_of(owners):
        raise NotFoundError("No record of the organization names them.")
    unknown = await _unknown(services, {organization_id}, names)
    return replace(await _erase(services, actor, reason, owners, {organization_id}), unknown_names=unknown)


async def erase_organization(services: Services, actor: Actor, *, slug: str, reason: str) -> Erased:
    """Make everything that an organization has sealed unreadable, and let nobody in any more.

    The accounts of its people are theirs, and stay.

    Raises:
        InvalidInputError: the reason does not fit.
        NotFoundError: there is no such organization.
    """
    reason = require_reason(reason, at=("reason",))
    organization_id = await organization_named(services, slug)
    owners = [organization_owner(organization_id)]
    return await _erase(services, actor, reason, owners, {organization_id}, organization_id=organization_id)


async def apply_erasures(services: Services, actor: Actor) -> int:
    """Do every erasure again that the data, or the keystore, do not know of; return how many there were.

    To be awaited before the first request: what is served may have come back from a backup.

    Raises:
        UnavailableError: a database or the key provider is away.
    """
    destructions = await services.destructions.all()
    await services.keystore.destroy({key_id for one in destructions for key_id in one.key_ids})
    applied = 0
    for one in destructions:
        if not await _is_applied(one):
            await _apply(one, actor, None)
            applied += 1
    return applied


@dataclass(frozen=True, slots=True)
class _Member:
    organization_id: UUID
    id: UUID
    role: OrganizationRole
    name: bytes


async def _erase(
    services: Services,
    actor: Actor,
    reason: str | None,
    owners: Collection[KeyOwner],
    within: Iterable[UUID],
    *,
    person_id: UUID | None = None,
    organization_id: UUID | None = None,
) -> Erased:
    one = Destruction(new_id(), datetime.now(UTC), person_id, organization_id, tuple(sorted(within)), ())
    owners = [*owners, *[owner for within_id in one.within_ids for owner in await file_owners(within_id)]]
    gone: list[UUID] = []
    for look in range(LOOKS):
        keys = [key.id for key in await services.keystore.keys_of(owners)]
        if look and not keys:
            break
        # Who replaces keys at the same time may have made others since the first look: each is an entry of its own.
        await services.destructions.add(replace(one, id=new_id() if look else one.id, key_ids=tuple(keys)))
        await services.keystore.destroy(keys)
        for key_id in keys:
            active_keyring().hear_destroyed(key_id)
        gone += keys
    await _apply(replace(one, key_ids=tuple(gone)), actor, reason)
    return Erased(one.id, len(gone), len(one.within_ids))


async def _apply(one: Destruction, actor: Actor, reason: str | None) -> None:
    """Change what rows say beside what they have sealed: one audited change in each organization."""
    within = list(one.within_ids)
    if one.person_id is not None:
        # In the last one the account is closed, so it is one to which they belong: data that came back from a backup
        # may be from before they joined another.
        belonging = dict.fromkeys(member.organization_id for member in await _memberships(one.person_id))
        within = [*(other for other in within if other not in belonging), *belonging]
    is_organization = one.organization_id is not None
    for place, organization_id in enumerate(within, 1):
        is_last = place == len(within)

        async def work(change: Change, is_last: bool = is_last) -> None:
            await _forget_names(change, one)
            await end_exports(change)
            await end_imports(change)
            if is_organization:
                await _close_organization(change)
            elif one.person_id is not None:
                await _end_membership(change, one.person_id)
                # The account says that all of it is done, so it comes last.
                if is_last:
                    await _close_account(change, one.person_id)

        action = Action.ORGANIZATION_ERASE if is_organization else Action.USER_ERASE
        subjects = [one.organization_id or one.person_id or one.id]
        entity = entity_of(Organization if is_organization else User).name
        inside = Actor(organization_id=organization_id, origin=actor.origin)
        await commit_change(Intent(action, inside, reason=reason, entity=entity, subjects=subjects), work)


async def _is_applied(one: Destruction) -> bool:
    """Return whether the data know of the erasure: those that came back from a backup do not."""
    if one.person_id is not None:
        async with OneStatement(Tenant(user_id=one.person_id)) as connection:
            status = await connection.fetchval("select status from user_account where id = $1", one.person_id)
        if status not in {None, UserStatus.ERASED}:
            return False
    if one.organization_id is not None:
        async with OneStatement(Tenant(organization_id=one.organization_id)) as connection:
            status = await connection.fetchval("select status from organization where id = $1", one.organization_id)
        return status in {None, OrganizationStatus.ERASING}
    for organization_id in one.within_ids:
        async with OneStatement(Tenant(organization_id=organization_id)) as connection:
            if await connection.fetchval(
                "select exists (select from record where organization_id = $1 and collector_index is not null"
                " and substring(collector from 3 for 16) = any($2::bytea[]))",
                organization_id,
                [key_id.bytes for key_id in one.key_ids],
            ):
                return False
    return True


async def _forget_names(change: Change, one: Destruction) -> None:
    """Take away by what a name could still be tried: blind indexes, and digests of what rows were made from."""
    if one.organization_id is None:
        await change.connection.execute_query(
            # By the digest of what a record was created from a name could be tried as well.
            "update record set collector_index = null, creation_digest = null"
            " where organization_id = $1 and collector_index is not null"
            " and substring(collector from 3 for 16) = any($2::bytea[])",
            [change.organization_id, [key_id.bytes for key_id in one.key_ids]],
        )
        return
    for entity in entities():
        for column in entity.columns.values():
            if column.search is not None and "organization_id" in entity.columns:
                index = column.search.index_column
                await change.connection.execute_query(
                    f'update "{entity.name}" set "{index}" = null where organization_id = $1 and "{index}" is not null',
                    [change.organization_id],
                )


async def _end_membership(change: Change, person_id: UUID) -> None:
    statement = Statement()
    await change.connection.execute_query(
        f'update "{entity_of(Membership).name}" set status = {statement.argument(MembershipStatus.ERASED)},'
        f" version = version + 1 where organization_id = {statement.argument(change.organization_id)}"
        f" and user_id = {statement.argument(person_id)} and status <> {statement.argument(MembershipStatus.ERASED)}",
        list(statement.arguments),
    )
    await _end_sessions(change, person_id)


async def _end_sessions(change: Change, person_id: UUID | None) -> None:
    statement = Statement()
    whose = "" if person_id is None else f" and user_id = {statement.argument(person_id)}"
    await change.connection.execute_query(
        f'update "{entity_of(Session).name}" set revoked_at = {statement.argument(change.at)} where revoked_at is null'
        f" and organization_id = {statement.argument(change.organization_id)}{whose}",
        list(statement.arguments),
    )


async def _close_account(change: Change, person_id: UUID) -> None:
    statement = Statement()
    # A random index leads nobody here, and the address may be somebody's again.
    await change.connection.execute_query(
        f'update "{entity_of(User).name}" set status = {statement.argument(UserStatus.ERASED)},'
        f" email_index = {statement.argument(os.urandom(LENGTH))}, password_hash = {statement.argument(NO_PASSWORD)}"
        f" where id = {statement.argument(person_id)} and status <> {statement.argument(UserStatus.ERASED)}",
        list(statement.arguments),
    )


async def _close_organization(change: Change) -> None:
    statement = Statement()
    await change.connection.execute_query(
        f'update "{entity_of(Organization).name}" set status = {statement.argument(OrganizationStatus.ERASING)}'
        f" where id = {statement.argument(change.organization_id)}",
        list(statement.arguments),
    )
    await _end_sessions(change, None)


async def _memberships(user_id: UUID) -> list[_Member]:
    async with OneStatement(Tenant(user_id=user_id)) as connection:
        rows = await connection.fetch(
            "select organization_id, id, role, name from membership where user_id = $1 order by organization_id",
            user_id,
        )
    return [_Member(row["organization_id"], row["id"], OrganizationRole(row["role"]), row["name"]) for row in rows]


async def _require_another_owner(one: _Member) -> None:
    async with OneStatement(Tenant(organization_id=one.organization_id)) as connection:
        others = await connection.fetchval(
            "select count(*) from membership where organization_id = $1 and role = $2 and status = $3"
            " and role_expires_at is null and id <> $4",
            one.organization_id,
            OrganizationRole.OWNER,
            MembershipStatus.ACTIVE,
            one.id,
        )
    if not others:
        raise ConflictError("They are the last owner of an organization: make somebody else an owner first.")


async def _name_of(one: _Member) -> str | None:
    """Return the member's name; None where their key is gone already."""
    await active_keyring().load_ids([key_id_of(one.name)])
    try:
        return open_light(one.name, Cell(one.organization_id, entity_of(Membership).name, "name", one.id))
    except SealedError:
        return None


async def _subjects(organization_id: UUID, names: Iterable[str]) -> list[KeyOwner]:
    await active_keyring().load([index_owner(organization_id)])
    return [
        subject_owner(organization_id, index_of(COLLECTOR, organization_id, name)) for name in names if name.strip()
    ]


async def _unknown(services: Services, within: Iterable[UUID], names: Collection[str]) -> tuple[str, ...]:
    """Return those of the names that no organization has a key for: nothing was ever sealed under them."""
    known = {
        name
        for organization_id in within
        for name in names
        if await services.keystore.keys_of(await _subjects(organization_id, [name]))
    }
    return tuple(name for name in names if name not in known)


async def organization_named(services: Services, slug: str) -> UUID:
    """Return the id of an organization, by its slug. Raises `NotFoundError` if there is none."""
    for organization_id in await services.keystore.organizations():
        async with OneStatement(Tenant(organization_id=organization_id)) as connection:
            found = await connection.fetchval(
                "select id from organization where id = $1 and slug = $2", organization_id, slug.lower()
            )
        if found is not None:
            return organization_id
    raise NotFoundError(f"There is no organization {slug!r}.")
