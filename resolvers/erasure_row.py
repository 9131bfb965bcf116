"""What rows say of somebody besides what lies under their keys, and what an erasure changes of it.

Blind indexes, by which a name could still be tried; digests of what rows were made from; that somebody is a member, and
signed in; what waits to be sent, imported or taken. By audited changes in each organization, of which each takes a few
hundred names (`resolvers/erasure_name.py`). To be done again changes nothing more.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from auth.action import Action
from auth.principal import SYSTEM_ID
from models.encryption.blind_index import LENGTH
from models.encryption.destruction import Destruction
from models.encryption.keystore import KeyStore
from models.inventory import entity_of
from models.membership import Membership, MembershipStatus
from models.organization import Organization, OrganizationStatus
from models.reading import OneStatement
from models.session import Session
from models.statement import Statement
from models.transaction import Tenant, fetch, seeing_as
from models.user import User, UserStatus
from resolvers.change import Change, Intent, commit_change
from resolvers.erasure_name import MOST_ROWS, Left, is_left, left_in, take_away
from resolvers.erasure_owner import memberships_of
from resolvers.export_ending import end_exports
from resolvers.import_ending import end_imports
from resolvers.trail import Actor

NO_PASSWORD: Final = "!"  # noqa: S105  (no hash, on purpose)
"""What stands for a password's hash where none is right."""

_UNDER: Final = "substring({column} from 3 for 16) = any($2::bytea[])"
"""Whether a value lies under one of the keys. It begins with its format, its algorithm, and the id of its key."""
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


@dataclass(slots=True)
class Changed:
    """How many rows an erasure changed, by table, in each of the organizations."""

    rows: dict[UUID, Counter[str]] = field(default_factory=dict)


async def change_rows(store: KeyStore, one: Destruction, actor: Actor, reason: str | None) -> Changed:
    """Change what rows say beside what they have sealed.

    One audited change in each organization, which ends memberships, sessions, exports and imports, so that nobody adds
    to it; and further ones for as long as names are left.
    """
    within = list(one.within_ids)
    if one.person_id is not None:
        # In the last one the account is closed, so it is one to which they belong: data that came back from a backup
        # may be from before they joined another.
        belonging = dict.fromkeys(member.organization_id for member in await memberships_of(one.person_id))
        within = [*(other for other in within if other not in belonging), *belonging]
    changed = Changed()
    email_index = None if one.person_id is None else await _index_of_account(one.person_id)
    for place, organization_id in enumerate(within, 1):
        left = await left_in(store, one, organization_id)
        rows = changed.rows[organization_id] = Counter()

        async def close(change: Change, left: Sequence[Left] = left, is_last: bool = place == len(within)) -> _Batch:
            ended = await _end(change, one, email_index, is_last=is_last)
            return await _take_away(change, left, ended)

        async def go_on(change: Change, left: Sequence[Left] = left) -> _Batch:
            return await _take_away(change, left, Counter())

        intent = _intent(one, Actor(organization_id=organization_id, origin=actor.origin), reason)
        batch = await commit_change(intent, close)
        rows += batch.rows
        while batch.is_more:
            batch = await commit_change(intent, go_on)
            rows += batch.rows
    if one.person_id is not None and email_index is not None:
        dropped = await _drop_letters_of_nobody(actor, one.person_id, email_index, reason)
        changed.rows[SYSTEM_ID] = +Counter(outgoing_mail=dropped)
    return changed


async def is_changed(store: KeyStore, one: Destruction) -> bool:
    """Return whether the data know of the erasure: those that came back from a backup do not."""
    if one.person_id is not None:
        async with OneStatement(Tenant(user_id=one.person_id)) as connection:
            status = await connection.fetchval(_STATUS, one.person_id)
        if status not in {None, UserStatus.ERASED}:
            return False
    if one.organization_id is not None:
        async with OneStatement(Tenant(organization_id=one.organization_id)) as connection:
            status = await connection.fetchval("select status from organization where id = $1", one.organization_id)
        if status not in {None, OrganizationStatus.ERASING}:
            return False
    for organization_id in one.within_ids:
        if await is_left(await left_in(store, one, organization_id), organization_id):
            return False
    return True


@dataclass(frozen=True, slots=True)
class _Batch:
    """How many rows a change was of, by table. is_more: whether names may be left."""

    rows: Counter[str]
    is_more: bool


async def _take_away(change: Change, left: Sequence[Left], ended: Counter[str]) -> _Batch:
    taken = await take_away(change, left)
    return _Batch(ended + taken, is_more=taken.total() >= MOST_ROWS)


async def _end(change: Change, one: Destruction, email_index: bytes | None, *, is_last: bool) -> Counter[str]:
    """End all by which somebody, or an organization, is at work. is_last: the person's account as well."""
    rows: Counter[str] = Counter()
    await end_exports(change)
    await end_imports(change)
    if one.organization_id is not None:
        await _close_organization(change)
        return rows
    keys = [key_id.bytes for key_id in one.key_ids]
    rows["data_export"] = len(await fetch(change.connection, _FORGET_SEARCHES, change.organization_id, keys))
    if one.person_id is not None:
        rows += await _end_membership(change, one.person_id)
        rows["authenticator"] += len(
            await fetch(change.connection, _FORGET_FACTORS, change.organization_id, one.person_id)
        )
        rows["outgoing_mail"] += await _drop_letters(change, one.person_id, email_index)
        if is_last:
            await _close_account(change, one.person_id)
    return +rows


def _intent(one: Destruction, actor: Actor, reason: str | None) -> Intent:
    is_organization = one.organization_id is not None
    return Intent(
        Action.ORGANIZATION_ERASE if is_organization else Action.USER_ERASE,
        actor,
        reason=reason,
        entity=entity_of(Organization if is_organization else User).name,
        subjects=[one.organization_id or one.person_id or one.id],
    )


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


async def _end_sessions(change: Change, person_id: UUID) -> int:
    statement = Statement()
    ended = await fetch(
        change.connection,
        f'update "{entity_of(Session).name}" set revoked_at = {statement.argument(change.at)} where revoked_at is null'
        f" and organization_id = {statement.argument(change.organization_id)}"
        f" and user_id = {statement.argument(person_id)} returning 1",
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
