"""What rows say of somebody besides what lies under their keys, and what an erasure changes of it.

Blind indexes, by which a name could still be tried; digests of what rows were made from; that somebody is a member, and
signed in; what waits to be sent, imported or taken. One audited change in each organization. To be done again changes
nothing more.
"""

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from auth.action import Action
from auth.principal import SYSTEM_ID
from models.encryption.blind_index import LENGTH
from models.encryption.destruction import Destruction
from models.inventory import entities, entity_of
from models.invitation import InvitationStatus
from models.membership import Membership, MembershipStatus
from models.organization import Organization, OrganizationStatus
from models.reading import OneStatement
from models.session import Session
from models.statement import Statement
from models.transaction import Tenant, fetch, seeing_as
from models.user import User, UserStatus
from resolvers.change import Change, Intent, commit_change
from resolvers.erasure_owner import memberships_of
from resolvers.export_ending import end_exports
from resolvers.import_ending import end_imports
from resolvers.trail import Actor

NO_PASSWORD: Final = "!"  # noqa: S105  (no hash, on purpose)
"""What stands for a password's hash where none is right."""

_UNDER: Final = "substring({column} from 3 for 16) = any($2::bytea[])"
"""Whether a value lies under one of the keys. It begins with its format, its algorithm, and the id of its key."""
_NAMED: Final = _UNDER.format(column="collector")
_FORGET_COLLECTORS: Final = f"""
    update record set collector_index = null, creation_digest = null
     where organization_id = $1 and collector_index is not null and {_NAMED} returning 1
"""
_FORGET_INVITATIONS: Final = f"""
    update invitation
       set email_index = $3 || substring(uuid_send(id) from 9), token_digest = null, version = version + 1,
           status = case when status = '{InvitationStatus.PENDING}' then '{InvitationStatus.REVOKED}' else status end
     where organization_id = $1 and {_UNDER.format(column="email")} and substring(email_index from 1 for 8) <> $3
    returning 1
"""
_FORGET_SEARCHES: Final = f"""
    update data_export set searched_for = null, creation_digest = null
     where organization_id = $1 and searched_for is not null
       and ({_UNDER.format(column="filter_given")} or {_UNDER.format(column="request")}) returning 1
"""
_FORGET_LETTERS: Final = """
    update outgoing_mail set state = 'DROPPED', email_index = null
     where organization_id = $1 and state = 'PENDING' and (user_id = $2 or email_index = $3) returning 1
"""
_FORGET_FACTORS: Final = "delete from authenticator where organization_id = $1 and user_id = $2 returning 1"
_ANSWERED: Final = "update challenge set answered_at = clock_timestamp() where user_id = $1 and answered_at is null"
_STATUS: Final = "select status from user_account where id = $1"
_NO_ONE: Final = bytes(8)
"""What the index of an address begins with that belongs to nobody any more; the rest tells rows apart."""


@dataclass(slots=True)
class Changed:
    """How many rows an erasure changed, by table, and in how many organizations."""

    rows: Counter[str] = field(default_factory=Counter)
    organizations: int = 0


async def change_rows(one: Destruction, actor: Actor, reason: str | None) -> Changed:
    """Change what rows say beside what they have sealed: one audited change in each organization."""
    within = list(one.within_ids)
    if one.person_id is not None:
        # In the last one the account is closed, so it is one to which they belong: data that came back from a backup
        # may be from before they joined another.
        belonging = dict.fromkeys(member.organization_id for member in await memberships_of(one.person_id))
        within = [*(other for other in within if other not in belonging), *belonging]
    changed = Changed(organizations=len(within))
    is_organization = one.organization_id is not None
    email_index = None if one.person_id is None else await _index_of_account(one.person_id)
    for place, organization_id in enumerate(within, 1):
        is_last = place == len(within)

        async def work(change: Change, is_last: bool = is_last) -> Counter[str]:
            rows = await _forget_names(change, one)
            await end_exports(change)
            await end_imports(change)
            if is_organization:
                await _close_organization(change)
            elif one.person_id is not None:
                rows += await _end_membership(change, one.person_id)
                rows["authenticator"] += len(
                    await fetch(change.connection, _FORGET_FACTORS, change.organization_id, one.person_id)
                )
                rows["outgoing_mail"] += await _drop_letters(change, one.person_id, email_index)
                # The account says that all of it is done, so it comes last.
                if is_last:
                    await _close_account(change, one.person_id)
            return rows

        action = Action.ORGANIZATION_ERASE if is_organization else Action.USER_ERASE
        subjects = [one.organization_id or one.person_id or one.id]
        entity = entity_of(Organization if is_organization else User).name
        inside = Actor(organization_id=organization_id, origin=actor.origin)
        changed.rows += await commit_change(
            Intent(action, inside, reason=reason, entity=entity, subjects=subjects), work
        )
    if one.person_id is not None and email_index is not None:
        changed.rows["outgoing_mail"] += await _drop_letters_of_nobody(actor, one.person_id, email_index, reason)
    return changed


async def is_changed(one: Destruction) -> bool:
    """Return whether the data know of the erasure: those that came back from a backup do not."""
    if one.person_id is not None:
        async with OneStatement(Tenant(user_id=one.person_id)) as connection:
            status = await connection.fetchval(_STATUS, one.person_id)
        if status not in {None, UserStatus.ERASED}:
            return False
    if one.organization_id is not None:
        async with OneStatement(Tenant(organization_id=one.organization_id)) as connection:
            status = await connection.fetchval("select status from organization where id = $1", one.organization_id)
        return status in {None, OrganizationStatus.ERASING}
    keys = [key_id.bytes for key_id in one.key_ids]
    for organization_id in one.within_ids:
        async with OneStatement(Tenant(organization_id=organization_id)) as connection:
            if await connection.fetchval(
                "select exists (select from record where organization_id = $1 and collector_index is not null"
                f" and {_NAMED}) or exists (select from invitation where organization_id = $1"
                f" and {_UNDER.format(column='email')} and substring(email_index from 1 for 8) <> $3)",
                organization_id,
                keys,
                _NO_ONE,
            ):
                return False
    return True


async def _forget_names(change: Change, one: Destruction) -> Counter[str]:
    """Take away by what a name could still be tried: blind indexes, and digests of what rows were made from."""
    rows: Counter[str] = Counter()
    if one.organization_id is None:
        keys = [key_id.bytes for key_id in one.key_ids]
        # By the digest of what a record was created from a name could be tried as well.
        rows["record"] = len(await fetch(change.connection, _FORGET_COLLECTORS, change.organization_id, keys))
        rows["invitation"] = len(
            await fetch(change.connection, _FORGET_INVITATIONS, change.organization_id, keys, _NO_ONE)
        )
        rows["data_export"] = len(await fetch(change.connection, _FORGET_SEARCHES, change.organization_id, keys))
        return +rows
    for entity in entities():
        for column in entity.columns.values():
            if column.search is None or "organization_id" not in entity.columns:
                continue
            index = entity.columns[column.search.index_column]
            # What can't be null says nobody's, and still tells rows apart.
            value, left = ("null", "is not null")
            if not index.is_nullable:
                nobody = f"'\\x{_NO_ONE.hex()}'::bytea"
                value = f"{nobody} || substring(uuid_send(id) from 9)"
                left = f"<> {value}"
            changed = await fetch(
                change.connection,
                f'update "{entity.name}" set "{index.name}" = {value}'
                f' where organization_id = $1 and "{index.name}" {left} returning 1',
                change.organization_id,
            )
            rows[entity.name] += len(changed)
    return +rows


async def _end_membership(change: Change, person_id: UUID) -> Counter[str]:
    statement = Statement()
    ended = await fetch(
        change.connection,
        f'update "{entity_of(Membership).name}" set status = {statement.argument(MembershipStatus.ERASED)},'
        f" version = version + 1 where organization_id = {statement.argument(change.organization_id)}"
        f" and user_id = {statement.argument(person_id)} and status <> {statement.argument(MembershipStatus.ERASED)}"
        " returning 1",
        *statement.arguments,
    )
    return Counter(membership=len(ended), session=await _end_sessions(change, person_id))


async def _end_sessions(change: Change, person_id: UUID | None) -> int:
    statement = Statement()
    whose = "" if person_id is None else f" and user_id = {statement.argument(person_id)}"
    ended = await fetch(
        change.connection,
        f'update "{entity_of(Session).name}" set revoked_at = {statement.argument(change.at)} where revoked_at is null'
        f" and organization_id = {statement.argument(change.organization_id)}{whose} returning 1",
        *statement.arguments,
    )
    return len(ended)


async def _drop_letters(change: Change, person_id: UUID, email_index: bytes | None) -> int:
    """Have no letter sent to who is erased, and end what they were asked by the ones that were."""
    async with seeing_as(change.connection, person_id):
        await fetch(change.connection, _ANSWERED, person_id)
    return len(await fetch(change.connection, _FORGET_LETTERS, change.organization_id, person_id, email_index))


async def _drop_letters_of_nobody(actor: Actor, person_id: UUID, email_index: bytes, reason: str | None) -> int:
    """Do so with what lies in no organization: who asks for a new password is not known to be anybody yet."""

    async def work(change: Change) -> int:
        return len(await fetch(change.connection, _FORGET_LETTERS, SYSTEM_ID, person_id, email_index))

    inside = Actor(organization_id=SYSTEM_ID, origin=actor.origin)
    intent = Intent(Action.USER_ERASE, inside, reason=reason, entity=entity_of(User).name, subjects=[person_id])
    return await commit_change(intent, work)


async def _index_of_account(person_id: UUID) -> bytes | None:
    async with OneStatement(Tenant(user_id=person_id)) as connection:
        index: bytes | None = await connection.fetchval("select email_index from user_account where id = $1", person_id)
    return index


async def _close_account(change: Change, person_id: UUID) -> None:
    statement = Statement()
    # A random index leads nobody here, and the address may be somebody's again.
    await fetch(
        change.connection,
        f'update "{entity_of(User).name}" set status = {statement.argument(UserStatus.ERASED)},'
        f" email_index = {statement.argument(os.urandom(LENGTH))}, password_hash = {statement.argument(NO_PASSWORD)}"
        f" where id = {statement.argument(person_id)} and status <> {statement.argument(UserStatus.ERASED)}",
        *statement.arguments,
    )


async def _close_organization(change: Change) -> None:
    statement = Statement()
    await fetch(
        change.connection,
        f'update "{entity_of(Organization).name}" set status = {statement.argument(OrganizationStatus.ERASING)}'
        f" where id = {statement.argument(change.organization_id)}",
        *statement.arguments,
    )
    await _end_sessions(change, None)
