"""Asking for an erasure, and confirming it. What is confirmed is carried out by a job, after a while.

Nobody has somebody else erased alone. A person who asks for themselves confirms it by their password, or by a link in a
letter to their own address. Whoever asks for a person with an account only has that letter sent: an account reaches
into other organizations, and is its person's. For a name that records have, a second person confirms; so it is for
other spellings that somebody says are theirs (`resolvers/erasure_naming.py`). For an organization it is a second owner;
where there is one owner, they may do it themselves, by two factors. See decision 33.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson
from tortoise.exceptions import IntegrityError

from auth.action import Action
from auth.errors import ForbiddenError, ReauthenticateError, UnauthenticatedError
from auth.escalation import require_owner
from auth.opaque_token import ErasureToken, is_same_digest
from auth.permission import Permission
from auth.policy import require
from auth.principal import SYSTEM_ID
from auth.role import OrganizationRole
from auth.scope import ORGANIZATION, Scope
from models.base import new_id
from models.encryption.blind_index import LENGTH as INDEX_LENGTH
from models.encryption.keyring import active_keyring
from models.encryption.owner import erasure_owner
from models.erasure_request import MOST_NAMES, ErasureKind, ErasureRequest, ErasureStatus
from models.errors import ConflictError, InvalidInputError
from models.inventory import entity_of
from models.membership import MembershipStatus
from models.outgoing_mail import MailKind
from models.reading import OneStatement
from models.transaction import Tenant, fetch
from models.user import UserStatus
from resolvers.change import Change, Intent, commit_change, record_attempt
from resolvers.checking import require_some, require_text
from resolvers.collector import COLLECTOR
from resolvers.creating import constraint_of
from resolvers.erasure_hold import HELD, holds_on_request
from resolvers.erasure_owner import indexes_of_names, require_no_last_owner
from resolvers.fresh_sign_in import STALE, require_strong
from resolvers.locking import lock_visible, require_version
from resolvers.mailer import require_route
from resolvers.mailing import SEND_MAIL, enqueue
from resolvers.membership import lock_assignable, lock_standing
from resolvers.second_factor import load_having
from resolvers.services import Services
from resolvers.standing import is_multi_factor
from resolvers.throttle import Guess, Guessing, guessing
from resolvers.trail import Actor
from resolvers.writing import require_writable

RUN_ERASURES: Final = "run_erasures"
"""The name of the job that carries out what was confirmed, and forgets what was taken back."""
DUE_AFTER: Final = timedelta(days=30)
"""How long an erasure takes at the most, from the moment at which it was asked for (GDPR, article 12(3): one month)."""
MARGIN: Final = timedelta(days=2)
"""How long before that it is carried out at the latest, so that what fails can be done again."""
OVER: Final = "The link is over, was used, or is none. Ask once more."

_ENTITY: Final = entity_of(ErasureRequest)
_AT_NAMES: Final = ("input", "names")
_AT_ALSO: Final = ("input", "alsoNamed")
_OWNERS: Final = (
    "select id, user_id from membership where organization_id = $1 and role = $2 and status = $3"
    " and (role_expires_at is null or role_expires_at > $4)"
)
_RECORDS: Final = "select count(*) as found from record where organization_id = $1 and collector_index = any($2)"


@dataclass(frozen=True, slots=True)
class NewErasure:
    """What is to be erased: a member, somebody whom records name, or the organization."""

    kind: ErasureKind
    membership_id: UUID | None = None
    names: Sequence[str] = field(default=(), repr=False)


async def request_own(services: Services, change: Change, *, also_named: Sequence[str], reason: str | None) -> UUID:
    """Ask for the viewer's own erasure, in every organization, and return the request's id. It waits to be confirmed.

    If somebody else asked for it, and it is not confirmed, it is the viewer's request from now on, and due no later.

    also_named: other spellings under which they stand as a collector. Nobody knows whether that is so: how many
        records have them is not told, and once it is confirmed a second person is asked
        (`resolvers/erasure_naming.py`).

    Raises:
        ForbiddenError: it is a program that asks.
        ConflictError: they asked already; they are the last owner of an organization.
        InvalidInputError: too many spellings, or one that is none.
    """
    viewer = change.viewer
    if viewer.user_id is None or viewer.membership_id is None:
        raise ForbiddenError("A program is nobody who could be erased.")
    await require_no_last_owner(viewer.user_id)
    names = _checked(also_named, at=_AT_ALSO)
    person = (viewer.membership_id, viewer.user_id)
    older = await _asked_by_somebody_else(change, person)
    new = await _new(
        change,
        ErasureKind.PERSON,
        names,
        reason,
        scope=Scope(is_own=True),
        person=person,
        request_id=None if older is None else older.id,
    )
    request_id = await (_insert(change, new) if older is None else _take_over(change, older, new))
    if services.mail is not None:
        await enqueue(change, kind=MailKind.ERASURE_CONFIRM, user_id=viewer.user_id, subject_id=request_id)
        services.wake_afterwards(SEND_MAIL)
    return request_id


async def request_erasure(services: Services, change: Change, *, new: NewErasure, reason: str | None) -> UUID:
    """Ask for an erasure, and return the request's id. It waits to be confirmed, never by who asks alone.

    Raises:
        ForbiddenError: without `erasure:request`; somebody who can do more than the viewer; an organization, by who is
            no owner; a name, by who may not read who collected.
        NotFoundError: the viewer sees no such member.
        InvalidInputError: not what the kind wants.
        ConflictError: it was asked for already; the member is gone.
        UnavailableError: a person, where the service sends no mail.
    """
    change = await lock_standing(change)
    require(change.viewer, Permission.ERASURE_REQUEST, ORGANIZATION)
    _require_shape(new)
    names = _checked(new.names, at=_AT_NAMES)
    if new.kind is ErasureKind.NAME:
        # The request says how many records have the name: to who reads pseudonyms, whose one of them is.
        require(change.viewer, Permission.RECORD_READ_PERSONAL, ORGANIZATION, field=_AT_NAMES)
    person = None
    if new.membership_id is not None:
        # Who asks for the end of somebody could end their access as well.
        member = await lock_assignable(change, new.membership_id)
        if member.status is MembershipStatus.ERASED:
            raise ConflictError("The member is erased already.", field=("input", "userId"))
        require_route(services.mail)
        person = (member.id, member.user_id)
    if new.kind is ErasureKind.ORGANIZATION:
        require_owner(change.viewer, OrganizationRole.OWNER)
    row = await _new(change, new.kind, names, reason, scope=ORGANIZATION, person=person)
    request_id = await _insert(change, row)
    if person is not None:
        await enqueue(change, kind=MailKind.ERASURE_CONFIRM, user_id=person[1], subject_id=request_id)
        services.wake_afterwards(SEND_MAIL)
    if new.kind is ErasureKind.ORGANIZATION and services.mail is not None:
        for owner in await _owners(change):
            await enqueue(change, kind=MailKind.ERASURE_ASKED, user_id=owner["user_id"], subject_id=request_id)
        services.wake_afterwards(SEND_MAIL)
    return request_id


async def confirm_erasure(services: Services, change: Change, *, request_id: UUID, expected_version: int) -> UUID:
    """Confirm a request, and return its id: from now on the time runs in which it can be taken back.

    Who confirms has given their password for it.

    Raises:
        NotFoundError, ForbiddenError: the viewer sees no such request, or is not who may confirm it.
        ReauthenticateError: it takes two factors, and their sign-in stands on one.
        ConflictError: it is at another version, or is confirmed or over; it is too late to confirm it; a legal hold
            keeps what it would erase.
    """
    change = await lock_standing(change)
    request = await lock_visible(change, ErasureRequest, request_id)
    await _require_may_confirm(change, request)
    require_version(request.version, expected_version)
    return await _confirm(services, change, request)


async def confirm_by_link(services: Services, actor: Actor, *, token: str) -> datetime:
    """Confirm a person's request by the link in their letter; return from when on it is carried out. Signs nobody in.

    Raises:
        UnauthenticatedError: it is no such link, or it was used, or is over.
        ConflictError: a legal hold keeps what it would erase.
        RateLimitedError: too many were tried in vain.
    """
    # Whoever's token came along, it is the link that says who.
    outside = replace(actor, organization_id=SYSTEM_ID, viewer=None)
    intent = Intent(Action.ERASURE_CONFIRM, outside, entity=_ENTITY.name)
    try:
        async with guessing(Guess(Guessing.ERASURE_TOKEN, actor.origin)):
            given = _parsed(token)
            found = await _found(given)
            if found is None:
                raise UnauthenticatedError(OVER)
        inside = replace(outside, organization_id=given.organization_id, user_id=found.user_id)
        intent = replace(intent, actor=replace(inside, membership_id=found.membership_id), subjects=[found.id])
    except Exception as error:
        await record_attempt(intent, error)
        raise

    async def work(change: Change) -> datetime:
        request = await _locked(change, given.request_id)
        # Of two that come at once, one finds that it was used.
        if request is None or not _is_good(request, given, at=change.at):
            raise UnauthenticatedError(OVER)
        await _confirm(services, change, request)
        if request.execute_after is None:
            raise LookupError("Expected a confirmed request to say when it is carried out.")
        return request.execute_after

    return await commit_change(intent, work)


def names_of(request: ErasureRequest) -> list[bytes]:
    """Return the blind indexes of the names that a request erases.

    None of a person's, whose own names are looked up: what else they told is asked of somebody else.
    """
    if request.kind is ErasureKind.PERSON:
        return []
    stored = request.name_indexes or b""
    return [stored[start : start + INDEX_LENGTH] for start in range(0, len(stored), INDEX_LENGTH)]


def execution_at(confirmed_at: datetime, due_at: datetime, grace: timedelta) -> datetime:
    """Return from when on a request is carried out: when it can't be taken back any more, and in time all the same."""
    return max(confirmed_at, min(confirmed_at + grace, due_at - MARGIN))


def last_confirmation(due_at: datetime, grace: timedelta) -> datetime:
    """Return until when what is not a person's can be confirmed: all of the grace period is left, and it is in time."""
    return due_at - MARGIN - grace


async def _new(
    change: Change,
    kind: ErasureKind,
    names: Sequence[str],
    reason: str | None,
    *,
    scope: Scope,
    person: tuple[UUID, UUID] | None,
    request_id: UUID | None = None,
) -> ErasureRequest:
    """Return the request, not yet written, with the key in memory that its words are sealed under.

    request_id: of the one in whose place it is to come.
    """
    text = orjson.dumps(list(names)).decode() if names else None
    require_writable(change, _ENTITY, scope, {"named": text, "reason": reason}, at=("input",), is_new=True)
    request_id = request_id or new_id()
    indexes = await indexes_of_names(change.organization_id, names) if names else []
    # Who asks for themselves need not see anybody's records, nor by whom they were collected.
    records = await count_records(change, indexes) if kind is ErasureKind.NAME else None
    if text is not None or reason is not None:
        await active_keyring().load([erasure_owner(change.organization_id, request_id)])
    return ErasureRequest(
        id=request_id,
        organization_id=change.organization_id,
        created_at=change.at,
        kind=kind,
        status=ErasureStatus.REQUESTED,
        membership_id=person[0] if person else None,
        user_id=person[1] if person else None,
        requested_by_id=change.viewer.principal_id,
        named=text,
        reason=reason,
        name_indexes=b"".join(indexes) or None,
        records=records,
        due_at=change.at + DUE_AFTER,
    )


async def _insert(change: Change, request: ErasureRequest) -> UUID:
    try:
        await request.save(using_db=change.connection, force_create=True)
    except IntegrityError as error:
        if constraint_of(error) != "erasure_request_open":
            raise
        raise ConflictError("This was asked for already. Confirm that, or take it back.") from error
    return request.id


async def count_records(change: Change, indexes: Sequence[bytes]) -> int:
    """Return how many records of the organization have one of these names, by their blind indexes."""
    (counted,) = await fetch(change.connection, _RECORDS, change.organization_id, indexes)
    found: int = counted["found"]
    return found


async def _asked_by_somebody_else(change: Change, person: tuple[UUID, UUID]) -> ErasureRequest | None:
    """Return the request, locked, that somebody else made for a person here, and that waits to be confirmed."""
    membership_id, user_id = person
    return await (
        ErasureRequest.filter(
            organization_id=change.organization_id,
            kind=ErasureKind.PERSON,
            status=ErasureStatus.REQUESTED,
            user_id=user_id,
        )
        .exclude(requested_by_id=membership_id)
        .using_db(change.connection)
        .select_for_update()
        .get_or_none()
    )


async def _take_over(change: Change, older: ErasureRequest, new: ErasureRequest) -> UUID:
    """Make a request what the person themselves asked for: nobody else takes it back any more. It is due as before."""
    if older.due_at > change.at:
        new.due_at = older.due_at
    new.version = older.version + 1
    await new.save(
        using_db=change.connection,
        update_fields=["requested_by_id", "named", "reason", "name_indexes", "due_at", "token_digest", "version"],
    )
    return new.id


def _require_shape(new: NewErasure) -> None:
    if (new.kind is ErasureKind.PERSON) != (new.membership_id is not None):
        raise InvalidInputError("Expected a member for kind PERSON, and for no other.", field=("input", "userId"))
    if (new.kind is ErasureKind.NAME) != bool(new.names):
        raise InvalidInputError("Expected names for kind NAME, and for no other.", field=_AT_NAMES)


def _checked(names: Sequence[str], *, at: tuple[str | int, ...]) -> list[str]:
    require_some(names, at=at, most=MOST_NAMES)
    for place, name in enumerate(names):
        require_text(name, at=(*at, place), longest=COLLECTOR.max_length or 0)
    return list(dict.fromkeys(name.strip() for name in names))


async def _require_may_confirm(change: Change, request: ErasureRequest) -> None:
    viewer = change.viewer
    if request.kind is ErasureKind.PERSON:
        if viewer.user_id is None or viewer.user_id != request.user_id:
            raise ForbiddenError("Only who is to be erased confirms this, here or by the link in their letter.")
        require_strong(viewer, has_second_factor=(await load_having(viewer.user_id)).has_second_factor)
        await require_no_last_owner(viewer.user_id)
        return
    require(viewer, Permission.ERASURE_CONFIRM, ORGANIZATION)
    others = True
    if request.kind is ErasureKind.ORGANIZATION:
        require_owner(viewer, OrganizationRole.OWNER)
        others = any(row["id"] != viewer.membership_id for row in await _owners(change))
    if viewer.membership_id != request.requested_by_id:
        return
    if others:
        raise ForbiddenError("Who asks for an erasure does not confirm it: a second person does.")
    if not is_multi_factor(viewer.factors):
        # They are alone: what a second person would be, a second factor is.
        raise ReauthenticateError(STALE)


async def _confirm(services: Services, change: Change, request: ErasureRequest) -> UUID:
    if request.status is not ErasureStatus.REQUESTED:
        raise ConflictError(f"A request that is {request.status} is not confirmed.", field=("input", "id"))
    _require_in_time(services, change, request)
    if await holds_on_request(change.connection, request, names_of(request)):
        raise ConflictError(HELD, field=("input", "id"))
    request.status = ErasureStatus.CONFIRMED
    request.confirmed_at = change.at
    request.confirmed_by_id = (
        request.membership_id if change.intent.actor.viewer is None else change.viewer.principal_id
    )
    request.execute_after = execution_at(change.at, request.due_at, services.erasure_grace)
    request.token_digest = None
    request.version += 1
    await request.save(
        using_db=change.connection,
        update_fields=["status", "confirmed_at", "confirmed_by_id", "execute_after", "token_digest", "version"],
    )
    if services.mail is not None:
        for user_id in await _told(change, request):
            await enqueue(change, kind=MailKind.ERASURE_SCHEDULED, user_id=user_id, subject_id=request.id)
        services.wake_afterwards(SEND_MAIL)
    services.wake_afterwards(RUN_ERASURES)
    return request.id


def _require_in_time(services: Services, change: Change, request: ErasureRequest) -> None:
    """Raise `ConflictError` where it is too late to confirm a request.

    A person who confirms late gets less time to take it back: they are who wants it done. Of what others confirm nobody
    is robbed of that time. What a person confirms anew, after a restore, is late at worst.
    """
    last = request.due_at
    if request.kind is ErasureKind.PERSON and request.confirmed_at is not None:
        return
    if request.kind is not ErasureKind.PERSON:
        last = last_confirmation(request.due_at, services.erasure_grace)
    if change.at >= request.due_at or change.at > last:
        raise ConflictError("It is too late to confirm this in time. Ask once more.", field=("input", "id"))


async def _owners(change: Change) -> Sequence[Mapping[str, Any]]:
    return await fetch(
        change.connection, _OWNERS, change.organization_id, OrganizationRole.OWNER, MembershipStatus.ACTIVE, change.at
    )


async def _told(change: Change, request: ErasureRequest) -> list[UUID]:
    """Return whom a letter tells that something will be erased: whom it is about; of an organization, its owners."""
    if request.user_id is not None:
        return [request.user_id]
    if request.kind is not ErasureKind.ORGANIZATION:
        return []
    return [row["user_id"] for row in await _owners(change)]


def _parsed(token: str) -> ErasureToken:
    try:
        return ErasureToken.parse(token)
    except UnauthenticatedError:
        raise UnauthenticatedError(OVER) from None


async def _found(given: ErasureToken) -> ErasureRequest | None:
    """Return the request that a link is of, if it is one, and good; else nothing tells what was wrong with it."""
    async with OneStatement(Tenant(organization_id=given.organization_id)) as connection:
        row = await connection.fetchrow(
            "select r.*, clock_timestamp() as now, u.status as person from erasure_request r"
            " join user_account u on u.id = r.user_id where r.organization_id = $1 and r.id = $2",
            given.organization_id,
            given.request_id,
        )
    if row is None or row["person"] != UserStatus.ACTIVE:
        return None
    columns = dict(row)
    at = columns.pop("now")
    del columns["person"]
    request = ErasureRequest._init_from_db(**columns)
    return request if _is_good(request, given, at=at) else None


def _is_good(request: ErasureRequest, given: ErasureToken, *, at: datetime) -> bool:
    return (
        request.status is ErasureStatus.REQUESTED
        and request.token_digest is not None
        and is_same_digest(request.token_digest, given.digest())
        and at < request.due_at
    )


async def _locked(change: Change, request_id: UUID) -> ErasureRequest | None:
    return await (
        ErasureRequest.filter(id=request_id, organization_id=change.organization_id)
        .using_db(change.connection)
        .select_for_update()
        .get_or_none()
    )
